from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import permutations
from typing import Any

import pytest
from django.db import transaction
from django.db.models import ProtectedError

from apps.accounts.choices import Role
from apps.accounts.models import Account, User
from apps.accounts.services import add_member
from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.core.errors import NotFound
from apps.plans.choices import SubscriptionSource, SubscriptionState
from apps.plans.closing import end_subscriptions
from apps.plans.errors import PlanUnavailable, SubscriptionConflict
from apps.plans.models import Plan, PlanCharge, Subscription, TrialClaim
from apps.plans.pausing import set_owing, set_paused
from apps.plans.renewing import end_grace, end_periods
from apps.plans.selectors import get_plan, get_subscription, list_offered
from apps.plans.services import archive_plan
from apps.plans.subscriptions import (
    SubscriptionFacts,
    apply_subscription,
    cancel_subscription,
    change_plan,
    keep_plan,
    start_subscription,
    start_trial,
)
from apps.plans.trials import claimant_of
from tests.apps.plans.conftest import Offer
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_account, make_plan

MONTH = timedelta(days=31)
"""From 2 March, where the clock stands."""


def _start(cast: Cast, offer: Offer, clock: FrozenClock) -> Subscription:
    return start_subscription(account=cast.account, plan=offer.standard, actor=SYSTEM, now=clock.now())


def _set_owing(cast: Cast, clock: FrozenClock, *, owing: bool) -> bool:
    with transaction.atomic():
        return set_owing(account_id=cast.account.pk, owing=owing, actor=SYSTEM, now=clock.now())


def _charges() -> list[int]:
    return list(PlanCharge.objects.values_list("amount_micro", flat=True))


def _facts(clock: FrozenClock, **change: Any) -> SubscriptionFacts:
    facts: dict[str, Any] = {
        "source": SubscriptionSource.STRIPE,
        "external_id": "sub_1",
        "plan_code": "standard",
        "state": SubscriptionState.ACTIVE,
        "period_start": clock.now(),
        "period_end": clock.now() + MONTH,
    }
    return SubscriptionFacts(**(facts | change))


def _apply(account: Account, facts: SubscriptionFacts, clock: FrozenClock) -> Subscription:
    return apply_subscription(account=account, facts=facts, actor=SYSTEM, now=clock.now())


def test_a_subscription_gives_its_plan_and_charges_a_month(
    cast: Cast, offer: Offer, clock: FrozenClock
) -> None:
    row = _start(cast, offer, clock)
    assert get_plan(cast.account) == offer.standard
    assert get_plan(cast.strangers_account) == offer.free
    assert (row.period_end - row.period_start, _charges()) == (MONTH, [47_000_000])
    with pytest.raises(SubscriptionConflict, match="has a subscription already"):
        _start(cast, offer, clock)
    assert _charges() == [47_000_000]


def test_an_upgrade_holds_at_once_and_costs_the_rest_of_the_difference(
    cast: Cast, offer: Offer, clock: FrozenClock
) -> None:
    row = _start(cast, offer, clock)
    clock.move_to(row.period_start + MONTH / 2)
    change = change_plan(
        subscription=row, plan=offer.premium, seen_revision=row.revision, actor=SYSTEM, now=clock.now()
    )
    assert get_plan(cast.account) == offer.premium
    assert (change.effective_at, change.charge_micro) == (clock.now(), 76_000_000)
    assert _charges() == [47_000_000, 76_000_000]


