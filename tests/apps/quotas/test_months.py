from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.plans.entitlements import UNLIMITED, Limit
from apps.plans.selectors import get_entitlements
from apps.quotas.errors import MonthlyQuotaExhausted
from apps.quotas.models import DailyUsage, MonthlyKeyUsage, MonthlyUsage
from apps.quotas.months import present_weight, reconcile_months
from apps.quotas.periods import last_day, month_end
from apps.quotas.selectors import get_key_caps, get_month
from apps.quotas.services import release_calls, reserve_calls, settle_calls
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import give_plan, make_account, make_key


def _reserve(
    account: Account,
    clock: FrozenClock,
    *,
    limit: Limit = 3,
    key: ApiKey | None = None,
    is_counted: bool = False,
) -> date:
    with transaction.atomic():
        return reserve_calls(
            account=account,
            count=1,
            limit=UNLIMITED,
            now=clock.now(),
            api_key=key,
            month_limit=limit,
            is_month_counted=is_counted,
        )


def test_the_month_ends_when_its_calls_are_used_up(cast: Cast, clock: FrozenClock) -> None:
    for _ in range(3):
        _reserve(cast.account, clock)
        clock.advance(days=1)
    with pytest.raises(MonthlyQuotaExhausted) as refusal:
        _reserve(cast.account, clock)
    assert (refusal.value.code, refusal.value.http_status) == ("monthly_quota_exhausted", 429)
    assert refusal.value.resets_at == datetime(2026, 4, 1, tzinfo=UTC)
    assert refusal.value.retry_after_s == (26 * 24 + 12) * 3600
    # The refused call took nothing of its day either.
    assert not DailyUsage.objects.filter(day=clock.now().date()).exists()
    clock.move_to(datetime(2026, 4, 1, tzinfo=UTC))
    _reserve(cast.account, clock)


def test_a_month_ends_at_the_accounts_own_midnight(db: None, clock: FrozenClock) -> None:
    account = make_account(time_zone="America/Los_Angeles")
    midnight = datetime(2026, 4, 1, 7, 0, tzinfo=UTC)
    clock.move_to(midnight)
    clock.advance(seconds=-1)
    _reserve(account, clock, limit=1)
    with pytest.raises(MonthlyQuotaExhausted) as refusal:
        _reserve(account, clock, limit=1)
    assert (refusal.value.resets_at, refusal.value.retry_after_s) == (midnight, 1)
    clock.advance(seconds=1)
    _reserve(account, clock, limit=1)


def test_a_released_call_can_be_used_again_and_a_settled_one_cannot(cast: Cast, clock: FrozenClock) -> None:
    day = _reserve(cast.account, clock, limit=1)
    release_calls(account_id=cast.account.pk, day=day, count=1)
    day = _reserve(cast.account, clock, limit=1)
    settle_calls(account_id=cast.account.pk, day=day, count=1)
    with pytest.raises(MonthlyQuotaExhausted):
        _reserve(cast.account, clock, limit=1)


def test_a_limit_that_begins_in_mid_month_knows_the_days_before(cast: Cast, clock: FrozenClock) -> None:
    for _ in range(2):
        _reserve(cast.account, clock, limit=UNLIMITED)
    assert not MonthlyUsage.objects.exists()
    clock.advance(days=3)
    _reserve(cast.account, clock, limit=3)
    with pytest.raises(MonthlyQuotaExhausted):
        _reserve(cast.account, clock, limit=3)


def test_calls_that_nobody_counted_are_found_again(cast: Cast, clock: FrozenClock) -> None:
    """A plan with a limit was left and taken again."""
    _reserve(cast.account, clock)
    _reserve(cast.account, clock, limit=UNLIMITED)
    assert reconcile_months(now=clock.now()) == 1
    assert reconcile_months(now=clock.now()) == 0
    assert MonthlyUsage.objects.get().calls == 2


def test_a_keys_month_ends_before_the_accounts(cast: Cast, clock: FrozenClock) -> None:
    key = make_key(cast.account, monthly_cap=1, daily_cap=5).key
    day = _reserve(cast.account, clock, limit=9, key=key)
    with pytest.raises(MonthlyQuotaExhausted, match="limit of 1 calls"):
        _reserve(cast.account, clock, limit=9, key=key)
    assert MonthlyUsage.objects.get().calls == 1
    caps = get_key_caps(account=cast.account, keys=[key, cast.key], now=clock.now())
    month, of_day, other = caps[key.pk].month, caps[key.pk].day, caps[cast.key.pk]
    assert month is not None and of_day is not None
    assert (month.used, month.remaining, of_day.used, of_day.remaining) == (1, 0, 1, 4)
    assert (other.day, other.month) == (None, None)
    release_calls(account_id=cast.account.pk, day=day, count=1, api_key_id=key.pk)
    assert MonthlyKeyUsage.objects.get().calls == 0
    _reserve(cast.account, clock, limit=9, key=key)


def test_beyond_fair_use_the_weight_falls_and_nothing_is_refused(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, weight=4, fair_use_calls_per_month=2)
    entitlements = get_entitlements(cast.account)
    weights = []
    for _ in range(4):
        _reserve(cast.account, clock, limit=UNLIMITED, is_counted=True)
        weights.append(present_weight(account=cast.account, entitlements=entitlements, now=clock.now()))
    assert weights == [4.0, 4.0, 1.0, 1.0]
    month = get_month(account=cast.account, entitlements=entitlements, now=clock.now())
    assert (month.is_beyond_fair_use, month.weight, month.full_weight) == (True, 1.0, 4.0)
    clock.advance(days=31)
    assert present_weight(account=cast.account, entitlements=entitlements, now=clock.now()) == 4.0


def test_plans_without_a_month_cost_no_statement_for_it(cast: Cast, clock: FrozenClock) -> None:
    _reserve(cast.account, clock, limit=UNLIMITED)
    entitlements = get_entitlements(cast.account)
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        reserve_calls(account=cast.account, count=1, limit=UNLIMITED, now=clock.now(), api_key=cast.key)
        present_weight(account=cast.account, entitlements=entitlements, now=clock.now())
    assert len(queries) == 1


def test_the_month_says_used_remaining_and_when_it_begins_anew(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, calls_per_month=10)
    _reserve(cast.account, clock)
    entitlements = get_entitlements(cast.account)
    with CaptureQueriesContext(connection) as queries:
        month = get_month(account=cast.account, entitlements=entitlements, now=clock.now())
    assert len(queries) == 2
    assert (month.calls.limit, month.calls.used, month.calls.remaining) == (10, 1, 9)
    assert month.calls.resets_at == datetime(2026, 4, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("month", "last"), [((2026, 2), 28), ((2028, 2), 29), ((2026, 4), 30), ((2026, 12), 31)]
)
def test_months_have_their_lengths(month: tuple[int, int], last: int) -> None:
    first = date(*month, 1)
    assert last_day(first) == first.replace(day=last)
    assert month_end(first, zone="UTC") == datetime(
        month[0] + month[1] // 12, month[1] % 12 + 1, 1, tzinfo=UTC
    )
