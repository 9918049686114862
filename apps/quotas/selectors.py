"""Reads of the daily quota."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from apps.accounts.models import Account
from apps.core.clock import day_end, quota_day
from apps.plans.entitlements import UNLIMITED, Entitlements, Limit, Unlimited
from apps.quotas.models import DailyUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Today's calls of one account."""

    used: int
    """Calls whose job succeeded."""
    reserved: int
    """Calls whose job is still open."""
    limit: Limit
    remaining: Limit
    """Calls still accepted today; never negative, even after the limit was lowered."""
    resets_at: datetime


def get_usage(*, account: Account, entitlements: Entitlements, now: datetime) -> Usage:
    """How much of today's quota is gone; one query."""
    day = quota_day(now, zone=account.time_zone)
    row = DailyUsage.objects.filter(account=account, day=day).first()
    used, reserved = (row.settled, row.reserved) if row else (0, 0)
    limit = entitlements.calls_per_day
    remaining = UNLIMITED if isinstance(limit, Unlimited) else max(0, limit - used - reserved)
    return Usage(
        used=used,
        reserved=reserved,
        limit=limit,
        remaining=remaining,
        resets_at=day_end(day, zone=account.time_zone),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class DayUsage:
    """One day of the account's time zone."""

    day: date
    calls: int
    """Whose job succeeded."""


def list_days(*, account: Account, now: datetime, count: int) -> list[DayUsage]:
    """The last `count` days, today first; days without calls are there, too. One query."""
    today = quota_day(now, zone=account.time_zone)
    days = [today - timedelta(days=back) for back in range(count)]
    rows = DailyUsage.objects.filter(account=account, day__gte=days[-1]).values_list("day", "settled")
    settled = dict(rows)
    return [DayUsage(day=day, calls=settled.get(day, 0)) for day in days]
