"""How long the next slice of an operation may take, and how long operations take in all. Plain Python.

For the watchdog, which kills a process that exceeds it many times over, and for ETAs.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

UNMEASURED_SLICE_S = 30.0
"""A slice of an operation that never ran: a large cut-out network on a slow CPU takes some seconds."""

LOAD_S = 30.0
"""Loading an operation's weights: 1 GB from a slow disk."""

LEAST_SLICE_S = 2.0
"""Pictures differ in size, and so do slices of an operation: by more than a margin."""

MARGIN = 2.0
SMOOTHING = 0.2
FORGETTING = 0.05
"""The longest slice is forgotten by so much with each shorter one."""


@dataclass(slots=True)
class OperationTimes:
    """Measured durations by the operation's name."""

    _longest_slice_s: dict[str, float] = field(default_factory=dict)
    _whole_s: dict[str, float] = field(default_factory=dict)

    def record_slice(self, operation: str, seconds: float) -> None:
        """Note what a slice took, loading left out."""
        longest = self._longest_slice_s.get(operation, 0.0)
        self._longest_slice_s[operation] = max(seconds, longest * (1 - FORGETTING))

    def record_whole(self, operation: str, seconds: float) -> None:
        """Note what an operation took in all its slices."""
        before = self._whole_s.get(operation, seconds)
        self._whole_s[operation] = before + SMOOTHING * (seconds - before)

    def slice_s(self, operation: str, *, is_loaded: bool) -> float:
        """Upper estimate of its next slice."""
        longest = self._longest_slice_s.get(operation)
        seconds = UNMEASURED_SLICE_S if longest is None else max(LEAST_SLICE_S, MARGIN * longest)
        return seconds if is_loaded else seconds + LOAD_S

    def left_s(self, operations: Iterable[str], share: float = 0.0) -> float:
        """What operations take, of the first of which a share is done; 0 for those not yet measured."""
        left = 0.0
        for name in operations:
            left += (1 - share) * self._whole_s.get(name, 0.0)
            share = 0.0
        return left
