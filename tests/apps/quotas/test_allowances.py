from __future__ import annotations

from datetime import date, timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.core.db import NotInTransaction
from apps.plans.selectors import get_entitlements
from apps.quotas.allowances import (
    TakenFrom,
    end_allowances,
    release_allowance,
    settle_allowance,
    take_daily_free,
    take_plan_allowance,
)
from apps.quotas.errors import ReservationMissing
from apps.quotas.models import Allowance
from apps.quotas.selectors import get_month
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import give_plan, make_account

MONTH, DAY = date(2026, 3, 1), date(2026, 3, 2)


def _take_plan(cast: Cast, clock: FrozenClock) -> date | None:
    entitlements = get_entitlements(cast.account)
    return take_plan_allowance(account=cast.account, entitlements=entitlements, calls=1, now=clock.now())


def _take_free(cast: Cast, clock: FrozenClock) -> date | None:
    entitlements = get_entitlements(cast.account)
    return take_daily_free(account=cast.account, entitlements=entitlements, calls=1, now=clock.now())


def test_included_calls_are_of_the_month_and_free_ones_of_the_day(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, included_calls_per_month=1, free_calls_per_day=1)
    assert [_take_plan(cast, clock), _take_plan(cast, clock)] == [MONTH, None]
    assert [_take_free(cast, clock), _take_free(cast, clock)] == [DAY, None]
    clock.advance(days=1)
    assert (_take_plan(cast, clock), _take_free(cast, clock)) == (None, DAY + timedelta(days=1))
    clock.advance(days=30)
    assert _take_plan(cast, clock) == date(2026, 4, 1)


def test_none_is_none(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, included_calls_per_month=0)
    assert (_take_plan(cast, clock), _take_free(cast, clock)) == (None, None)
    assert not Allowance.objects.exists()


def test_what_is_not_limited_is_not_counted(cast: Cast, clock: FrozenClock) -> None:
    entitlements = get_entitlements(cast.account)
    with CaptureQueriesContext(connection) as queries:
        period = take_plan_allowance(
            account=cast.account, entitlements=entitlements, calls=1, now=clock.now()
        )
    assert (period, len(queries)) == (MONTH, 0)
    settle_allowance(account_id=cast.account.pk, source="plan", period=MONTH, calls=1)


def test_a_released_call_can_be_taken_again_and_a_settled_one_cannot(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, included_calls_per_month=1)
    _take_plan(cast, clock)
    release_allowance(account_id=cast.account.pk, source="plan", period=MONTH, calls=1)
    assert _take_plan(cast, clock) == MONTH
    settle_allowance(account_id=cast.account.pk, source="plan", period=MONTH, calls=1)
    assert _take_plan(cast, clock) is None
    month = get_month(account=cast.account, entitlements=get_entitlements(cast.account), now=clock.now())
    assert (month.included.used, month.included.remaining) == (1, 0)
    for end in (settle_allowance, release_allowance):
        with pytest.raises(ReservationMissing):
            end(account_id=cast.account.pk, source="plan", period=MONTH, calls=1)


def test_several_end_in_one_statement_and_those_that_hold_too_little_are_named(
    cast: Cast, clock: FrozenClock
) -> None:
    give_plan(cast.account, included_calls_per_month=3, free_calls_per_day=1)
    for _ in range(3):
        assert _take_plan(cast, clock) == MONTH
    entitlements = get_entitlements(cast.account)
    day = take_daily_free(account=cast.account, entitlements=entitlements, calls=1, now=clock.now())
    assert day is not None
    included = TakenFrom(cast.account.pk, "plan", MONTH)
    free = TakenFrom(cast.account.pk, "daily_free", day)
    unknown = TakenFrom(cast.account.pk, "plan", day.replace(year=2001))

    with CaptureQueriesContext(connection) as queries:
        missing = end_allowances({included: 2, free: 2, unknown: 1}, is_settled=True)

    assert (missing, len(queries)) == ({free}, 1)
    assert set(Allowance.objects.values_list("source", "reserved", "settled")) == {
        ("plan", 1, 2),
        ("daily_free", 1, 0),
    }
    assert end_allowances({included: 1, free: 1}, is_settled=False) == set()
    assert set(Allowance.objects.values_list("source", "reserved", "settled")) == {
        ("plan", 0, 2),
        ("daily_free", 0, 0),
    }


@pytest.mark.django_db(transaction=True)
def test_parts_need_a_transaction(clock: FrozenClock) -> None:
    account = make_account()
    with pytest.raises(NotInTransaction):
        settle_allowance(account_id=account.pk, source="plan", period=MONTH, calls=1)
