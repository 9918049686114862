"""Plans change by versions; contracts and choices lie over them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.core.errors import InvalidField
from apps.plans.entitlements import UNLIMITED
from apps.plans.errors import ModelNotInPlan, PlanUnavailable
from apps.plans.models import Contract, Plan, PlanTerms
from apps.plans.retention import choose_retention
from apps.plans.selectors import get_entitlements, price_of
from apps.plans.services import archive_plan, restore_plan, save_contract, save_plan, set_plan
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import give_plan, make_plan


def _change(plan: Plan, cast: Cast, clock: FrozenClock, *, to_all: bool = False, **limits: Any) -> None:
    fresh = Plan.objects.get(pk=plan.pk)
    fresh.limits = fresh.limits | limits
    save_plan(plan=fresh, actor=cast.otto.ref, now=clock.now(), apply_to_holders=to_all)


def test_whoever_has_a_plan_keeps_it_as_it_was(cast: Cast, clock: FrozenClock) -> None:
    plan = give_plan(cast.account, calls_per_day=7)
    _change(plan, cast, clock, calls_per_day=5)
    _change(plan, cast, clock, calls_per_day=3)
    set_plan(account=cast.strangers_account, plan=plan, actor=SYSTEM, now=clock.now())
    assert get_entitlements(cast.account).calls_per_day == 7
    assert get_entitlements(cast.strangers_account).calls_per_day == 3
    assert Plan.objects.get(pk=plan.pk).version == 3
    # A version that nobody holds is not kept.
    assert list(PlanTerms.objects.values_list("version", flat=True)) == [1]


def test_the_price_is_that_of_the_version_one_has(cast: Cast, clock: FrozenClock) -> None:
    plan = give_plan(cast.account, calls_per_day=7)

    def prices() -> list[int]:
        return [
            price_of(account=account, plan=plan, now=clock.now())
            for account in (cast.account, cast.strangers_account)
        ]

    plan.price_micro = 9
    save_plan(plan=plan, actor=cast.otto.ref, now=clock.now())
    assert prices() == [0, 9]
    save_plan(plan=plan, actor=cast.otto.ref, now=clock.now(), apply_to_holders=True)
    assert prices() == [9, 9]


def test_a_change_can_apply_to_holders(cast: Cast, clock: FrozenClock) -> None:
    plan = give_plan(cast.account, calls_per_day=7)
    _change(plan, cast, clock, calls_per_day=5)
    _change(plan, cast, clock, to_all=True, calls_per_day=3)
    assert get_entitlements(cast.account).calls_per_day == 3


def test_a_new_name_is_no_new_version(cast: Cast, clock: FrozenClock) -> None:
    plan = give_plan(cast.account, calls_per_day=7)
    plan.name = "Another"
    save_plan(plan=plan, actor=cast.otto.ref, now=clock.now())
    assert (Plan.objects.get(pk=plan.pk).version, PlanTerms.objects.count()) == (1, 0)


def test_who_leaves_and_comes_back_has_the_plan_as_it_is(cast: Cast, clock: FrozenClock) -> None:
    plan = give_plan(cast.account, calls_per_day=7)
    _change(plan, cast, clock, calls_per_day=5)
    for each in (cast.plan, plan):
        set_plan(account=cast.account, plan=each, actor=SYSTEM, now=clock.now())
    assert get_entitlements(cast.account).calls_per_day == 5


def test_the_default_plan_is_not_archived(cast: Cast, clock: FrozenClock) -> None:
    with pytest.raises(PlanUnavailable, match="default plan"):
        archive_plan(plan=cast.plan, actor=cast.otto.ref, now=clock.now())
    assert Plan.objects.get(pk=cast.plan.pk).archived_at is None


def test_nobody_is_put_on_an_archived_plan_until_it_is_restored(cast: Cast, clock: FrozenClock) -> None:
    plan = make_plan("old", is_default=False)
    for _ in range(2):
        archive_plan(plan=plan, actor=cast.otto.ref, now=clock.now())
    assert AuditEvent.objects.filter(name="plans.plan.archived").count() == 1
    with pytest.raises(PlanUnavailable, match="is archived"):
        set_plan(account=cast.account, plan=plan, actor=SYSTEM, now=clock.now())
    restore_plan(plan=plan, actor=cast.otto.ref, now=clock.now())
    set_plan(account=cast.account, plan=plan, actor=SYSTEM, now=clock.now())
    assert get_entitlements(cast.account).plan_code == "old"


def _contract(cast: Cast, clock: FrozenClock, **fields: Any) -> Contract:
    values = {"name": "C-1", "starts_at": clock.now(), "limits": {}} | fields
    contract = Contract(account=cast.account, **values)
    save_contract(contract=contract, actor=cast.otto.ref, now=clock.now())
    return contract


def test_a_contract_lies_over_the_plan_for_its_time(cast: Cast, clock: FrozenClock) -> None:
    limits = {"calls_per_day": "unlimited", "dedicated_device": True}
    ends = clock.now() + timedelta(days=9)
    _contract(cast, clock, limits=limits, weight=16, price_micro=5, ends_at=ends)
    with CaptureQueriesContext(connection) as queries:
        found = get_entitlements(cast.account, now=clock.now())
    assert len(queries) == 1
    assert (found.calls_per_day, found.dedicated_device, found.weight, found.queue_depth) == (
        UNLIMITED,
        True,
        16.0,
        20,
    )
    assert price_of(account=cast.account, plan=cast.plan, now=clock.now()) == 5
    assert get_entitlements(cast.strangers_account).calls_per_day == 100
    assert get_entitlements(cast.account, now=ends).calls_per_day == 100
    assert price_of(account=cast.account, plan=cast.plan, now=ends) == 0


def test_an_agreed_price_is_that_of_one_plan(cast: Cast, clock: FrozenClock) -> None:
    """Else whoever has agreed on nothing for a small plan has every plan for nothing."""
    small, big = (make_plan(code, is_default=False) for code in ("small", "big"))
    for plan in (small, big):
        plan.price_micro = 47
        plan.save()
    set_plan(account=cast.account, plan=small, actor=SYSTEM, now=clock.now())
    assert _contract(cast, clock, price_micro=0).plan == small

    set_plan(account=cast.account, plan=big, actor=SYSTEM, now=clock.now())

    prices = [price_of(account=cast.account, plan=plan, now=clock.now()) for plan in (small, big)]
    assert prices == [0, 47]


def test_the_contract_that_began_last_counts(cast: Cast, clock: FrozenClock) -> None:
    for days, calls in ((2, 2), (1, 1)):
        starts = clock.now() - timedelta(days=days)
        _contract(cast, clock, limits={"calls_per_day": calls}, starts_at=starts)
    assert get_entitlements(cast.account).calls_per_day == 1


@pytest.mark.parametrize("limits", [{"colour": 1}, {"calls_per_day": -1}, {"kinds": "all"}, [1]])
def test_a_contract_names_what_a_plan_could(cast: Cast, clock: FrozenClock, limits: Any) -> None:
    with pytest.raises(InvalidField, match="limits"):
        _contract(cast, clock, limits=limits)
    assert not Contract.objects.exists()


def test_a_contract_ends_after_it_begins(cast: Cast, clock: FrozenClock) -> None:
    with pytest.raises(InvalidField, match="after starts_at"):
        _contract(cast, clock, ends_at=clock.now())


def test_an_account_chooses_how_long_images_are_kept(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, retention_days=[7, 1, 30])
    assert get_entitlements(cast.account).kept_days is None
    choose_retention(account=cast.account, days=7, actor=cast.ada.ref, now=clock.now())
    assert get_entitlements(cast.account).kept_days == 7
    with pytest.raises(InvalidField, match="must be one of 1, 7, 30, not 8"):
        choose_retention(account=cast.account, days=8, actor=cast.ada.ref, now=clock.now())
    choose_retention(account=cast.account, days=None, actor=cast.ada.ref, now=clock.now())
    assert get_entitlements(cast.account).kept_days is None


def test_a_choice_does_not_outlive_the_plan_that_offered_it(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, retention_days=[1, 30])
    choose_retention(account=cast.account, days=30, actor=cast.ada.ref, now=clock.now())
    set_plan(account=cast.account, plan=cast.plan, actor=SYSTEM, now=clock.now())
    assert get_entitlements(cast.account).kept_days is None


def test_a_model_outside_the_plan_is_refused(cast: Cast) -> None:
    give_plan(cast.account, models=["tiny"])
    entitlements = get_entitlements(cast.account)
    entitlements.require_model("tiny")
    with pytest.raises(ModelNotInPlan, match=r"plan only-ada does not include the model sdxl\.$"):
        entitlements.require_model("sdxl")
