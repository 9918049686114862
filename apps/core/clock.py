"""The current time, and which day a moment belongs to. The one thing tests freeze."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from django.utils import timezone


def now() -> datetime:
    """The current moment, aware, in UTC."""
    return timezone.now()


def quota_day(moment: datetime, *, zone: str) -> date:
    """The calendar day of `moment` in the IANA zone `zone`: daily limits count in the account's zone."""
    return moment.astimezone(ZoneInfo(zone)).date()


def day_end(day: date, *, zone: str) -> datetime:
    """The first moment of the day after `day` in `zone`, in UTC: when a daily limit resets."""
    midnight = datetime.combine(day + timedelta(days=1), time.min, tzinfo=ZoneInfo(zone))
    return midnight.astimezone(UTC)


def seconds_until(moment: datetime, *, now: datetime) -> int:
    """Whole seconds from `now` to `moment`, rounded up, never negative: for `Retry-After`."""
    return max(0, -int((now - moment).total_seconds() // 1))
