"""How long a denoiser call takes, learned from the calls that were made.

Keyed by (family, width, height) and by the number of forward rows (a guided image brings two). Knows
nothing about requests, and never reads a clock: durations are handed in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

SMOOTHING = 0.3
"""Weight of the newest measurement. The first call of a shape includes one-off kernel selection, and 0.3
forgets nine tenths of it within seven calls while still averaging over a noisy neighbour."""


class CallShape(NamedTuple):
    """What, besides the number of rows, decides how long a call takes."""

    family: str
    width: int
    height: int


@dataclass(slots=True)
class StepTimes:
    """Moving averages of call durations in seconds."""

    _seconds: dict[CallShape, dict[int, float]]

    def __init__(self) -> None:
        self._seconds = {}

    def record(self, shape: CallShape, rows: int, seconds: float) -> None:
        """Take in one measured call of `rows` forward rows."""
        of_shape = self._seconds.setdefault(shape, {})
        before = of_shape.get(rows)
        of_shape[rows] = seconds if before is None else before + SMOOTHING * (seconds - before)

    def estimate(self, shape: CallShape, rows: int) -> float | None:
        """Expected seconds of a call, None when nothing of this shape was measured.

        Between two measured row counts: a straight line. Above the largest: the line through the two
        largest, or proportional to the rows when only one is known, which never flatters a big batch.
        Below the smallest: the smallest's time, because fewer rows never take longer.
        """
        known = self._seconds.get(shape)
        if not known:
            return None
        if rows in known:
            return known[rows]
        below = sorted(count for count in known if count < rows)
        above = sorted(count for count in known if count > rows)
        if not below:
            return known[above[0]]
        if above:
            return _line(known, below[-1], above[0], rows)
        if len(below) == 1:
            return known[below[0]] * rows / below[0]
        return _line(known, below[-2], below[-1], rows)


def _line(known: dict[int, float], low: int, high: int, rows: int) -> float:
    """The value at `rows` of the line through two measurements, never falling with more rows."""
    slope = max(0.0, (known[high] - known[low]) / (high - low))
    return known[low] + slope * (rows - low)
