"""Reserving, settling and releasing calls. The unit is the accepted call, however many images it asks for.

Every limit stands in the WHERE clause of the statement that counts: the database lets one of two through to
the last call. Rows are taken in one order: the account's day, its month, the key's day, the key's month.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime
from typing import Final, NamedTuple

from django.db import connection
from django.db.models import F
from django.db.models.functions import Greatest

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.core.clock import day_end, quota_day
from apps.core.db import require_transaction
from apps.plans.entitlements import UNLIMITED, Limit, Unlimited
from apps.quotas.errors import DailyQuotaExhausted, MonthlyQuotaExhausted, ReservationMissing
from apps.quotas.models import DailyKeyUsage, DailyUsage, MonthlyKeyUsage, MonthlyUsage
from apps.quotas.months import take_of_month
from apps.quotas.periods import month_end, month_of

# Locked in the order of accounts and days first, so that workers never wait for each other in a circle.
SETTLE_SQL: Final = """
WITH used AS (
    SELECT * FROM unnest(%(accounts)s::bigint[], %(days)s::date[], %(calls)s::bigint[])
               AS used (account_id, day, calls)
), held AS MATERIALIZED (
    SELECT usage.id, used.calls FROM quotas_dailyusage AS usage JOIN used USING (account_id, day)
     ORDER BY usage.account_id, usage.day FOR NO KEY UPDATE OF usage
)
UPDATE quotas_dailyusage AS usage
   SET reserved = usage.reserved - held.calls, settled = usage.settled + held.calls
  FROM held WHERE usage.id = held.id AND usage.reserved >= held.calls
