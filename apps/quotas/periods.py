"""Calendar months in the account's own time zone, named by their first day; months of subscriptions. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

from apps.core.clock import day_end, quota_day
from apps.plans.entitlements import Entitlements
from apps.plans.proration import add_months

LONGEST_MONTH: Final = timedelta(days=31)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowancePeriod:
    """The time for which a plan's included calls are given."""

    key: date
    """Its first day, by which its counter is known."""
    ends_at: datetime
    """When they are given anew."""


def allowance_period(entitlements: Entitlements, *, zone: str, now: datetime) -> AllowancePeriod:
    """The subscription's present month; the calendar month in `zone` of a plan without subscription.

    A plan that changes in mid-period keeps its period, and so what was used in it: the new plan's calls, less
    those. The first day of a subscription's month is that in UTC, so that no change of the account's time
    zone begins another one. Two periods that begin on one day, as a trial and the plan that is bought on its
    first day, share what was used.
    """
    start, end = entitlements.period_start, entitlements.period_end
    if start is None or end is None:
        month = current_month(now, zone=zone)
        return AllowancePeriod(key=month, ends_at=month_end(month, zone=zone))
    begins, ends_at = _month_within(start, end, now)
    return AllowancePeriod(key=begins.astimezone(UTC).date(), ends_at=ends_at)


def _month_within(start: datetime, end: datetime, now: datetime) -> tuple[datetime, datetime]:
    """A period of a month or less as it is; of a longer one, such as a licence's, the month of it.

    Beyond its end the next ones follow, as they will be written when its renewal is noticed.
    """
    if now < end and end - start <= LONGEST_MONTH:
        return start, end
    base, limit = (start, end) if now < end else (end, None)
    months = max(0, (now.year - base.year) * 12 + now.month - base.month)
    if months and add_months(base, months) > now:
        months -= 1
    ends_at = add_months(base, months + 1)
    return add_months(base, months), ends_at if limit is None else min(ends_at, limit)
