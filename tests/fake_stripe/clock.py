"""The fake's time: it stands still, or runs with the machine's for demos, and moves forward on demand."""

from __future__ import annotations

import calendar
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

HOUR_S = 3_600
DAY_S = 24 * HOUR_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """Something that happens by itself at a time."""

    at: int
    order: int
    """Among things of the same second: schedules before renewals before invoices."""
    run: Callable[[], None]


class Clock:
    """Whole seconds since 1970, as everywhere in Stripe's API."""

    def __init__(self, start: int, *, is_running: bool = False) -> None:
        self._at = start
        self._is_running = is_running
        self._read_at = time.monotonic()

    def now(self) -> int:
        if self._is_running:
            return self._at + int(time.monotonic() - self._read_at)
        return self._at

    def move_to(self, at: int) -> None:
        """Never backwards: a time that has gone by is left as it is."""
        self._at = max(at, self.now())
        self._read_at = time.monotonic()


def next_boundary(anchor: int, after: int, *, interval: str, count: int) -> int:
    """The first end of a period counted from `anchor` that lies after `after`.

    Months and years keep the anchor's day, or take the month's last where it has no such day.
    Raises ValueError for an interval that Stripe does not have.
    """
    if interval in {"day", "week"}:
        length = count * (DAY_S if interval == "day" else 7 * DAY_S)
        return anchor + ((after - anchor) // length + 1) * length
    if interval not in {"month", "year"}:
        raise ValueError(f"unknown interval {interval!r}")
    step = count if interval == "month" else 12 * count
    months = step
    while months_later(anchor, months) <= after:
        months += step
    return months_later(anchor, months)


def months_later(at: int, months: int) -> int:
    """The same time of day `months` months on; the last day of a month that is too short."""
    moment = datetime.fromtimestamp(at, UTC)
    year, month0 = divmod(moment.year * 12 + moment.month - 1 + months, 12)
    day = min(moment.day, calendar.monthrange(year, month0 + 1)[1])
    return int(moment.replace(year=year, month=month0 + 1, day=day).timestamp())