RETURNING usage.account_id, usage.day
"""


class TakenBy(NamedTuple):
    """Whom calls were reserved for: the account on its day, and the key that asked, if one did."""

    account_id: int
    day: date
    api_key_id: int | None = None


def reserve_calls(
    *,
    account: Account,
    count: int,
    limit: Limit,
    now: datetime,
    api_key: ApiKey | None = None,
    month_limit: Limit = UNLIMITED,
    is_month_counted: bool = False,
) -> date:
    """Take `count` calls of today's quota, of the month's, and of the key's own caps if it has any; a part.

    `is_month_counted` counts the month although nothing limits it. Returns the day they belong to, whenever
    their job ends: hand it to `settle_calls` or `release_calls`.
    Raises DailyQuotaExhausted or MonthlyQuotaExhausted; then the caller's transaction must be rolled back.
    """
    require_transaction()
    day = quota_day(now, zone=account.time_zone)
    if not _take_for_account(account=account, day=day, count=count, limit=limit):
        assert not isinstance(limit, Unlimited)  # only a number can be used up
        raise _exhausted(account, day=day, limit=limit, now=now)
    is_limited = not isinstance(month_limit, Unlimited)
    if (is_limited or is_month_counted) and not take_of_month(
        account=account, day=day, count=count, limit=month_limit
    ):
        assert not isinstance(month_limit, Unlimited)
        raise _month_exhausted(account, day=day, limit=month_limit, now=now)
    if api_key is not None:
        _reserve_for_key(account, api_key, day=day, count=count, now=now)
    return day


def _reserve_for_key(account: Account, api_key: ApiKey, *, day: date, count: int, now: datetime) -> None:
    if not _take_for_key(api_key=api_key, day=day, count=count):
        raise _exhausted(account, day=day, limit=api_key.daily_cap or 0, now=now)
    if not _take_of_keys_month(api_key=api_key, month=month_of(day), count=count):
        raise _month_exhausted(account, day=day, limit=api_key.monthly_cap or 0, now=now)


def _exhausted(account: Account, *, day: date, limit: int, now: datetime) -> DailyQuotaExhausted:
    return DailyQuotaExhausted(limit=limit, resets_at=day_end(day, zone=account.time_zone), now=now)


def _month_exhausted(account: Account, *, day: date, limit: int, now: datetime) -> MonthlyQuotaExhausted:
    resets_at = month_end(month_of(day), zone=account.time_zone)
    return MonthlyQuotaExhausted(limit=limit, resets_at=resets_at, now=now)


def _take_for_account(*, account: Account, day: date, count: int, limit: Limit) -> bool:
    open_days = DailyUsage.objects.filter(account=account, day=day)
    if not isinstance(limit, Unlimited):
        open_days = open_days.filter(reserved__lte=limit - count - F("settled"))
    if open_days.update(reserved=F("reserved") + count):
        return True
    # Only the first call of a day, and calls beyond the limit, come here: the usual call is one statement.
    DailyUsage.objects.bulk_create([DailyUsage(account=account, day=day)], ignore_conflicts=True)
    return open_days.update(reserved=F("reserved") + count) == 1


def _take_for_key(*, api_key: ApiKey, day: date, count: int) -> bool:
    if api_key.daily_cap is None:
        return True
    open_days = DailyKeyUsage.objects.filter(api_key=api_key, day=day, calls__lte=api_key.daily_cap - count)
    if open_days.update(calls=F("calls") + count):
        return True
    DailyKeyUsage.objects.bulk_create([DailyKeyUsage(api_key=api_key, day=day)], ignore_conflicts=True)
    return open_days.update(calls=F("calls") + count) == 1


def _take_of_keys_month(*, api_key: ApiKey, month: date, count: int) -> bool:
    """A cap that was set in mid-month counts from then on."""
    if api_key.monthly_cap is None:
        return True
    rows = MonthlyKeyUsage.objects.filter(
        api_key=api_key, month=month, calls__lte=api_key.monthly_cap - count
    )
    if rows.update(calls=F("calls") + count):
        return True
    MonthlyKeyUsage.objects.bulk_create(
        [MonthlyKeyUsage(api_key=api_key, month=month)], ignore_conflicts=True
    )
    return rows.update(calls=F("calls") + count) == 1


def settle_calls(*, account_id: int, day: date, count: int) -> None:
    """Turn reserved calls into used ones: their job succeeded; a part. Raises ReservationMissing."""
    if settle_calls_together({(account_id, day): count}):
        raise ReservationMissing(f"account {account_id} has not reserved {count} calls on {day}")


def settle_calls_together(used: Mapping[tuple[int, date], int]) -> set[tuple[int, date]]:
    """`settle_calls` of several accounts and days, by which `used` names its calls; one statement.

    Returns those that had not reserved as many, of which nothing is written.
    """
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(
            SETTLE_SQL,
            {
                "accounts": [account_id for account_id, _ in used],
                "days": [day for _, day in used],
                "calls": list(used.values()),
            },
        )
        return used.keys() - {(account_id, day) for account_id, day in cursor.fetchall()}


def release_calls(*, account_id: int, day: date, count: int, api_key_id: int | None = None) -> None:
    """Give reserved calls back: their job failed or was canceled; a part. Raises ReservationMissing."""
    if release_calls_together({TakenBy(account_id, day, api_key_id): count}):
        raise ReservationMissing(f"account {account_id} has not reserved {count} calls on {day}")


def release_calls_together(taken: Mapping[TakenBy, int]) -> set[tuple[int, date]]:
    """`release_calls` of several jobs, each counter of them all before the next, as submits take them.

    Returns the accounts and days that had not reserved as many, of which nothing is written.
    """
    require_transaction()
    days: Counter[tuple[int, date]] = Counter()
    for by, count in taken.items():
        days[by.account_id, by.day] += count
    missing = {key for key, count in sorted(days.items()) if not _release_day(*key, count)}
    months: Counter[tuple[int, date]] = Counter()
    key_days: Counter[tuple[int, date]] = Counter()
    key_months: Counter[tuple[int, date]] = Counter()
    for by, count in taken.items():
        if (by.account_id, by.day) in missing:
            continue
        months[by.account_id, month_of(by.day)] += count
        if by.api_key_id is not None:
            key_days[by.api_key_id, by.day] += count
            key_months[by.api_key_id, month_of(by.day)] += count
    # These may have been limited after the reservation, so that a missing row or call is no fault.
    for (account_id, month), count in sorted(months.items()):
        MonthlyUsage.objects.filter(account_id=account_id, month=month).update(calls=_less(count))
    for (api_key_id, day), count in sorted(key_days.items()):
        DailyKeyUsage.objects.filter(api_key_id=api_key_id, day=day).update(calls=_less(count))
    for (api_key_id, month), count in sorted(key_months.items()):
        MonthlyKeyUsage.objects.filter(api_key_id=api_key_id, month=month).update(calls=_less(count))
    return missing


def _release_day(account_id: int, day: date, count: int) -> bool:
    held = DailyUsage.objects.filter(account_id=account_id, day=day, reserved__gte=count)
    return held.update(reserved=F("reserved") - count) == 1


def _less(count: int) -> Greatest:
    return Greatest(F("calls") - count, 0)
