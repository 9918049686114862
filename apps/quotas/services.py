"""Reserving, settling and releasing calls. The unit is the accepted call, however many images it asks for."""

from __future__ import annotations

from datetime import date, datetime

from django.db.models import F

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.core.clock import day_end, quota_day
from apps.core.db import require_transaction
from apps.plans.entitlements import Limit, Unlimited
from apps.quotas.errors import DailyQuotaExhausted, ReservationMissing
from apps.quotas.models import DailyKeyUsage, DailyUsage


def reserve_calls(
    *, account: Account, count: int, limit: Limit, now: datetime, api_key: ApiKey | None = None
) -> date:
    """Take `count` calls of today's quota and, if the key has a cap of its own, of that; a part.

    Returns the day they belong to, whenever their job ends: hand it to `settle_calls` or `release_calls`.
    Raises DailyQuotaExhausted, and then the caller's transaction must be rolled back.
    """
    require_transaction()
    day = quota_day(now, zone=account.time_zone)
    if not _take_for_account(account=account, day=day, count=count, limit=limit):
        assert not isinstance(limit, Unlimited)  # only a number can be used up
        raise _exhausted(account, day=day, limit=limit, now=now)
    if api_key is not None and not _take_for_key(api_key=api_key, day=day, count=count):
        raise _exhausted(account, day=day, limit=api_key.daily_cap or 0, now=now)
    return day


def _exhausted(account: Account, *, day: date, limit: int, now: datetime) -> DailyQuotaExhausted:
    return DailyQuotaExhausted(limit=limit, resets_at=day_end(day, zone=account.time_zone), now=now)


def _take_for_account(*, account: Account, day: date, count: int, limit: Limit) -> bool:
    open_days = DailyUsage.objects.filter(account=account, day=day)
    if not isinstance(limit, Unlimited):
        # The limit stands in the WHERE clause: the database lets one of two through to the last call.
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


def settle_calls(*, account_id: int, day: date, count: int) -> None:
    """Turn reserved calls into used ones: their job succeeded; a part. Raises ReservationMissing."""
    require_transaction()
    held = DailyUsage.objects.filter(account_id=account_id, day=day, reserved__gte=count)
    if held.update(reserved=F("reserved") - count, settled=F("settled") + count) != 1:
        raise ReservationMissing(f"account {account_id} has not reserved {count} calls on {day}")


def release_calls(*, account_id: int, day: date, count: int, api_key_id: int | None = None) -> None:
    """Give reserved calls back: their job failed or was canceled; a part. Raises ReservationMissing."""
    require_transaction()
    held = DailyUsage.objects.filter(account_id=account_id, day=day, reserved__gte=count)
    if held.update(reserved=F("reserved") - count) != 1:
        raise ReservationMissing(f"account {account_id} has not reserved {count} calls on {day}")
    if api_key_id is not None:
        # A cap may have been set after the reservation, so that a missing row is no fault.
        capped = DailyKeyUsage.objects.filter(api_key_id=api_key_id, day=day, calls__gte=count)
        capped.update(calls=F("calls") - count)
