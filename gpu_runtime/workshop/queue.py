"""Which request's operation gets the next slice. Plain Python; durations are handed in.

Classes of priority come one after another, and a lower one gets a slice of every so many. Within a class
accounts are served by virtual time, seconds divided by weight (`batching.fair_shares`). Within an account the
request that waited longest is next, so that a small one is not held up by a large one before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from gpu_runtime.batching.fair_shares import FairShares, Share
from gpu_runtime.batching.leading import CLASS_TURNS
from gpu_runtime.messages import Priority
from gpu_runtime.workshop.held import HeldWork


@dataclass(slots=True)
class OperationQueue:
    """Chooses; remembers what accounts were given."""

    _shares: FairShares = field(default_factory=FairShares)
    _active: frozenset[Share] = frozenset()
    _class_served: dict[Priority, int] = field(default_factory=dict)
    """For each class with work, the last slice that it had, or of its coming."""
    _slice: int = 0

    def choose(self, works: Sequence[HeldWork]) -> HeldWork:
        """One of `works`, which have an operation to do, in the order of their coming; at least one."""
        self._slice += 1
        self._note_active(works)
        priority = self._class_of_next()
        self._class_served[priority] = self._slice
        of_class = [work for work in works if work.share.priority == priority]
        chosen = min(of_class, key=lambda work: (self._shares.of(work.share), work.last_slice))
        chosen.last_slice = self._slice
        return chosen

    def charge(self, work: HeldWork, seconds: float) -> None:
        """Note what its slice took."""
        self._shares.charge(work.share, seconds / work.request.weight)
        self._shares.forgive(self._active)

    def _note_active(self, works: Sequence[HeldWork]) -> None:
        active = frozenset(work.share for work in works)
        for share in active - self._active:
            self._shares.enter(share, self._active & active)
        self._active = active
        classes = {share.priority for share in active}
        self._class_served = {each: self._class_served.get(each, self._slice) for each in classes}

    def _class_of_next(self) -> Priority:
        highest, *lower = sorted(self._class_served)
        for priority in lower:
            if self._slice - self._class_served[priority] > CLASS_TURNS[priority]:
                return priority
        return highest
