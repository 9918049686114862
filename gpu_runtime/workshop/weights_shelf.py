"""Weights of operations, kept between requests up to a number of bytes; the longest unused leave first.

They are small beside checkpoints (an upscaler has 64 MB) and apart from the engine's residency, which counts
them and has them dropped when it runs out of memory. Knows nothing about torch: what weights take is asked of
the tools.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from gpu_runtime.messages import HeldWeights, Residency
from gpu_runtime.operations.context import Build
from gpu_runtime.work import Asset

log = logging.getLogger(__name__)

T = TypeVar("T")

BUDGET_BYTES = 1 << 30
"""Weights of all operations of a busy appliance: two upscalers, faces, a large cut-out network."""

FAMILY = "operations"
"""What `HeldWeights.family` says of these."""


class Place(NamedTuple):
    """What must be equal for weights to be the same object."""

    digest: str
    device: str
    build: str
    """Name of the function that made them: an entry's folder may hold several networks."""


@dataclass(slots=True)
class Shelved:
    """One network."""

    value: Any
    name: str
    size_bytes: int
    used_at: float


class WeightsShelf:
    """Implements `operations.context.Loader`, and `weights.spare.Spare` for an engine on the same device."""

    def __init__(
        self,
        size_bytes: Callable[[Any, Path], int],
        clock: Callable[[], float] = time.monotonic,
        *,
        budget_bytes: int = BUDGET_BYTES,
    ) -> None:
        self._size_of = size_bytes
        self._clock = clock
        self._budget_bytes = budget_bytes
        self._shelved: OrderedDict[Place, Shelved] = OrderedDict()
        self._load_s = 0.0

    def load(self, asset: Asset, device: str, build: Build[T]) -> T:
        """What `build` made of these weights on this device, lately or now. Raises what `build` raises."""
        place = Place(asset.digest, device, _name_of(build))
        found = self._shelved.get(place)
        if found is None:
            found = self._build(asset, device, build)
            self._make_room(found.size_bytes)
            self._shelved[place] = found
        found.used_at = self._clock()
        self._shelved.move_to_end(place)
        value: T = found.value
        return value

    def has(self, digest: str) -> bool:
        """Whether anything of these weights is here."""
        return any(place.digest == digest for place in self._shelved)

    def unload(self, digest: str | None = None) -> int:
        """Forget the weights of one entry, or with None all. Returns the bytes freed.

        An operation that is using them keeps them until it ends.
        """
        leaving = [place for place in self._shelved if digest in (None, place.digest)]
        return sum(self._shelved.pop(place).size_bytes for place in leaving)

    def take_load_s(self) -> float:
        """Seconds that loading took since the last call."""
        load_s, self._load_s = self._load_s, 0.0
        return load_s

    def drop(self) -> int:
        """All of them, for an engine that runs out of memory. Returns the bytes freed."""
        return self.unload()

    @property
    def size_bytes(self) -> int:
        """Of all that is here."""
        return sum(each.size_bytes for each in self._shelved.values())

    def held(self) -> tuple[HeldWeights, ...]:
        """What is here, the most recently used last."""
        now = self._clock()
        return tuple(
            HeldWeights(
                name=each.name,
                digest=place.digest,
                family=FAMILY,
                residency=Residency.RESIDENT,
                size_bytes=each.size_bytes,
                is_pinned=False,
                idle_s=now - each.used_at,
            )
            for place, each in self._shelved.items()
        )

    def _build(self, asset: Asset, device: str, build: Build[T]) -> Shelved:
        started = self._clock()
        path = Path(asset.path)
        value = build(path, device)
        self._load_s += self._clock() - started
        size_bytes = self._size_of(value, path)
        log.info("loaded %s for %s: %.1f MB", asset.name, device, size_bytes / 1e6)
        return Shelved(value=value, name=asset.name, size_bytes=size_bytes, used_at=started)

    def _make_room(self, needed: int) -> None:
        """Weights above the budget by themselves are kept alone: the next request would load them again."""
        while self._shelved and self.size_bytes + needed > self._budget_bytes:
            _, left = self._shelved.popitem(last=False)
            log.info("%s left for lack of room", left.name)


def _name_of(build: Callable[..., Any]) -> str:
    while isinstance(build, partial):
        build = build.func
    return f"{build.__module__}.{build.__qualname__}"
