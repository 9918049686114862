from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.core.db import NotInTransaction
from apps.plans.entitlements import UNLIMITED, Limit
from apps.plans.selectors import get_entitlements
from apps.quotas.errors import DailyQuotaExhausted, ReservationMissing
from apps.quotas.models import DailyKeyUsage, DailyUsage
from apps.quotas.selectors import Usage, get_usage
from apps.quotas.services import release_calls, reserve_calls, settle_calls
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import give_plan, make_account, make_key

DAY = date(2026, 3, 2)


def _reserve(
    account: Account, clock: FrozenClock, *, limit: Limit = 3, count: int = 1, key: ApiKey | None = None
) -> date:
    with transaction.atomic():
        return reserve_calls(account=account, count=count, limit=limit, now=clock.now(), api_key=key)


def _row(account: Account, day: date = DAY) -> tuple[int, int]:
    row = DailyUsage.objects.get(account=account, day=day)
    return row.reserved, row.settled


def test_a_call_is_reserved_then_settled(cast: Cast, clock: FrozenClock) -> None:
    assert _reserve(cast.account, clock) == DAY
    assert _row(cast.account) == (1, 0)
    settle_calls(account_id=cast.account.pk, day=DAY, count=1)
    assert _row(cast.account) == (0, 1)


def test_a_released_call_can_be_used_again(cast: Cast, clock: FrozenClock) -> None:
    _reserve(cast.account, clock, limit=1)
    release_calls(account_id=cast.account.pk, day=DAY, count=1)
    assert _row(cast.account) == (0, 0)
    _reserve(cast.account, clock, limit=1)
    assert _row(cast.account) == (1, 0)


def test_reserved_and_settled_calls_both_count(cast: Cast, clock: FrozenClock) -> None:
    for _ in range(3):
        _reserve(cast.account, clock)
    settle_calls(account_id=cast.account.pk, day=DAY, count=2)
    with pytest.raises(DailyQuotaExhausted) as refusal:
        _reserve(cast.account, clock)
    assert _row(cast.account) == (1, 2)
    assert (refusal.value.http_status, refusal.value.code) == (429, "daily_quota_exhausted")
    assert refusal.value.retry_after_s == 12 * 3600
    assert str(refusal.value) == "The daily limit of 3 calls is used up; it resets at 2026-03-03T00:00:00Z."


@pytest.mark.parametrize(("limit", "count", "is_accepted"), [(3, 3, True), (3, 4, False), (0, 1, False)])
def test_the_first_call_of_a_day_meets_the_limit_too(
    cast: Cast, clock: FrozenClock, limit: int, count: int, is_accepted: bool
) -> None:
    if is_accepted:
        _reserve(cast.account, clock, limit=limit, count=count)
        assert _row(cast.account) == (count, 0)
    else:
        with pytest.raises(DailyQuotaExhausted):
            _reserve(cast.account, clock, limit=limit, count=count)
        # The row made on the way is rolled back with everything else.
        assert DailyUsage.objects.count() == 0


def test_unlimited_never_ends(cast: Cast, clock: FrozenClock) -> None:
    _reserve(cast.account, clock, limit=UNLIMITED, count=2**40)
    _reserve(cast.account, clock, limit=UNLIMITED)
    assert _row(cast.account) == (2**40 + 1, 0)


def test_the_usual_call_is_one_statement(cast: Cast, clock: FrozenClock) -> None:
    _reserve(cast.account, clock)
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        reserve_calls(account=cast.account, count=1, limit=3, now=clock.now(), api_key=cast.key)
    assert len(queries) == 1


def test_a_strangers_calls_do_not_count(cast: Cast, clock: FrozenClock) -> None:
    _reserve(cast.strangers_account, clock, limit=1)
    _reserve(cast.account, clock, limit=1)
    assert (_row(cast.account), _row(cast.strangers_account)) == ((1, 0), (1, 0))


@pytest.mark.parametrize(
    ("zone", "midnight"),
    [
        ("UTC", datetime(2026, 3, 3, 0, 0, tzinfo=UTC)),
        ("Asia/Kolkata", datetime(2026, 3, 2, 18, 30, tzinfo=UTC)),
        ("America/Los_Angeles", datetime(2026, 3, 3, 8, 0, tzinfo=UTC)),
        # The day is an hour short on which summer time starts: 29 March 2026 in Berlin.
        ("Europe/Berlin", datetime(2026, 3, 29, 22, 0, tzinfo=UTC)),
    ],
)
def test_one_second_either_side_of_midnight(
    db: None, clock: FrozenClock, zone: str, midnight: datetime
) -> None:
    account = make_account(time_zone=zone)
    clock.move_to(midnight)
    before = clock.advance(seconds=-1)
    old_day = _reserve(account, clock, limit=1)
    with pytest.raises(DailyQuotaExhausted) as refusal:
        _reserve(account, clock, limit=1)
    assert (refusal.value.resets_at, refusal.value.retry_after_s) == (midnight, 1)
    assert clock.now() == before
    clock.advance(seconds=1)
    new_day = _reserve(account, clock, limit=1)
    assert (new_day - old_day).days == 1
    assert (_row(account, old_day), _row(account, new_day)) == ((1, 0), (1, 0))


