"""What part of a period costs, and when periods end. Pure, exact to the micro-dollar."""

from __future__ import annotations

import calendar
from datetime import datetime, timedelta

MICROSECOND = timedelta(microseconds=1)


def prorated(*, price_micro: int, start: datetime, end: datetime, since: datetime) -> int:
    """What is left of a price from `since` to the end of its period, rounded down to a whole micro-dollar.

    All of it at the start or before, nothing at the end or after.
    """
    if not start < end:
        raise ValueError(f"a period must end after it starts: {start} to {end}")
    left = min(max(end - since, timedelta(0)), end - start)
    return price_micro * (left // MICROSECOND) // ((end - start) // MICROSECOND)


def upgrade_charge(*, old_micro: int, new_micro: int, start: datetime, end: datetime, now: datetime) -> int:
    """What an upgrade costs at once: what is left of the difference. Never negative.

    The old price was paid for the whole period, and what is left of it counts towards the new one.
    """
    if new_micro <= old_micro:
        return 0
    return prorated(price_micro=new_micro - old_micro, start=start, end=end, since=now)


def add_months(anchor: datetime, months: int) -> datetime:
    """The same day and time `months` later, or the last day of a month that is too short for it.

    From the anchor and never from the month before: the 31st comes back after February.
    """
    index = anchor.year * 12 + anchor.month - 1 + months
    year, month = divmod(index, 12)
    day = min(anchor.day, calendar.monthrange(year, month + 1)[1])
    return anchor.replace(year=year, month=month + 1, day=day)


def period_after(*, anchor: datetime, end: datetime) -> datetime:
    """When the period ends that begins at `end`, one of the anchor's monthly days."""
    months = (end.year - anchor.year) * 12 + end.month - anchor.month
    candidate = add_months(anchor, months + 1)
    while candidate <= end:
        months += 1
        candidate = add_months(anchor, months + 1)
    return candidate
