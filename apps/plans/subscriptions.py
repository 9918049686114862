"""Subscriptions: what others say of theirs, and the life of those that we keep ourselves.

Stripe's and licences' are mirrored: `apply_subscription` sets the state that it is told. Manual ones, which
are paid by invoice, begin, change and end here; `pausing.py` stops them for a while, and `renewing.py` ends
their periods. Of two that act on the same revision the second is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.core.errors import NotFound
from apps.core.ids import random_token
from apps.plans.charging import charge_period, charge_upgrade
from apps.plans.choices import SubscriptionSource, SubscriptionState
from apps.plans.errors import PlanUnavailable, SubscriptionConflict
from apps.plans.following import follow_subscriptions, lock_account
from apps.plans.models import Plan, Subscription
from apps.plans.proration import add_months
from apps.plans.selectors import price_of
from apps.plans.subscription_rows import current_row, record_change, require_offered, write_row
from apps.plans.trials import claim_trial, note_trial

EXTERNAL_ID_CHARS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class SubscriptionFacts:
    """What is true of a subscription now, according to whoever keeps it."""

    source: SubscriptionSource
    external_id: str
    plan_code: str
    state: SubscriptionState
    period_start: datetime
    period_end: datetime
    trial_end: datetime | None = None
    cancel_at: datetime | None = None
    next_plan_code: str | None = None
    past_due_since: datetime | None = None
    """Since when a payment is owed; None takes the time at which it was first heard of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanChange:
    """What a change of plan does, and what it costs."""

    subscription: Subscription
    effective_at: datetime
    charge_micro: int
    """On the next invoice, for the rest of the period; 0 for what begins with the next one."""


def apply_subscription(
    *, account: Account, facts: SubscriptionFacts, actor: Ref, now: datetime
) -> Subscription:
    """Set a subscription and the account's plan to `facts`, whatever came before; again, it changes nothing.

    Joins the caller's transaction or opens its own. Raises NotFound for a plan that does not exist, and
    SubscriptionConflict when the subscription belongs to another account.
    """
    plan = get_plan_by_code(facts.plan_code)
    next_plan = get_plan_by_code(facts.next_plan_code) if facts.next_plan_code else None
    with transaction.atomic():
        locked = lock_account(account.pk)
        row = Subscription.objects.filter(source=facts.source, external_id=facts.external_id).first()
        if row is not None and row.account_id != account.pk:
            raise SubscriptionConflict(problem=f"Subscription {facts.external_id} is another account's.")
        wanted = _columns(facts, plan, next_plan, row, now)
        wanted["price_micro"] = _price(account, plan, row, now)
        if row is None:
            row = Subscription.objects.create(
                account=account,
                source=facts.source,
                external_id=facts.external_id,
                anchor_at=facts.period_start,
                created_at=now,
                updated_at=now,
                **wanted,
            )
            record_change("plans.subscription.started", row, actor, now)
        elif any(getattr(row, name) != value for name, value in wanted.items()):
            write_row(row, wanted, name="plans.subscription.changed", actor=actor, now=now)
        if facts.trial_end is not None:
            note_trial(account=locked, now=now)
        follow_subscriptions(account=locked, actor=actor, now=now)
    return row


def _columns(
    facts: SubscriptionFacts, plan: Plan, next_plan: Plan | None, row: Subscription | None, now: datetime
) -> dict[str, Any]:
    """Any: values of the row's columns by name."""
    past_due_since = None
    if facts.state == SubscriptionState.PAST_DUE:
        # The earlier of the two: grace is not begun anew by a payment that fails again.
        known = row.past_due_since if row is not None and row.state == SubscriptionState.PAST_DUE else None
        past_due_since = min((each for each in (facts.past_due_since, known) if each), default=now)
    return {
        "plan": plan,
        "next_plan": next_plan,
        "state": facts.state,
        "period_start": facts.period_start,
        "period_end": facts.period_end,
        "trial_end": facts.trial_end,
        "cancel_at": facts.cancel_at,
        "past_due_since": past_due_since,
    }


def _price(account: Account, plan: Plan, row: Subscription | None, now: datetime) -> int:
    """Micro-USD a month. As long as the plan is the same, so is its price, whatever others pay by now."""
    if row is not None and row.plan_id == plan.pk:
        return row.price_micro
    return price_of(account=account, plan=plan, now=now)


def get_plan_by_code(code: str) -> Plan:
    """Archived ones, too: whoever has one keeps it. Raises NotFound."""
    plan = Plan.objects.filter(code=code).first()
    if plan is None:
        raise NotFound(what="Plan", id=code)
    return plan


def start_trial(*, account: Account, plan: Plan, actor: Ref, now: datetime) -> Subscription:
    """Try a plan for its `trial_days`, once an account and once an e-mail domain of its owner.

    Raises PlanUnavailable for a plan without a trial, SubscriptionConflict where there has been one before.
    """
    if plan.trial_days == 0:
        raise PlanUnavailable(problem=f"The plan {plan.name} has no trial.")
    ends = now + timedelta(days=plan.trial_days)
    with transaction.atomic(durable=True):
        locked = lock_account(account.pk)
        require_offered(plan)
        claim_trial(account=locked, now=now)
        row = _begin(locked, plan, ends, now, state=SubscriptionState.TRIALING, trial_end=ends)
        record_change("plans.trial.started", row, actor, now)
        follow_subscriptions(account=locked, actor=actor, now=now)
    return row


