"""Everything with weights that is on the device: components in slots, and pipelines loaded as a whole.

Makes room by evicting what is least worth keeping. Knows nothing about checkpoints: whether an occupant may
go is asked of `standing`, and what went is reported to `on_evicted`, so that nobody calls a module whose
weights have gone.

A component is checked against its slot while it is still in host memory. Only then is anything evicted, and
only after that is anything overwritten: a broken component costs the device nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

from gpu_runtime.device_faults import is_out_of_memory, nothing_to_spare, release_cached_memory
from gpu_runtime.errors import OutOfMemory, WeightsCorrupt
from gpu_runtime.weights.budget import Allowance, Candidate, ReloadCost, eviction_order
from gpu_runtime.weights.checkpoint_files import Stamp, component_stamp
from gpu_runtime.weights.modules import Architecture, architecture_of
from gpu_runtime.weights.slots import Slot, SlotPool
from gpu_runtime.weights.staging import Staging, read_config

T = TypeVar("T")

STRANGE_CONFIG = (
    TypeError,
    ValueError,
    KeyError,
    AttributeError,
    AssertionError,
    ImportError,
    NotImplementedError,
)
"""What constructors raise for settings that make no sense together."""


@dataclass(frozen=True, slots=True)
class ComponentId:
    """One component in one precision. Checkpoints whose folders lead to the same component share it."""

    folder: Path
    """Real path: the store's links are resolved."""
    stamp: Stamp
    """Of its files: others in the same place are another component."""
    dtype: torch.dtype

    @classmethod
    def of(cls, folder: Path, dtype: torch.dtype) -> ComponentId:
        """The component that is in the folder now."""
        real = folder.resolve()
        return cls(real, component_stamp(real), dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What stands between an occupant and its eviction."""

    is_protected: bool
    """Pinned, or part of what is being loaded or used now."""
    is_wanted: bool
    """Needed by a held request."""
    users: frozenset[str]
    """Digests of the checkpoints that have it and could be used as they are; empty for leftovers."""
    idle_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupant:
    """One thing on the device."""

    size_bytes: int
    slot: Slot | None = None
    """None for a pipeline loaded as a whole."""


class DeviceWeights:
    """The occupants of one device."""

    def __init__(
        self,
        device: torch.device,
        *,
        pool: SlotPool,
        staging: Staging,
        allowance: Callable[[], Allowance],
        standing: Callable[[Hashable], Standing],
        on_evicted: Callable[[Hashable], None],
        spare: Callable[[], int] = nothing_to_spare,
    ) -> None:
        """`spare` gives up what lies beside the weights (`Allowance.spare_bytes`); returns its bytes."""
        self._device = device
        self._pool = pool
        self._staging = staging
        self._allowance = allowance
        self._standing = standing
        self._on_evicted = on_evicted
        self._spare = spare
        self._occupants: dict[Hashable, Occupant] = {}
        self._cost = ReloadCost()
        self.loads = 0
        """Components and whole pipelines loaded so far."""

    @property
    def size_bytes(self) -> int:
        """Bytes on the device; what several checkpoints share counts once."""
        return sum(occupant.size_bytes for occupant in self._occupants.values())

    @property
    def staying_bytes(self) -> int:
        """Bytes of what may not leave now."""
        return sum(
            occupant.size_bytes
            for key, occupant in self._occupants.items()
            if self._standing(key).is_protected
        )

    def present(self) -> frozenset[Hashable]:
        """Everything that is here."""
        return frozenset(self._occupants)

    def size_of(self, key: Hashable) -> int:
        """Bytes of one occupant, 0 when it is not here."""
        return self._occupants[key].size_bytes if key in self._occupants else 0

    def component(self, identity: ComponentId, network_class: Any) -> Any:
        """A component's module with its weights, loaded if need be. Any: untyped in the libraries.

        Raises CheckpointMissing, WeightsCorrupt, or OutOfMemory when there is no room beside what must stay.
        """
        occupant = self._occupants.get(identity)
        if occupant is None:
            with torch.inference_mode(False):
                occupant = self._occupants[identity] = self._load(identity, network_class)
            self.loads += 1
        # Only `whole` makes occupants without a slot, and under keys of its own.
        assert occupant.slot is not None
        return occupant.slot.module

    def whole(self, key: Hashable, size_bytes: int, load: Callable[[], T]) -> T:
        """What `load` brings: a pipeline with networks of its own, about `size_bytes` of them."""
        self.require_possible(size_bytes)
        self._make_room(size_bytes)
        loaded = self._evicting_while_full(load)
        self._occupants[key] = Occupant(size_bytes=size_bytes)
        self.loads += 1
        return loaded

    def evict(self, key: Hashable) -> int:
        """Free what is under the key. Returns its bytes, 0 when it is not here."""
        occupant = self._remove(key)
        if occupant is None:
            return 0
        if occupant.slot:
            self._pool.give_back(occupant.slot)
        release_cached_memory()
        return occupant.size_bytes

    def require_possible(self, size_bytes: int) -> None:
        """Raise OutOfMemory if so much more would not fit even after everything left that may leave."""
        staying = self.staying_bytes
        most = self._allowance().most_bytes
        if staying + size_bytes > most:
            raise OutOfMemory(
                f"{size_bytes} bytes of weights do not fit: {staying} must stay, and {most} is the most"
            )

    def _load(self, identity: ComponentId, network_class: Any) -> Occupant:
        config = read_config(identity.folder)
        try:
            architecture = architecture_of(network_class, config, identity.dtype, self._device)
            pattern = self._find_alike(architecture)
            if pattern is None:
                pattern = self._pool.take(architecture, network_class, config)
                self._pool.give_back(pattern)
        except STRANGE_CONFIG as error:
            raise WeightsCorrupt(f"{identity.folder} has a strange config.json: {error}") from error
        self.require_possible(pattern.size_bytes)
        was_staged = self._staging.has(identity)
        staging_at = time.monotonic()
        staged = self._staging.get(identity, identity.folder, pattern)
        if not was_staged:
            self._cost.record_staging(pattern.size_bytes, time.monotonic() - staging_at)
        slot = self._make_room(pattern.size_bytes, architecture)
        if slot is None:
            slot = self._pool.take(architecture, network_class, config)
        copy_at = time.monotonic()
        try:
            self._evicting_while_full(lambda: slot.fill(staged.tensors))
        except BaseException:
            self._pool.give_back(slot)
            raise
        self._cost.record_copy(slot.size_bytes, time.monotonic() - copy_at)
        return Occupant(size_bytes=slot.size_bytes, slot=slot)

    def _find_alike(self, architecture: Architecture) -> Slot | None:
        """A slot of the architecture, in use or not, to learn from which tensors it wants."""
        used = (occupant.slot for occupant in self._occupants.values())
        alike = (slot for slot in used if slot is not None and slot.architecture == architecture)
        return next(alike, None) or self._pool.find(architecture)

    def _make_room(self, size_bytes: int, architecture: Architecture | None = None) -> Slot | None:
        """Evict until so much more fits, or until a slot of the architecture is free, which is returned."""
        allowance = self._allowance()
        missing = self.size_bytes + size_bytes - allowance.target_bytes
        # Where weights would have to leave all the same it stays: graphs outlast a swap within their slot.
        if 0 < missing <= allowance.spare_bytes:
            self._spare()
        target = self._allowance().target_bytes
        while self.size_bytes + size_bytes > target:
            key = self._next_to_leave(architecture)
            if key is None:
                break
            slot = self._occupants[key].slot
            if slot and slot.architecture == architecture:
                # It keeps its memory: the next component is copied over the last one.
                self._remove(key)
                return slot
            self.evict(key)
        return None

    def _next_to_leave(self, architecture: Architecture | None) -> Hashable | None:
        """The first candidate; of what leaves with it anyway, rather one whose slot is wanted next."""
        candidates = self._candidates()
        if not candidates:
            return None
        first = self._standing(candidates[0].key).users
        for candidate in candidates:
            slot = self._occupants[candidate.key].slot
            is_alike = slot is not None and slot.architecture == architecture
            if is_alike and self._standing(candidate.key).users == first:
                return candidate.key
        return candidates[0].key

    def _evicting_while_full(self, load: Callable[[], T]) -> T:
        """Call; when the device is full, evict and call again. Raises OutOfMemory when nothing may leave."""
        while True:
            try:
                return load()
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Outside the handler: the traceback would keep what was half loaded alive.
            if self._spare():
                release_cached_memory()
                continue
            key = self._next_to_leave(None)
            if key is None:
                raise OutOfMemory("the device is full, and nothing on it may leave")
            self.evict(key)

    def _candidates(self) -> list[Candidate]:
        """What may leave, first to last."""
        standings = {key: self._standing(key) for key in self._occupants}
        return eviction_order(
            Candidate(
                key=key,
                size_bytes=self._occupants[key].size_bytes,
                idle_s=standing.idle_s,
                reload_s=self._cost.seconds(self.size_of(key), is_staged=self._staging.has(key)),
                is_wanted=standing.is_wanted,
                is_leftover=not standing.users,
            )
            for key, standing in standings.items()
            if not standing.is_protected
        )

    def _remove(self, key: Hashable) -> Occupant | None:
        occupant = self._occupants.pop(key, None)
        if occupant is not None:
            self._on_evicted(key)
        return occupant
