"""Calendar months in the account's own time zone, named by their first day. Pure."""

from __future__ import annotations

from datetime import date, datetime, timedelta

from apps.core.clock import day_end, quota_day


def month_of(day: date) -> date:
    """The first day of the month of `day`."""
    return day.replace(day=1)


def current_month(now: datetime, *, zone: str) -> date:
    """The first day of the month of `now` in the IANA zone `zone`."""
    return month_of(quota_day(now, zone=zone))


def last_day(month: date) -> date:
    """The last day of the month that begins with `month`."""
    # Whatever its length, the 28th and four days lie in the next one.
    return month_of(month.replace(day=28) + timedelta(days=4)) - timedelta(days=1)


def month_end(month: date, *, zone: str) -> datetime:
    """The first moment of the next month in `zone`, in UTC: when a monthly limit resets."""
    return day_end(last_day(month), zone=zone)
