"""What every collector yields."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from apps.core.counters import Series


class Figure(NamedTuple):
    """One value of one series."""

    series: Series
    labels: tuple[str, ...]
    value: float


def figure(series: Series, value: float, *labels: str) -> Figure:
    """With its labels in the order of their declaration."""
    return Figure(series, labels, value)


def age_s(moment: datetime | None, *, now: datetime) -> float:
    """Seconds since; 0 for none and for what is still to come."""
    return 0.0 if moment is None else max(0.0, (now - moment).total_seconds())
