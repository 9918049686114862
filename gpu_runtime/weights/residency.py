"""Which checkpoints are on the device: at most MAX_RESIDENT, the least recently used goes first.

Assumptions a reader may attack: checkpoints of one machine are of similar size, so a count stands in for
bytes until `budget.py` measures them; nothing but the engine holds a checkpoint, so forgetting it frees it;
the engine is single-threaded, so there is no lock.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass

from gpu_runtime.device_faults import is_out_of_memory, release_cached_memory
from gpu_runtime.families.family import Family
from gpu_runtime.messages import CheckpointRef

MAX_RESIDENT = 2
"""Two checkpoints that take turns must not reload each other at every switch."""


@dataclass(frozen=True, slots=True)
class Resident:
    """One checkpoint on the device."""

    name: str
    family: Family


class Residency:
    """Least-recently-used set of loaded checkpoints."""

    def __init__(self, load: Callable[[CheckpointRef], Family], *, most: int = MAX_RESIDENT) -> None:
        self._load = load
        self._most = most
        self._resident: OrderedDict[str, Resident] = OrderedDict()
        self.last_load_s: float | None = None
        """Duration of the latest load, None before the first."""

    def digests(self) -> frozenset[str]:
        """Digests of the resident checkpoints."""
        return frozenset(self._resident)

    def names(self) -> tuple[str, ...]:
        """Names of the resident checkpoints, the most recently used last."""
        return tuple(resident.name for resident in self._resident.values())

    def get(self, checkpoint: CheckpointRef) -> Family:
        """The checkpoint's pipeline, loaded if need be. Raises what loading raises."""
        resident = self._resident.get(checkpoint.digest)
        if resident is None:
            resident = Resident(checkpoint.name, self._load_with_room(checkpoint))
            self._resident[checkpoint.digest] = resident
        self._resident.move_to_end(checkpoint.digest)
        return resident.family

    def unload(self, digest: str | None, *, keep: Collection[str]) -> int:
        """Forget one checkpoint, or all; never those in `keep`. Returns how many went."""
        going = [d for d in self._resident if d not in keep and digest in (None, d)]
        for each in going:
            del self._resident[each]
        release_cached_memory()
        return len(going)

    def _load_with_room(self, checkpoint: CheckpointRef) -> Family:
        started = time.monotonic()
        while len(self._resident) >= self._most:
            self._evict()
        while True:
            try:
                family = self._load(checkpoint)
            except (RuntimeError, MemoryError) as error:
                if not (is_out_of_memory(error) and self._resident):
                    raise
            else:
                self.last_load_s = time.monotonic() - started
                return family
            # Outside the handler: the traceback would keep the half-loaded network alive.
            self._evict()

    def _evict(self) -> None:
        self._resident.popitem(last=False)
        release_cached_memory()
