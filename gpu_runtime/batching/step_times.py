"""How long a denoiser call takes, learned from the calls that were made.

Keyed by what decides it (`CallShape`) and by the number of forward rows (a guided image brings two). Knows
nothing about requests, and never reads a clock: durations are handed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from gpu_runtime.messages import Tier

SMOOTHING = 0.3
"""Weight of the newest measurement. The first call of a shape includes one-off kernel selection, and 0.3
forgets nine tenths of it within seven calls while still averaging over a noisy neighbour."""


MIN_MEASUREMENTS = 5
"""Calls of a row count before it is compared with others: its first ones include one-off work."""

KEPT_THROUGHPUT = 0.9
"""b* is the fewest rows with this part of the best rows per second: what more rows gain beyond is less than
what their longer call costs those who wait."""

SHORT_CALL_S = 0.05
"""Calls of up to this are worth sharing at any gain: they hold up nobody."""

MOST_SHAPES = 1024
"""Shapes of which measurements are kept, a kilobyte or two each: requests may come in ever new sizes. The one
measured longest ago leaves first."""

PROBE_CALLS = 256
"""Calls of a shape after which one may again be as large as it likes: what was learned may no longer hold."""


class CallShape(NamedTuple):
    """What, besides the number of rows, decides how long a call takes."""

    family: str
    width: int
    height: int
    tier: Tier = Tier.STANDARD
    tokens: tuple[int, ...] = ()
    """`BatchKey.shape`: what encoding made unusual."""


@dataclass(slots=True)
class StepTimes:
    """Moving averages of call durations in seconds."""

    _seconds: dict[CallShape, dict[int, float]] = field(default_factory=dict)
    _measured: dict[CallShape, dict[int, int]] = field(default_factory=dict)
    """How many calls each average is of."""
    _of_others: set[CallShape] = field(default_factory=set)
    """Shapes that an earlier process measured, and nobody since."""

    def record(self, shape: CallShape, rows: int, seconds: float) -> None:
        """Take in one measured call of `rows` forward rows."""
        self._of_others.discard(shape)
        # Taken out and put back: dicts keep the order in which keys came, so the first is the oldest.
        of_shape = self._seconds[shape] = self._seconds.pop(shape, {})
        before = of_shape.get(rows)
        of_shape[rows] = seconds if before is None else before + SMOOTHING * (seconds - before)
        measured = self._measured.setdefault(shape, {})
        measured[rows] = measured.get(rows, 0) + 1
        if len(self._seconds) > MOST_SHAPES:
            oldest = next(iter(self._seconds))
            del self._seconds[oldest], self._measured[oldest]
            self._of_others.discard(oldest)

    def has_run(self, shape: CallShape) -> bool:
        """Whether this process measured a call of this shape; the first one takes longer than others."""
        return shape in self._seconds and shape not in self._of_others

    def as_plain(self) -> list[dict[str, Any]]:
        """All averages as JSON has them (hence Any), the shape that was measured longest ago first."""
        return [
            {
                **shape._asdict(),
                "tokens": list(shape.tokens),
                "rows": {
                    str(rows): [seconds, self._measured[shape][rows]] for rows, seconds in of_shape.items()
                },
            }
            for shape, of_shape in self._seconds.items()
        ]

    @classmethod
    def from_plain(cls, entries: list[dict[str, Any]]) -> StepTimes:
        """What `as_plain` gave in an earlier process.

        Raises ValueError, TypeError, KeyError or AttributeError for anything else.
        """
        times = cls()
        for entry in entries[-MOST_SHAPES:]:
            shape = CallShape(
                family=str(entry["family"]),
                width=int(entry["width"]),
                height=int(entry["height"]),
                tier=Tier(entry["tier"]),
                tokens=tuple(int(number) for number in entry["tokens"]),
            )
            times._seconds[shape], times._measured[shape] = {}, {}
            for rows, (seconds, calls) in entry["rows"].items():
                times._seconds[shape][_positive(int(rows))] = _positive(float(seconds))
                times._measured[shape][int(rows)] = _positive(int(calls))
            times._of_others.add(shape)
        return times

    def best_rows(self, shape: CallShape) -> int | None:
        """b*: forward rows beyond which a call takes proportionally longer; None without a sign of it.

        Never below the rows of calls that are short anyway. Every so often None for one call, so that larger
        ones are measured again.
        """
        measured = self._measured.get(shape, {})
        known = {
            rows: max(self._seconds[shape][rows], 1e-9)
            for rows, calls in measured.items()
            if calls >= MIN_MEASUREMENTS
        }
        if not known or sum(measured.values()) % PROBE_CALLS == PROBE_CALLS - 1:
            return None
        best = max(rows / seconds for rows, seconds in known.items())
        enough = min(rows for rows, seconds in known.items() if rows / seconds >= KEPT_THROUGHPUT * best)
        most = max(known)
        if enough == most:
            return None
        return max(enough, *(rows for rows, seconds in known.items() if seconds <= SHORT_CALL_S), 1)

    def largest(self, shape: CallShape) -> int:
        """Most forward rows of which enough calls of a shape were measured, 0 before that."""
        measured = self._measured.get(shape, {})
        return max((rows for rows, calls in measured.items() if calls >= MIN_MEASUREMENTS), default=0)

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


N = TypeVar("N", int, float)


def _positive(number: N) -> N:
    if not 0 < number < float("inf"):
        raise ValueError(f"{number} is no measurement")
    return number


def _line(known: Mapping[int, float], low: int, high: int, rows: int) -> float:
    """The value at `rows` of the line through two measurements, never falling with more rows."""
    slope = max(0.0, (known[high] - known[low]) / (high - low))
    return known[low] + slope * (rows - low)
