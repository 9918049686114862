"""Which way an account gets from its plan to another, what that costs, and doing it.

Decides nothing about money: Stripe's side is `apps.payments`, plans by invoice are `apps.plans`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.billing.invoices.selectors import is_invoiced
from apps.core.errors import Conflict
from apps.payments import services as payments
from apps.payments.results import PlanChange, Redirect
from apps.plans import subscriptions
from apps.plans.choices import SubscriptionSource, SubscriptionState
from apps.plans.models import Plan, Subscription, TrialClaim
from apps.plans.proration import upgrade_charge
from apps.plans.selectors import get_plan, get_subscription, price_of
from apps.plans.services import set_plan


class Way(enum.Enum):
    """How the change happens."""

    NONE = "none"
    """It is the plan the account has."""
    CHECKOUT = "checkout"
    """On Stripe's page, where the card is asked for."""
    TRIAL = "trial"
    """At once, for the days of the trial."""
    UPGRADE = "upgrade"
    """At once, for what is left of the difference."""
    DOWNGRADE = "downgrade"
    """When the period ends."""
    CANCEL = "cancel"
    """To what costs nothing, when the period ends."""
    FREE = "free"
    """At once and for nothing."""
    CLOSED = "closed"
    """Nobody can be paid: the operator has to do it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What happens if the customer says yes."""

    plan: Plan
    way: Way
    charge_micro: int
    """Now, before tax; what Stripe counts to the second is as near as can be said before."""
    price_micro: int
    """Each month from then on."""
    effective_at: datetime
    subscription: Subscription | None

    @property
    def is_possible(self) -> bool:
        return self.way not in (Way.NONE, Way.CLOSED)


def propose(*, account: Account, plan: Plan, now: datetime) -> Proposal:
    """The way to `plan`, without taking it."""
    subscription = get_subscription(account)
    price = price_of(account=account, plan=plan, now=now)
    way = _way(account, plan, price, subscription, now)
    charge, effective_at = 0, now
    if way is Way.CHECKOUT:
        charge = 0 if _has_trial(account, plan) else price
    elif subscription is not None and way is Way.UPGRADE:
        # Out of a trial, the first month begins.
        charge = price
        if subscription.state != SubscriptionState.TRIALING:
            charge = upgrade_charge(
                old_micro=subscription.price_micro,
                new_micro=price,
                start=subscription.period_start,
                end=subscription.period_end,
                now=now,
            )
    elif subscription is not None and way in (Way.DOWNGRADE, Way.CANCEL):
        effective_at = subscription.period_end
    return Proposal(
        plan=plan,
        way=way,
        charge_micro=charge,
        price_micro=price,
        effective_at=effective_at,
        subscription=subscription,
    )


def _way(account: Account, plan: Plan, price: int, subscription: Subscription | None, now: datetime) -> Way:
    is_configured = payments.payments_state().is_configured
    if subscription is not None:
        return _way_on(plan, price, subscription, is_configured=is_configured)
    if get_plan(account, now=now).pk == plan.pk:
        return Way.NONE
    if price == 0:
        return Way.FREE
    if is_configured:
        return Way.CHECKOUT
    return Way.TRIAL if _has_trial(account, plan) else Way.CLOSED


def _way_on(plan: Plan, price: int, subscription: Subscription, *, is_configured: bool) -> Way:
    """From a plan that is subscribed to."""
    if subscription.plan_id == plan.pk:
        return Way.NONE
    if subscription.source == SubscriptionSource.LICENCE:
        return Way.CLOSED
    if subscription.source == SubscriptionSource.STRIPE and not is_configured:
        return Way.CLOSED
    if price == 0:
        return Way.CANCEL
    is_manual = subscription.source == SubscriptionSource.MANUAL
    # Nothing is paid for these: what they lead to is bought like the first plan of all.
    is_unpaid = subscription.state == SubscriptionState.TRIALING or subscription.price_micro == 0
    if (
        is_manual
        and subscription.state == SubscriptionState.TRIALING
        and is_invoiced(subscription.account_id)
    ):
        # A change ends the trial, and the first month is on the next invoice.
        return Way.UPGRADE
    if is_manual and is_unpaid:
        return Way.CHECKOUT if is_configured else Way.CLOSED
    if price < subscription.price_micro:
        return Way.DOWNGRADE
    # What is charged by hand is given at once only to whom an invoice can be sent.
    if is_manual and not is_invoiced(subscription.account_id):
        return Way.CLOSED
    return Way.UPGRADE