def start_subscription(
    *, account: Account, plan: Plan, actor: Ref, now: datetime, reason: str = ""
) -> Subscription:
    """Begin a plan that is paid by invoice, month by month from now; the first month is charged at once.

    Raises PlanUnavailable for an archived plan, SubscriptionConflict where there is such a subscription.
    """
    with transaction.atomic(durable=True):
        locked = lock_account(account.pk)
        require_offered(plan)
        _end_trial(locked, actor, now)
        row = _begin(locked, plan, add_months(now, 1), now, state=SubscriptionState.ACTIVE, trial_end=None)
        charge_period(subscription=row, now=now)
        record_change("plans.subscription.started", row, actor, now, reason=reason)
        follow_subscriptions(account=locked, actor=actor, now=now)
    return row


def _end_trial(account: Account, actor: Ref, now: datetime) -> None:
    """Whoever pays tries no longer."""
    trials = Subscription.objects.filter(
        account=account, source=SubscriptionSource.MANUAL, state=SubscriptionState.TRIALING
    )
    for row in trials.select_related("plan", "next_plan"):
        change = {"state": SubscriptionState.CANCELED, "cancel_at": now, "next_plan": None}
        write_row(row, change, name="plans.trial.ended", actor=actor, now=now)


def _begin(
    account: Account,
    plan: Plan,
    ends: datetime,
    now: datetime,
    *,
    state: SubscriptionState,
    trial_end: datetime | None,
) -> Subscription:
    try:
        with transaction.atomic():
            return Subscription.objects.create(
                account=account,
                source=SubscriptionSource.MANUAL,
                external_id=f"man_{random_token(EXTERNAL_ID_CHARS)}",
                plan=plan,
                state=state,
                # A trial is followed by whole months of its own.
                anchor_at=trial_end or now,
                period_start=now,
                period_end=ends,
                trial_end=trial_end,
                price_micro=price_of(account=account, plan=plan, now=now),
                created_at=now,
                updated_at=now,
            )
    except IntegrityError:
        raise SubscriptionConflict(problem="This account has a subscription already; change that.") from None


def change_plan(
    *, subscription: Subscription, plan: Plan, seen_revision: int, actor: Ref, now: datetime
) -> PlanChange:
    """Change to a dearer plan at once, for what is left of the difference; to a cheaper one later.

    A cheaper one begins when the period ends that is paid for. The period stays what it was, and what was
    used in it of the plan's included calls counts against the new plan's. A trial has paid nothing: any
    change ends it, and a whole month of the new plan begins and is charged now.

    `seen_revision` is that of the page on which it was decided. Raises SubscriptionConflict when the
    subscription has changed since, has ended or is not ours to change, and PlanUnavailable.
    """
    with transaction.atomic(durable=True):
        account = lock_account(subscription.account_id)
        row = current_row(subscription, seen_revision)
        if plan.pk == row.plan_id:
            raise SubscriptionConflict(problem=f"The account is on the plan {plan.name} already.")
        require_offered(plan)
        price = price_of(account=account, plan=plan, now=now)
        if row.state == SubscriptionState.TRIALING:
            charge = _end_trial_with(row, plan, price, actor, now)
            follow_subscriptions(account=account, actor=actor, now=now)
            return PlanChange(subscription=row, effective_at=now, charge_micro=charge)
        if price < row.price_micro:
            write_row(row, {"next_plan": plan}, name="plans.downgrade.scheduled", actor=actor, now=now)
            return PlanChange(subscription=row, effective_at=row.period_end, charge_micro=0)
        charge = charge_upgrade(subscription=row, plan=plan, price_micro=price, now=now)
        change = {"plan": plan, "next_plan": None, "price_micro": price}
        write_row(row, change, name="plans.subscription.upgraded", actor=actor, now=now)
        follow_subscriptions(account=account, actor=actor, now=now)
        return PlanChange(subscription=row, effective_at=now, charge_micro=charge)


def _end_trial_with(row: Subscription, plan: Plan, price_micro: int, actor: Ref, now: datetime) -> int:
    """Part: the first month of `plan` begins now; what it is charged, micro-USD."""
    change = {
        "plan": plan,
        "next_plan": None,
        "price_micro": price_micro,
        "state": SubscriptionState.ACTIVE,
        "anchor_at": now,
        "period_start": now,
        "period_end": add_months(now, 1),
        "trial_end": now,
        "cancel_at": None,
    }
    write_row(row, change, name="plans.trial.upgraded", actor=actor, now=now)
    return charge_period(subscription=row, now=now)


def keep_plan(
    *, subscription: Subscription, seen_revision: int, actor: Ref, now: datetime, reason: str = ""
) -> Subscription:
    """Take back a downgrade or an end that has not come yet. Raises SubscriptionConflict."""
    with transaction.atomic(durable=True):
        lock_account(subscription.account_id)
        row = current_row(subscription, seen_revision)
        if row.next_plan_id is None and row.cancel_at is None:
            raise SubscriptionConflict(problem="Nothing is planned that could be taken back.")
        change = {"next_plan": None, "cancel_at": None}
        write_row(row, change, name="plans.subscription.kept", actor=actor, now=now, reason=reason)
    return row


def cancel_subscription(
    *,
    subscription: Subscription,
    seen_revision: int,
    actor: Ref,
    now: datetime,
    at_once: bool = False,
    reason: str = "",
) -> Subscription:
    """End at the end of the period, which is paid for; or now. Raises SubscriptionConflict."""
    with transaction.atomic(durable=True):
        account = lock_account(subscription.account_id)
        row = current_row(subscription, seen_revision)
        if at_once:
            change: dict[str, Any] = {
                "state": SubscriptionState.CANCELED,
                "cancel_at": now,
                "past_due_since": None,
                "next_plan": None,
            }
        else:
            change = {"cancel_at": row.period_end, "next_plan": None}
        write_row(row, change, name="plans.subscription.canceled", actor=actor, now=now, reason=reason)
        follow_subscriptions(account=account, actor=actor, now=now)
    return row
