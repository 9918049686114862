"""A clock that tests hold in their hand."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta


class FrozenClock:
    """Stands in for `django.utils.timezone` inside apps.core.clock."""

    def __init__(self) -> None:
        self.moment = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

    def now(self) -> datetime:
        return self.moment

    def advance(self, **delta: float) -> datetime:
        """Move on by the keywords of timedelta; returns the new time."""
        self.moment += timedelta(**delta)
        return self.moment

    def move_to(self, moment: datetime) -> None:
        self.moment = moment