def test_the_second_tab_is_told_what_the_first_has_done(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    row = _start(cast, offer, clock)
    change_plan(subscription=row, plan=offer.premium, seen_revision=1, actor=SYSTEM, now=clock.now())
    with pytest.raises(SubscriptionConflict, match="a moment ago: the plan is Premium, active"):
        change_plan(subscription=row, plan=offer.premium, seen_revision=1, actor=SYSTEM, now=clock.now())
    assert len(_charges()) == 2


def test_a_downgrade_waits_for_the_end_of_the_month(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    row = start_subscription(account=cast.account, plan=offer.premium, actor=SYSTEM, now=clock.now())
    change = change_plan(
        subscription=row, plan=offer.standard, seen_revision=1, actor=SYSTEM, now=clock.now()
    )
    assert (change.effective_at, change.charge_micro) == (row.period_end, 0)
    assert get_plan(cast.account) == offer.premium
    assert end_periods(row.period_end - timedelta(seconds=1)) == 0
    assert end_periods(row.period_end) == 1
    assert get_plan(cast.account) == offer.standard
    assert _charges() == [199_000_000, 47_000_000]


def test_a_planned_downgrade_can_be_taken_back(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    row = start_subscription(account=cast.account, plan=offer.premium, actor=SYSTEM, now=clock.now())
    row = change_plan(
        subscription=row, plan=offer.standard, seen_revision=1, actor=SYSTEM, now=clock.now()
    ).subscription
    row = keep_plan(subscription=row, seen_revision=row.revision, actor=SYSTEM, now=clock.now())
    end_periods(row.period_end)
    assert get_plan(cast.account) == offer.premium
    with pytest.raises(SubscriptionConflict, match="Nothing is planned"):
        keep_plan(
            subscription=row,
            seen_revision=Subscription.objects.get().revision,
            actor=SYSTEM,
            now=clock.now(),
        )


def test_a_canceled_one_goes_on_until_what_is_paid_for_ends(
    cast: Cast, offer: Offer, clock: FrozenClock
) -> None:
    row = _start(cast, offer, clock)
    cancel_subscription(subscription=row, seen_revision=1, actor=SYSTEM, now=clock.now())
    assert get_plan(cast.account) == offer.standard
    assert end_periods(row.period_end) == 1
    assert get_plan(cast.account) == offer.free
    assert (get_subscription(cast.account), _charges()) == (None, [47_000_000])


def test_missed_periods_are_made_up_for_one_by_one(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    row = _start(cast, offer, clock)
    late = clock.advance(days=100)
    assert end_periods(late) == 3
    assert end_periods(late) == 0
    assert _charges() == [47_000_000] * 4
    row.refresh_from_db()
    assert (row.period_start.day, row.period_start.month, row.period_end.month) == (2, 6, 7)


def test_whoever_does_not_pay_keeps_the_plan_for_the_days_of_grace(
    cast: Cast, offer: Offer, clock: FrozenClock
) -> None:
    _start(cast, offer, clock)
    _set_owing(cast, clock, owing=True)
    assert get_plan(cast.account) == offer.standard
    assert end_grace(clock.advance(days=7, seconds=-1)) == 0
    assert end_grace(clock.advance(seconds=1)) == 1
    assert get_plan(cast.account) == offer.free
    assert end_grace(clock.now()) == 0
    _set_owing(cast, clock, owing=False)
    assert get_plan(cast.account) == offer.standard


def test_a_pause_gives_the_default_plan_and_charges_nothing(
    cast: Cast, offer: Offer, clock: FrozenClock
) -> None:
    row = _start(cast, offer, clock)
    row = set_paused(subscription=row, paused=True, seen_revision=1, actor=SYSTEM, now=clock.now())
    assert get_plan(cast.account) == offer.free
    assert end_periods(clock.advance(days=50)) == 0
    row = set_paused(subscription=row, paused=False, seen_revision=2, actor=SYSTEM, now=clock.now())
    assert get_plan(cast.account) == offer.standard
    assert (row.period_start, _charges()) == (clock.now(), [47_000_000] * 2)


def test_a_trial_costs_nothing_and_ends_by_itself(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    row = start_trial(account=cast.account, plan=offer.standard, actor=SYSTEM, now=clock.now())
    assert (get_plan(cast.account), _charges()) == (offer.standard, [])
    assert row.trial_end == clock.now() + timedelta(days=7)
    end_periods(clock.advance(days=7))
    assert (get_plan(cast.account), _charges()) == (offer.free, [])
    with pytest.raises(SubscriptionConflict, match="has been a trial"):
        start_trial(account=cast.account, plan=offer.standard, actor=SYSTEM, now=clock.now())


@pytest.mark.parametrize("name", ["premium", "cheaper"])
def test_a_change_of_plan_ends_a_trial_and_begins_a_paid_month(
    cast: Cast, offer: Offer, clock: FrozenClock, name: str
) -> None:
    """A cheaper plan, too: a trial that only ended would leave whoever chose one with nothing."""
    row = start_trial(account=cast.account, plan=offer.standard, actor=SYSTEM, now=clock.now())
    make_plan("cheaper", is_default=False)
    Plan.objects.filter(code="cheaper").update(price_micro=20_000_000)
    plan = Plan.objects.get(code=name)
    now = clock.advance(days=3)
    change = change_plan(subscription=row, plan=plan, seen_revision=1, actor=SYSTEM, now=now)
    assert (change.effective_at, change.charge_micro) == (now, plan.price_micro)
    row.refresh_from_db()
    assert (row.state, row.period_start, row.period_end, row.trial_end) == (
        SubscriptionState.ACTIVE,
        now,
        now + MONTH,
        now,
    )
    assert (get_plan(cast.account), _charges()) == (plan, [plan.price_micro])
    assert end_periods(clock.advance(days=7)) == 0


def test_whoever_pays_tries_no_longer(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    start_trial(account=cast.account, plan=offer.standard, actor=SYSTEM, now=clock.now())
    _start(cast, offer, clock)
    states = Subscription.objects.order_by("pk").values_list("state", flat=True)
    assert (list(states), _charges()) == (["canceled", "active"], [47_000_000])


def test_a_plan_without_a_trial_has_none(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    with pytest.raises(PlanUnavailable, match="no trial"):
        start_trial(account=cast.account, plan=offer.premium, actor=SYSTEM, now=clock.now())


def test_one_company_has_one_trial(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    """Ada and Cleo both write from example.com."""
    start_trial(account=cast.account, plan=offer.standard, actor=SYSTEM, now=clock.now())
    with pytest.raises(SubscriptionConflict, match="account or company"):
        start_trial(account=cast.strangers_account, plan=offer.standard, actor=SYSTEM, now=clock.now())
    assert Subscription.objects.count() == 1


@pytest.mark.parametrize(
    ("email", "claimant"),
    [
        ("Ada@Studio.example", "studio.example"),
        ("ada+trial2@GMAIL.com", "ada@gmail.com"),
        ("ada@gmail.com", "ada@gmail.com"),
    ],
)
def test_who_counts_as_one(email: str, claimant: str) -> None:
    assert claimant_of(email) == claimant


def test_facts_set_the_state_and_again_change_nothing(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    _apply(cast.account, _facts(clock), clock)
    before = (AuditEvent.objects.count(), Subscription.objects.get().revision)
    _apply(cast.account, _facts(clock), clock)
    assert (AuditEvent.objects.count(), Subscription.objects.get().revision) == before
    assert get_plan(cast.account) == offer.standard


def test_a_trial_that_somebody_else_gives_counts(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    facts = _facts(clock, state=SubscriptionState.TRIALING, trial_end=clock.now() + timedelta(days=7))
    for _ in range(2):
        _apply(cast.account, facts, clock)
    assert TrialClaim.objects.filter(account=cast.account).count() == 1


def test_facts_in_any_order_end_the_same(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    """The last word on each of three subscriptions, in whatever order and however often they are heard."""
    for number, order in enumerate(permutations(range(3))):
        account = make_account(f"order-{number}", now=clock.now())
        last_words = (
            _facts(clock, external_id=f"a{number}", plan_code="premium", state=SubscriptionState.CANCELED),
            _facts(clock, external_id=f"b{number}", plan_code="premium"),
            _facts(clock, external_id=f"c{number}", plan_code="standard"),
        )
        _apply(account, _facts(clock, external_id=f"a{number}", plan_code="premium"), clock)
        for position in (*order, order[0]):
            _apply(account, last_words[position], clock)
        assert get_plan(account) == offer.premium
        chosen = get_subscription(account)
        assert chosen is not None and chosen.external_id == f"b{number}"


@pytest.mark.parametrize(
    ("change", "refusal"),
    [({"plan_code": "gold"}, NotFound), ({"next_plan_code": "gold"}, NotFound)],
)
def test_unknown_plans_change_nothing(
    cast: Cast, offer: Offer, clock: FrozenClock, change: dict[str, Any], refusal: type[Exception]
) -> None:
    with pytest.raises(refusal):
        _apply(cast.account, _facts(clock, **change), clock)
    assert not Subscription.objects.exists()


def test_a_strangers_subscription_is_not_taken_over(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    _apply(cast.account, _facts(clock), clock)
    with pytest.raises(SubscriptionConflict, match="another account's"):
        _apply(cast.strangers_account, _facts(clock), clock)
    assert get_plan(cast.strangers_account) == offer.free


def test_stripes_are_changed_at_stripe(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    row = _apply(cast.account, _facts(clock), clock)
    with pytest.raises(SubscriptionConflict, match="kept by Stripe"):
        change_plan(subscription=row, plan=offer.premium, seen_revision=1, actor=SYSTEM, now=clock.now())
    assert end_periods(clock.advance(days=60)) == 0


def test_grace_counts_from_when_it_is_owed(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    owed = _facts(clock, state=SubscriptionState.PAST_DUE, past_due_since=clock.now() - timedelta(days=6))
    _apply(cast.account, owed, clock)
    assert get_plan(cast.account) == offer.standard
    assert end_grace(clock.advance(days=1)) == 1
    assert get_plan(cast.account) == offer.free


def test_grace_does_not_begin_anew_when_another_payment_fails(
    cast: Cast, offer: Offer, clock: FrozenClock
) -> None:
    owed = _facts(clock, state=SubscriptionState.PAST_DUE, past_due_since=clock.now())
    _apply(cast.account, owed, clock)
    clock.advance(days=6)
    again = _facts(clock, state=SubscriptionState.PAST_DUE, past_due_since=clock.now())
    _apply(cast.account, again, clock)
    assert end_grace(clock.advance(days=1)) == 1
    assert get_plan(cast.account) == offer.free


def test_grace_is_whole_again_after_it_was_paid(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    for state in (SubscriptionState.PAST_DUE, SubscriptionState.ACTIVE):
        _apply(cast.account, _facts(clock, state=state), clock)
    clock.advance(days=6)
    _apply(cast.account, _facts(clock, state=SubscriptionState.PAST_DUE), clock)
    assert end_grace(clock.advance(days=6)) == 0
    assert get_plan(cast.account) == offer.standard


def test_an_archived_plan_stays_with_its_holders_and_is_taken_by_nobody(
    cast: Cast, offer: Offer, clock: FrozenClock
) -> None:
    row = _start(cast, offer, clock)
    archive_plan(plan=offer.standard, actor=cast.otto.ref, now=clock.now())
    assert end_periods(row.period_end) == 1
    assert get_plan(cast.account) == offer.standard
    assert list_offered() == [offer.premium]
    with pytest.raises(PlanUnavailable, match="no longer offered"):
        start_subscription(account=cast.strangers_account, plan=offer.standard, actor=SYSTEM, now=clock.now())
    with pytest.raises(ProtectedError):
        offer.standard.delete()


def test_closing_an_account_ends_what_we_keep(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    _start(cast, offer, clock)
    end_subscriptions(account=cast.account, actor=SYSTEM, now=clock.now())
    assert get_plan(cast.account) == offer.free
    assert end_periods(clock.advance(days=60)) == 0


@pytest.mark.parametrize("act", [cancel_subscription, keep_plan])
def test_what_has_ended_cannot_be_changed(
    cast: Cast, offer: Offer, clock: FrozenClock, act: Callable[..., object]
) -> None:
    row = _start(cast, offer, clock)
    row = cancel_subscription(subscription=row, seen_revision=1, actor=SYSTEM, now=clock.now(), at_once=True)
    assert get_plan(cast.account) == offer.free
    with pytest.raises(SubscriptionConflict, match="has ended"):
        act(subscription=row, seen_revision=2, actor=SYSTEM, now=clock.now())


def test_the_owner_counts_and_not_who_joined(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    guest = User.objects.create(email="guest@elsewhere.example", date_joined=clock.now())
    add_member(account=cast.account, user=guest, role=Role.VIEWER, actor=SYSTEM, now=clock.now())
    start_trial(account=cast.account, plan=offer.standard, actor=SYSTEM, now=clock.now())
    assert TrialClaim.objects.get().claimant == "example.com"
