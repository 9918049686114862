"""Small charts that a page draws without scripts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Final

HEIGHT: Final = 100
LEAST: Final = 2
"""Of a day that had anything, so that it is seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One day."""

    day: date
    count: int
    x: int
    y: int
    """From the top, of HEIGHT."""
    height: int


def bars(days: Sequence[tuple[date, int]]) -> list[Bar]:
    """A bar a day, as high as its share of the busiest day."""
    most = max((count for _, count in days), default=0)
    return [_bar(number, day, count, most) for number, (day, count) in enumerate(days)]


def _bar(number: int, day: date, count: int, most: int) -> Bar:
    height = max(LEAST, round(HEIGHT * count / most)) if count else 0
    return Bar(day=day, count=count, x=number * 10, y=HEIGHT - height, height=height)