def test_a_reservation_belongs_to_the_day_of_its_call(cast: Cast, clock: FrozenClock) -> None:
    day = _reserve(cast.account, clock)
    clock.advance(days=1)
    settle_calls(account_id=cast.account.pk, day=day, count=1)
    assert _row(cast.account, DAY) == (0, 1)
    assert DailyUsage.objects.count() == 1


@pytest.mark.parametrize("act", [settle_calls, release_calls])
def test_nothing_can_be_ended_that_is_not_reserved(cast: Cast, clock: FrozenClock, act: object) -> None:
    assert callable(act)
    with pytest.raises(ReservationMissing):
        act(account_id=cast.account.pk, day=DAY, count=1)
    _reserve(cast.account, clock)
    act(account_id=cast.account.pk, day=DAY, count=1)
    after = _row(cast.account)
    with pytest.raises(ReservationMissing):
        act(account_id=cast.account.pk, day=DAY, count=1)
    assert _row(cast.account) == after


@pytest.mark.parametrize("column", ["reserved", "settled"])
def test_the_database_refuses_negative_counts(cast: Cast, clock: FrozenClock, column: str) -> None:
    _reserve(cast.account, clock)
    with pytest.raises(IntegrityError), transaction.atomic():
        DailyUsage.objects.update(**{column: -1})


@pytest.mark.django_db(transaction=True)
def test_parts_need_a_transaction(clock: FrozenClock) -> None:
    account = make_account()
    with pytest.raises(NotInTransaction):
        reserve_calls(account=account, count=1, limit=1, now=clock.now())
    for part in (settle_calls, release_calls):
        with pytest.raises(NotInTransaction):
            part(account_id=account.pk, day=DAY, count=1)
    assert DailyUsage.objects.count() == 0


def test_a_keys_own_cap_ends_it_before_the_plan_does(cast: Cast, clock: FrozenClock) -> None:
    key = make_key(cast.account, daily_cap=1).key
    _reserve(cast.account, clock, limit=100, key=key)
    with pytest.raises(DailyQuotaExhausted, match="limit of 1 calls"):
        _reserve(cast.account, clock, limit=100, key=key)
    # The refused call took nothing from the account either, and other keys go on.
    assert _row(cast.account) == (1, 0)
    _reserve(cast.account, clock, limit=100, key=cast.key)
    assert _row(cast.account) == (2, 0)


def test_a_released_call_gives_the_key_its_cap_back(cast: Cast, clock: FrozenClock) -> None:
    key = make_key(cast.account, daily_cap=1).key
    _reserve(cast.account, clock, key=key)
    release_calls(account_id=cast.account.pk, day=DAY, count=1, api_key_id=key.pk)
    assert DailyKeyUsage.objects.get(api_key=key).calls == 0
    _reserve(cast.account, clock, key=key)
    assert DailyKeyUsage.objects.get(api_key=key).calls == 1


def test_usage_tells_used_reserved_and_remaining(cast: Cast, clock: FrozenClock) -> None:
    for _ in range(3):
        _reserve(cast.account, clock, limit=100)
    settle_calls(account_id=cast.account.pk, day=DAY, count=1)
    entitlements = get_entitlements(cast.account)
    usage = get_usage(account=cast.account, entitlements=entitlements, now=clock.now())
    assert usage == Usage(
        used=1, reserved=2, limit=100, remaining=97, resets_at=datetime(2026, 3, 3, tzinfo=UTC)
    )


def test_usage_without_any_call_and_with_a_lowered_limit(cast: Cast, clock: FrozenClock) -> None:
    usage = get_usage(account=cast.account, entitlements=get_entitlements(cast.account), now=clock.now())
    assert (usage.used, usage.reserved, usage.remaining) == (0, 0, 100)
    _reserve(cast.account, clock, limit=100, count=5)
    give_plan(cast.account, calls_per_day=2)
    usage = get_usage(account=cast.account, entitlements=get_entitlements(cast.account), now=clock.now())
    assert (usage.limit, usage.remaining) == (2, 0)


def test_unlimited_remains_unlimited(cast: Cast, clock: FrozenClock) -> None:
    give_plan(cast.account, calls_per_day="unlimited")
    usage = get_usage(account=cast.account, entitlements=get_entitlements(cast.account), now=clock.now())
    assert (usage.limit, usage.remaining) == (UNLIMITED, UNLIMITED)
