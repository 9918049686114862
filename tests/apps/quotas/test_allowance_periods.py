"""Included calls are given for each month of the subscription, and all who speak of them name its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from apps.accounts.models import Account
from apps.audit.refs import SYSTEM
from apps.plans.entitlements import Entitlements
from apps.plans.models import Plan
from apps.plans.renewing import end_periods
from apps.plans.selectors import get_entitlements
from apps.plans.subscriptions import change_plan, start_subscription, start_trial
from apps.quotas.allowances import settle_allowance, take_plan_allowance
from apps.quotas.periods import allowance_period
from apps.quotas.selectors import get_month
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_plan

ANY = Entitlements(
    plan_code="any", calls_per_day=1, queue_depth=1, max_samples=1, kinds=frozenset(), weight=1.0
)


def moment(month: int, day: int, hour: int = 12, *, year: int = 2026) -> datetime:
    return datetime(year, month, day, hour, tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "now", "key", "ends_at"),
    [
        pytest.param(
            moment(3, 17), moment(4, 17), moment(4, 16), date(2026, 3, 17), moment(4, 17), id="a month"
        ),
        pytest.param(
            moment(2, 28), moment(3, 31), moment(3, 30), date(2026, 2, 28), moment(3, 31), id="of the 31st"
        ),
        pytest.param(
            moment(3, 17), moment(3, 24), moment(3, 20), date(2026, 3, 17), moment(3, 24), id="a trial"
        ),
        pytest.param(
            moment(3, 17),
            moment(4, 17),
            moment(4, 17),
            date(2026, 4, 17),
            moment(5, 17),
            id="not renewed yet",
        ),
        pytest.param(
            moment(1, 10),
            moment(1, 10, year=2027),
            moment(3, 9),
            date(2026, 2, 10),
            moment(3, 10),
            id="a year",
        ),
        pytest.param(
            moment(1, 10), moment(3, 1), moment(2, 20), date(2026, 2, 10), moment(3, 1), id="its last weeks"
        ),
        pytest.param(
            moment(3, 17), moment(4, 17), moment(3, 16), date(2026, 3, 17), moment(4, 17), id="begins soon"
        ),
    ],
)
def test_the_month_of_a_subscription(
    start: datetime, end: datetime, now: datetime, key: date, ends_at: datetime
) -> None:
    entitlements = replace(ANY, period_start=start, period_end=end)
    for zone in ("UTC", "Pacific/Auckland", "America/Los_Angeles"):
        found = allowance_period(entitlements, zone=zone, now=now)
        assert (found.key, found.ends_at) == (key, ends_at)


def test_without_a_subscription_it_is_the_calendar_month_of_the_account() -> None:
    found = allowance_period(ANY, zone="Pacific/Auckland", now=moment(3, 31, 13))
    assert (found.key, found.ends_at) == (date(2026, 4, 1), moment(4, 30, 12))


def _plan(code: str, included: int, price_micro: int, trial_days: int = 0) -> Plan:
    make_plan(code, is_default=False, included_calls_per_month=included)
    Plan.objects.filter(code=code).update(price_micro=price_micro, trial_days=trial_days)
    return Plan.objects.get(code=code)


def _use(account: Account, clock: FrozenClock) -> date | None:
    entitlements = get_entitlements(account, now=clock.now())
    period = take_plan_allowance(account=account, entitlements=entitlements, calls=1, now=clock.now())
    if period is not None:
        settle_allowance(account_id=account.pk, source="plan", period=period, calls=1)
    return period


def _left(account: Account, clock: FrozenClock) -> tuple[object, datetime]:
    entitlements = get_entitlements(account, now=clock.now())
    found = get_month(account=account, entitlements=entitlements, now=clock.now()).included
    return found.remaining, found.resets_at


def test_included_calls_come_anew_on_the_day_of_the_subscription(cast: Cast, clock: FrozenClock) -> None:
    clock.move_to(moment(3, 17))
    start_subscription(account=cast.account, plan=_plan("small", 1, 10), actor=SYSTEM, now=clock.now())
    assert [_use(cast.account, clock), _use(cast.account, clock)] == [date(2026, 3, 17), None]
    clock.move_to(moment(4, 1))
    assert _use(cast.account, clock) is None
    assert _left(cast.account, clock) == (0, moment(4, 17))
    # Whether the task has noticed the renewal makes no difference.
    clock.move_to(moment(4, 17))
    assert _use(cast.account, clock) == date(2026, 4, 17)
    end_periods(clock.now())
    assert _use(cast.account, clock) is None
    assert _left(cast.account, clock) == (0, moment(5, 17))


def test_an_upgrade_gives_the_new_plans_calls_less_those_used_in_the_period(
    cast: Cast, clock: FrozenClock
) -> None:
    small, large = _plan("small", 1, 10), _plan("large", 3, 1_000_000)
    row = start_subscription(account=cast.account, plan=small, actor=SYSTEM, now=clock.now())
    _use(cast.account, clock)
    clock.advance(days=10)
    change_plan(subscription=row, plan=large, seen_revision=1, actor=SYSTEM, now=clock.now())
    assert _left(cast.account, clock) == (2, row.period_end)


def test_a_trial_that_is_upgraded_begins_a_period_of_its_own(cast: Cast, clock: FrozenClock) -> None:
    small, large = _plan("small", 1, 10, trial_days=7), _plan("large", 3, 1_000_000)
    row = start_trial(account=cast.account, plan=small, actor=SYSTEM, now=clock.now())
    _use(cast.account, clock)
    assert _left(cast.account, clock) == (0, clock.now() + timedelta(days=7))
    clock.advance(days=3)
    change_plan(subscription=row, plan=large, seen_revision=1, actor=SYSTEM, now=clock.now())
    assert _left(cast.account, clock) == (
        3,
        moment(4, 5, clock.now().hour).replace(
            minute=clock.now().minute, second=clock.now().second, microsecond=clock.now().microsecond
        ),
    )
