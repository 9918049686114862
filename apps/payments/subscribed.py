"""Which subscription Stripe bills an account for, and what that says of its plan."""

from __future__ import annotations

from apps.accounts.models import Account
from apps.core.errors import Conflict
from apps.payments.catalogue import find_plan
from apps.payments.seen import SubscriptionSeen
from apps.plans.choices import OPEN_STATES, SubscriptionSource, SubscriptionState
from apps.plans.models import Subscription
from apps.plans.subscriptions import SubscriptionFacts

STATES = {
    "trialing": SubscriptionState.TRIALING,
    "active": SubscriptionState.ACTIVE,
    "past_due": SubscriptionState.PAST_DUE,
    "unpaid": SubscriptionState.PAST_DUE,
    "paused": SubscriptionState.PAUSED,
    "canceled": SubscriptionState.CANCELED,
    "incomplete_expired": SubscriptionState.CANCELED,
}
"""Stripe's words in ours. `incomplete` is none yet: its first payment waits for the customer."""


class PriceUnknown(Exception):
    """Somebody at Stripe put a customer of ours on a price that is none of our plans."""


def find_open_subscription(account: Account) -> Subscription | None:
    """What Stripe bills the account for, as far as we have heard."""
    rows = Subscription.objects.filter(
        account=account, source=SubscriptionSource.STRIPE, state__in=OPEN_STATES
    )
    return rows.select_related("plan", "next_plan").order_by("-pk").first()


def require_open_subscription(account: Account) -> Subscription:
    """Raises Conflict where Stripe bills nothing."""
    found = find_open_subscription(account)
    if found is None:
        raise Conflict(problem="This account has no plan that is paid by card; choose one first.")
    return found


def facts_of(seen: SubscriptionSeen) -> SubscriptionFacts | None:
    """What Stripe says in the words of plans; None while the first payment is not made.

    Raises PriceUnknown.
    """
    state = STATES.get(seen.status)
    if state is None:
        return None
    if seen.is_collection_paused and state != SubscriptionState.CANCELED:
        state = SubscriptionState.PAUSED
    is_canceled = state == SubscriptionState.CANCELED
    return SubscriptionFacts(
        source=SubscriptionSource.STRIPE,
        external_id=seen.id,
        plan_code=_plan_code(seen.price_id),
        state=state,
        period_start=seen.period_start,
        period_end=seen.period_end,
        trial_end=seen.trial_end,
        cancel_at=seen.ended_at if is_canceled else seen.cancel_at,
        next_plan_code=_plan_code(seen.next_price_id) if seen.next_price_id and not is_canceled else None,
        past_due_since=seen.owed_since if state == SubscriptionState.PAST_DUE else None,
    )


def _plan_code(price_id: str) -> str:
    plan = find_plan(price_id)
    if plan is None:
        raise PriceUnknown(f"price {price_id} belongs to none of our plans")
    return plan.code
