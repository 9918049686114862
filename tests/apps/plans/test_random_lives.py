"""Whatever is done to a subscription in whatever order, some things stay true."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.accounts.models import Account
from apps.audit.refs import SYSTEM
from apps.core.errors import DomainError
from apps.plans.choices import OPEN_STATES, SubscriptionState
from apps.plans.models import AccountPlan, Plan, PlanCharge, Subscription
from apps.plans.pausing import set_owing, set_paused
from apps.plans.renewing import end_grace, end_periods
from apps.plans.selectors import get_plan
from apps.plans.subscriptions import (
    cancel_subscription,
    change_plan,
    keep_plan,
    start_subscription,
    start_trial,
)
from tests.apps.plans.conftest import Offer
from tests.cast import Cast
from tests.clocks import FrozenClock

ACTS = (
    "start",
    "try",
    "upgrade",
    "downgrade",
    "keep",
    "cancel",
    "end",
    "pause",
    "resume",
    "owe",
    "pay",
    "wait a week",
    "wait a month",
)
LIVES = st.lists(st.sampled_from(ACTS), max_size=14)


def _do(act: str, account: Account, offer: Offer, clock: FrozenClock) -> None:
    """Raises a DomainError where it cannot be done now, having changed nothing."""
    common: dict[str, Any] = {"actor": SYSTEM, "now": clock.now()}
    if act == "start":
        start_subscription(account=account, plan=offer.standard, **common)
        return
    if act == "try":
        start_trial(account=account, plan=offer.standard, **common)
        return
    row = Subscription.objects.filter(account=account).first()
    if row is None:
        return
    common |= {"subscription": row, "seen_revision": row.revision}
    match act:
        case "upgrade":
            change_plan(plan=offer.premium, **common)
        case "downgrade":
            change_plan(plan=offer.standard, **common)
        case "keep":
            keep_plan(**common)
        case "cancel" | "end":
            cancel_subscription(at_once=act == "end", **common)
        case "pause" | "resume":
            set_paused(paused=act == "pause", **common)
        case "owe" | "pay":
            with transaction.atomic():
                set_owing(account_id=account.pk, owing=act == "owe", actor=SYSTEM, now=clock.now())


def _snapshot(account: Account) -> list[Any]:
    rows = [list(model.objects.filter(account=account).values()) for model in (Subscription, AccountPlan)]
    return [*rows, PlanCharge.objects.filter(account=account).count()]


def _require_sound(
    account: Account, offer: Offer, clock: FrozenClock, *, was_just_paid: bool = False
) -> None:
    """What was paid in its days of grace is renewed when the task looks next."""
    rows = list(Subscription.objects.filter(account=account).select_related("plan"))
    assert sum(row.state in OPEN_STATES for row in rows) <= 1
    giving = [row.plan for row in rows if row.gives_plan(now=clock.now())]
    assert get_plan(account, now=clock.now()) == (giving[0] if giving else offer.free)
    for row in rows:
        assert row.period_start < row.period_end
        # Nothing that runs is left behind its time, but what waits for the days of grace.
        assert (
            row.state in (SubscriptionState.PAUSED, SubscriptionState.CANCELED)
            or row.period_end > clock.now()
            or (row.state == SubscriptionState.PAST_DUE and row.gives_plan(now=clock.now()))
            or (row.state == SubscriptionState.ACTIVE and was_just_paid)
        )
        periods = PlanCharge.objects.filter(subscription=row, key__startswith="period:")
        assert len(set(periods.values_list("period_start", flat=True))) == periods.count()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(life=LIVES)
def test_any_life_stays_sound(cast: Cast, offer: Offer, clock: FrozenClock, life: list[str]) -> None:
    PlanCharge.objects.all().delete()
    AccountPlan.objects.all().delete()
    Subscription.objects.all().delete()
    assert Plan.objects.filter(is_default=True).count() == 1
    for act in life:
        if act.startswith("wait"):
            clock.advance(days=7 if act.endswith("week") else 31)
            end_periods(clock.now())
            end_grace(clock.now())
        else:
            before = _snapshot(cast.account)
            try:
                _do(act, cast.account, offer, clock)
            except DomainError:
                assert _snapshot(cast.account) == before
        _require_sound(cast.account, offer, clock, was_just_paid=True)
        end_periods(clock.now())
        _require_sound(cast.account, offer, clock)
    with suppress(DomainError):
        _do("end", cast.account, offer, clock)
    assert get_plan(cast.account, now=clock.now()) == offer.free
