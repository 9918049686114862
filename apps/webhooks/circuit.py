"""The circuit breaker of an endpoint: after failures in a row attempts pause, ever longer, then one probes.

While it pauses, deliveries wait without using up their attempts. Pure decisions over what is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

TRIP_AFTER: Final = 5
"""Failures in a row that open the circuit, and again as soon as a probe fails."""
SUSPECT_AFTER: Final = 2
"""Failures in a row after which attempts go one at a time: what hangs then holds one place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What an endpoint's row says."""

    failures: int = 0
    trips: int = 0
    paused_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Pauses:
    """How long a circuit stays open: doubled each time, up to the longest."""

    first_s: float
    longest_s: float

    def after(self, trips: int) -> timedelta:
        """The pause that follows so many earlier ones."""
        return timedelta(seconds=min(self.longest_s, self.first_s * (1 << min(trips, 20))))


def after_failure(health: Health, *, now: datetime, pauses: Pauses) -> Health:
    """One more attempt has failed."""
    failures = health.failures + 1
    if failures < TRIP_AFTER:
        return Health(failures=failures, trips=health.trips, paused_until=health.paused_until)
    if health.paused_until is not None and health.paused_until > now:
        # Began before the circuit opened: says nothing new.
        return Health(failures=failures, trips=health.trips, paused_until=health.paused_until)
    return Health(failures=failures, trips=health.trips + 1, paused_until=now + pauses.after(health.trips))


def places_of(*, failures: int, places: int) -> int:
    """How many attempts may be under way at once."""
    return 1 if failures >= SUSPECT_AFTER else places