def _has_trial(account: Account, plan: Plan) -> bool:
    return plan.trial_days > 0 and not TrialClaim.objects.filter(account=account, held_by="").exists()


def take(
    proposal: Proposal,
    *,
    account: Account,
    seen_revision: int,
    actor: Ref,
    token: str,
    urls: tuple[str, str],
    promotion_code: str,
    now: datetime,
) -> Redirect | PlanChange:
    """Do what was proposed, and say what became of it; a Redirect is where the customer pays.

    Raises what the services raise. `urls` are where Stripe sends the browser after success, and after
    giving up.
    """
    subscription = proposal.subscription
    if proposal.way is Way.CHECKOUT:
        return payments.start_plan_checkout(
            account=account,
            plan=proposal.plan,
            actor=actor,
            token=token,
            success_url=urls[0],
            cancel_url=urls[1],
            promotion_code=promotion_code,
            now=now,
        )
    if subscription is not None and proposal.way in (Way.UPGRADE, Way.DOWNGRADE):
        plan = proposal.plan
        return _change(
            subscription,
            plan,
            account=account,
            seen_revision=seen_revision,
            actor=actor,
            token=token,
            now=now,
        )
    if proposal.way is Way.CANCEL:
        end(account=account, seen_revision=seen_revision, actor=actor, token=token, now=now)
    else:
        _begin(proposal, account=account, actor=actor, now=now)
    return PlanChange(is_now=proposal.way is not Way.CANCEL, effective_at=proposal.effective_at)


def _begin(proposal: Proposal, *, account: Account, actor: Ref, now: datetime) -> None:
    """At once, with nothing to pay. Raises Conflict for a way on which that is not so."""
    if proposal.way is Way.TRIAL:
        subscriptions.start_trial(account=account, plan=proposal.plan, actor=actor, now=now)
    elif proposal.way is Way.FREE:
        # No subscription: one at no price would be where a dearer plan is changed to, and not bought.
        set_plan(account=account, plan=proposal.plan, actor=actor, now=now)
    else:
        raise Conflict(problem=_("The account has this plan already, or nobody can be paid here."))


def _change(
    subscription: Subscription,
    plan: Plan,
    *,
    account: Account,
    seen_revision: int,
    actor: Ref,
    token: str,
    now: datetime,
) -> PlanChange:
    if subscription.revision != seen_revision:
        raise Conflict(problem=_("The plan was changed in another window; look at it again."))
    if subscription.source == SubscriptionSource.STRIPE:
        return payments.change_plan(account=account, plan=plan, actor=actor, token=token, now=now)
    change = subscriptions.change_plan(
        subscription=subscription, plan=plan, seen_revision=seen_revision, actor=actor, now=now
    )
    return PlanChange(is_now=change.effective_at <= now, effective_at=change.effective_at)


def end(*, account: Account, seen_revision: int, actor: Ref, token: str, now: datetime) -> None:
    """End the plan with its period. Raises Conflict where there is none to end."""
    subscription = require_changeable(account)
    if subscription.source == SubscriptionSource.STRIPE:
        payments.cancel_plan(account=account, actor=actor, token=token, now=now)
        return
    subscriptions.cancel_subscription(
        subscription=subscription, seen_revision=seen_revision, actor=actor, now=now
    )


def take_back(*, account: Account, seen_revision: int, actor: Ref, token: str, now: datetime) -> None:
    """Keep the plan that was to end or to change. Raises Conflict where nothing is planned."""
    subscription = require_changeable(account)
    if subscription.source != SubscriptionSource.STRIPE:
        subscriptions.keep_plan(subscription=subscription, seen_revision=seen_revision, actor=actor, now=now)
    elif subscription.next_plan_id is not None:
        payments.change_plan(account=account, plan=subscription.plan, actor=actor, token=token, now=now)
    else:
        payments.resume_plan(account=account, actor=actor, token=token, now=now)


def require_changeable(account: Account) -> Subscription:
    subscription = get_subscription(account)
    if subscription is None or subscription.source == SubscriptionSource.LICENCE:
        raise Conflict(problem=_("There is no plan here that could be changed."))
    return subscription
