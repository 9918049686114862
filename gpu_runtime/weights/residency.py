"""Which checkpoints can be used at once, and what becomes of those that cannot.

Cold on disk, staged in host memory, resident on the device: a checkpoint is resident when all of its
components are, and then it has a family object. Components, not checkpoints, are what is loaded and evicted.
A component is known by the real path of its folder and a stamp of its files, so fine-tunes share text
encoders and autoencoder, and what they share is on the device once. When a component leaves or is
overwritten, the family objects that use it are dropped with it; whoever needs one asks `get` at every turn.

How weights leave the device:

- To make room: what `budget.py` ranks first. Never what is pinned, never parts of what is loaded just now.
- For being idle: after `CheckpointRef.keep_alive_s` or else the configured seconds; 0 is never. What is
  pinned or needed by a held request stays. What leaves stays staged.
- By `unload`: at once, from staging as well, pinned or not.

Families with networks of their own are one unit with the bytes of all their files.

Assumptions a reader may attack: nobody but the engine holds families and modules, and only within a turn;
files never change while they are in use; single-threaded, so there is no lock.
"""

from __future__ import annotations

import gc
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from gpu_runtime.device_faults import nothing_to_spare, release_cached_memory
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.families.family import Family
from gpu_runtime.messages import CheckpointRef, HeldWeights, VaeRef
from gpu_runtime.messages import Residency as Place
from gpu_runtime.weights.budget import Allowance
from gpu_runtime.weights.checkpoint_files import (
    component_folders,
    component_stamp,
    file_bytes,
    network_folders,
    weights_bytes,
)
from gpu_runtime.weights.device_weights import ComponentId, DeviceWeights, Standing
from gpu_runtime.weights.known import Known
from gpu_runtime.weights.loader import NETWORKS, checkpoint_folder
from gpu_runtime.weights.loans import LENT_NETWORKS, FileLoan, Loan, NetworkLoan
from gpu_runtime.weights.slots import SlotPool
from gpu_runtime.weights.staging import Staging
from gpu_runtime.weights.vae_override import require_fitting

SPARED_S = 600.0
"""How long something was not used when it may leave for a checkpoint that is only to be kept warm."""

AskNetwork = Callable[[Path, str, torch.dtype], Any]
"""Takes a component's folder, its class name and a dtype; returns the module on the device."""

LoadCheckpoint = Callable[[CheckpointRef, AskNetwork], Family]
"""Builds the family object of a checkpoint, asking for each of its networks."""


class Residency:
    """Loads checkpoints and lets them go."""

    def __init__(
        self,
        load: LoadCheckpoint,
        *,
        device: torch.device,
        dtype: torch.dtype,
        pool: SlotPool,
        staging: Staging,
        allowance: Callable[[], Allowance],
        is_whole: Callable[[str], bool] = lambda family: False,
        wanted: Callable[[], Collection[str]] = frozenset,
        spare: Callable[[], int] = nothing_to_spare,
        keep_alive_s: float = 0.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`dtype` is the denoisers'; `is_whole` says of a family whether it brings networks of its own.

        `wanted` are the digests, of checkpoints and of autoencoders, that held requests need. `spare` gives
        up what lies on the device beside the weights and is cheaper to have again; returns the bytes freed.
        """
        self._load_family = load
        self._dtype = dtype
        self._staging = staging
        self._allowance = allowance
        self._is_whole = is_whole
        self._wanted = wanted
        self._spare = spare
        self._keep_alive_s = keep_alive_s
        self._clock = clock
        self._weights = DeviceWeights(
            device,
            pool=pool,
            staging=staging,
            allowance=allowance,
            standing=self._standing,
            on_evicted=self._forget_families,
            spare=spare,
        )
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._busy: frozenset[Hashable] = frozenset()
        """What must stay while something is loaded: folders of components, and the checkpoint's digest."""
        self._is_sparing = False
        """Whether what was used lately must stay as well."""
        self.last_load_s: float | None = None
        """Duration of the latest load of a checkpoint, None before the first."""
        self.last_lend_s: float | None = None
        """Duration of the latest loads of networks for one turn, None before the first."""

    @property
    def size_bytes(self) -> int:
        """Bytes of weights on the device, shared ones counted once."""
        return self._weights.size_bytes

    @property
    def budget_bytes(self) -> int:
        """Bytes of weights above which unused ones leave."""
        return self._allowance().target_bytes

    @property
    def loads(self) -> int:
        """Components and whole pipelines brought to the device so far."""
        return self._weights.loads

    def digests(self) -> frozenset[str]:
        """Digests of the resident checkpoints."""
        return frozenset(known.digest for known in self._known.values() if known.family is not None)

    def has(self, digest: str) -> bool:
        """Whether all of a checkpoint, or of a network beside one, is on the device."""
        known = self._known.get(digest)
        return known is not None and known.is_complete and self._weights.present().issuperset(known.parts)

    def bytes_of(self, digests: Collection[str]) -> int:
        """Bytes on the device of these and of what is pinned, shared ones counted once."""
        counted = [k for k in self._known.values() if k.is_pinned or k.digest in digests]
        return sum(map(self._weights.size_of, {part for known in counted for part in known.parts}))

    def names(self) -> tuple[str, ...]:
        """Names of the resident checkpoints, the most recently used last."""
        resident = (known for known in self._known.values() if known.family is not None)
        return tuple(known.ref.name for known in resident if known.ref)

    def held(self) -> tuple[HeldWeights, ...]:
        """Every checkpoint above cold, the most recently used last."""
        self._prune()
        now = self._clock()
        return tuple(
            HeldWeights(
                name=known.ref.name,
                digest=known.digest,
                family=known.ref.family,
                residency=self._place(known),
                size_bytes=sum(self._size_of(part) for part in known.parts),
                is_pinned=known.ref.is_pinned,
                idle_s=now - known.used_at,
            )
            for known in self._known.values()
            if known.ref and self._place(known) is not Place.COLD
        )

    def get(self, checkpoint: CheckpointRef) -> Family:
        """The checkpoint's pipeline, loaded if need be; valid until the next call of any method here.

        Raises what loading raises, OutOfMemory when it does not fit beside what must stay.
        """
        if checkpoint.digest not in self._known:
            self._prune()
        known = self._touch(checkpoint.digest)
        known.ref = checkpoint
        if known.family is None:
            started = self._clock()
            known.family = self._load(known, checkpoint)
            known.used_at = self._clock()
            self.last_load_s = known.used_at - started
        return known.family

    def warm(self, checkpoint: CheckpointRef) -> bool:
        """As `get`, for a checkpoint that nobody asked for yet; False if there is no room to spare for it.

        Unless it is pinned it takes free room and that of what was idle for SPARED_S: checkpoints that are
        all to be kept warm must not push each other out.
        """
        if checkpoint.digest in self.digests() or checkpoint.is_pinned:
            self.get(checkpoint)
            return True
        self._is_sparing = True
        try:
            has_room = self._has_room(checkpoint)
            if has_room:
                self.get(checkpoint)
        finally:
            self._is_sparing = False
        return has_room

    def require_vae(self, vae: VaeRef, checkpoint: CheckpointRef) -> str:
        """Class name of an autoencoder that may stand in for the checkpoint's own.

        Reads configurations and headers. Raises UnsupportedCombination, CheckpointMissing, WeightsCorrupt, or
        OutOfMemory when it would not fit beside what is pinned.
        """
        own = component_folders(checkpoint_folder(checkpoint.path)).get("vae")
        if own is None:
            raise UnsupportedCombination(f"{checkpoint.name} has no autoencoder that another could replace")
        class_name = require_fitting(Path(vae.path), own)
        if class_name not in NETWORKS:
            raise UnsupportedCombination(f"autoencoders of class {class_name} cannot be exchanged")
        identity = ComponentId.of(Path(vae.path), torch.float32)
        if identity not in self._weights.present():
            self._weights.require_possible(weights_bytes(identity.folder, identity.dtype))
        return class_name

    def vae(self, vae: VaeRef, checkpoint: CheckpointRef, *, is_beside: bool = False) -> Any:
        """An autoencoder in place of the checkpoint's own, loaded if need be. Any: untyped in diffusers.

        Decoding needs nothing else, so parts of the checkpoint may leave for it where nothing better can;
        not if it is to be used `is_beside` the checkpoint. Raises as `require_vae` and `get` do.
        """
        network_class = NETWORKS[self.require_vae(vae, checkpoint)]
        # float32 as the families take their own.
        identity = ComponentId.of(Path(vae.path), torch.float32)
        own = self._known[checkpoint.digest].parts if checkpoint.digest in self._known else ()
        self._busy = frozenset(map(_place_of, own)) if is_beside else frozenset()
        try:
            module = self._weights.component(identity, network_class)
        finally:
            self._busy = frozenset()
        known = self._touch(vae.digest)
        known.parts = (identity,)
        known.is_complete = True
        return module

    def borrow(self, loans: Collection[Loan], *, beside: str) -> dict[Loan, Any]:
        """Networks for one turn of a checkpoint, loaded if need be; valid until the next call of any method.

        `beside` is the checkpoint's digest: nothing of it leaves for them, nor one of them for another.
        Raises CheckpointMissing, WeightsCorrupt, or OutOfMemory when there is no room beside what must stay.
        """
        own = self._known[beside].parts if beside in self._known else ()
        self._busy = frozenset({beside, *map(_place_of, own), *map(_place_of_loan, loans)})
        loads, started = self.loads, self._clock()
        try:
            return {loan: self._lent(loan) for loan in loans}
        finally:
            self._busy = frozenset()
            if self.loads > loads:
                self.last_lend_s = self._clock() - started

    def unload(self, digest: str | None, *, keep: Collection[str]) -> int:
        """Forget one checkpoint or autoencoder, or with None all; never those in `keep`.

        What others use stays. Returns the bytes freed: on the device and, where that is other memory, staged.
        """
        freed = 0
        for known in [k for k in self._known.values() if k.digest not in keep and digest in (None, k.digest)]:
            del self._known[known.digest]
            on_device = self._release(known)
            staged = self._staging.drop(part for part in known.parts if not self._users(part))
            freed += on_device + staged if self._staging.is_separate else max(on_device, staged)
        return freed

    def make_room(self, *digests: str) -> int:
        """The next step towards more memory for these checkpoints and autoencoders; the bytes freed.

        What is spare first, then as `evict_others`; 0 when there is nothing left to do.
        """
        freed = self.give_up_spare()
        if freed:
            release_cached_memory()
        return freed or self.evict_others(*digests)

    def give_up_spare(self) -> int:
        """Give up what lies on the device beside the weights only to save time. Returns the bytes freed."""
        return self._spare()

    def evict_others(self, *digests: str) -> int:
        """Take everything off the device that neither these checkpoints or autoencoders nor pinned ones need.

        It stays staged. Returns the bytes freed.
        """
        own = {part for digest in digests if digest in self._known for part in self._known[digest].parts}
        leaving = [p for p in self._weights.present() if p not in own and not self._standing(p).is_protected]
        return sum(self._weights.evict(part) for part in leaving)

    def is_unload_due(self) -> bool:
        """Whether some checkpoint has been idle for longer than it is kept."""
        return bool(self._expired())

    def unload_idle(self) -> int:
        """Take what has been idle for too long off the device; it stays staged. Returns the bytes freed."""
        return sum(self._release(known) for known in self._expired())

    def _lent(self, loan: Loan) -> Any:
        known = self._touch(loan.digest)
        if isinstance(loan, FileLoan):
            return self._lent_file(loan, known)
        identity = ComponentId.of(loan.folder, loan.dtype)
        module = self._weights.component(identity, LENT_NETWORKS[loan.class_name])
        known.parts = (identity,)
        known.is_complete = True
        return module

    def _lent_file(self, loan: FileLoan, known: Known) -> Any:
        if known.built is None or loan.key not in known.parts:
            with torch.inference_mode(False):
                size_bytes = file_bytes(loan.file, loan.dtype)
                known.built = self._weights.whole(loan.key, size_bytes, loan.build)
            known.parts = (loan.key,)
            known.is_complete = True
        return known.built

    def _has_room(self, checkpoint: CheckpointRef) -> bool:
        with self._protecting(checkpoint):
            staying = self._weights.staying_bytes
        return staying + self._missing_bytes(checkpoint) <= self.budget_bytes

    def _load(self, known: Known, checkpoint: CheckpointRef) -> Family:
        known.is_complete = False
        with self._protecting(checkpoint):
            if self._is_whole(checkpoint.family):
                family = self._load_whole(known, checkpoint)
            else:
                family = self._load_parts(known, checkpoint)
        known.is_complete = True
        return family

    def _load_whole(self, known: Known, checkpoint: CheckpointRef) -> Family:
        def refuse(folder: Path, class_name: str, dtype: torch.dtype) -> Any:
            raise UnsupportedCombination(f"family {checkpoint.family} loads its own networks, not {folder}")

        size_bytes = self._missing_bytes(checkpoint)
        known.parts = (checkpoint.digest,)
        return self._weights.whole(
            checkpoint.digest, size_bytes, lambda: self._load_family(checkpoint, refuse)
        )

    def _load_parts(self, known: Known, checkpoint: CheckpointRef) -> Family:
        def ask(folder: Path, class_name: str, dtype: torch.dtype) -> Any:
            identity = ComponentId.of(folder, dtype)
            module = self._weights.component(identity, NETWORKS[class_name])
            known.parts = (*known.parts, identity)
            return module

        # Before anything leaves for it.
        self._weights.require_possible(self._missing_bytes(checkpoint))
        known.parts = ()
        return self._load_family(checkpoint, ask)

    def _missing_bytes(self, checkpoint: CheckpointRef) -> int:
        """Bytes that loading it takes. A lower bound: some components take more than the denoiser's dtype."""
        if self._is_whole(checkpoint.family):
            own = component_folders(checkpoint_folder(checkpoint.path)).values()
            return sum(weights_bytes(folder, self._dtype) for folder in set(own))
        here = {(key.folder, key.stamp) for key in self._weights.present() if isinstance(key, ComponentId)}
        folders = set(network_folders(checkpoint_folder(checkpoint.path)))
        missing = [folder for folder in folders if (folder, component_stamp(folder)) not in here]
        return sum(weights_bytes(folder, self._dtype) for folder in missing)

    @contextmanager
    def _protecting(self, checkpoint: CheckpointRef) -> Iterator[None]:
        """Nothing of the checkpoint leaves the device within the block."""
        folders = component_folders(checkpoint_folder(checkpoint.path)).values()
        self._busy = frozenset({checkpoint.digest, *folders})
        try:
            yield
        finally:
            self._busy = frozenset()

    def _touch(self, digest: str) -> Known:
        known = self._known.setdefault(digest, Known(digest=digest, used_at=0.0))
        known.used_at = self._clock()
        self._known.move_to_end(digest)
        return known

    def _standing(self, part: Hashable) -> Standing:
        """What `DeviceWeights` asks before it evicts."""
        users = self._users(part)
        wanted = self._wanted()
        now = self._clock()
        is_spared = self._is_sparing and any(u.is_usable and now - u.used_at < SPARED_S for u in users)
        is_busy = _place_of(part) in self._busy
        return Standing(
            is_protected=is_busy or is_spared or any(user.is_pinned for user in users),
            is_wanted=any(user.digest in wanted for user in users),
            users=frozenset(user.digest for user in users if user.is_usable),
            idle_s=min((now - user.used_at for user in users), default=float("inf")),
        )

    def _users(self, part: Hashable) -> list[Known]:
        return [known for known in self._known.values() if part in known.parts]

    def _forget_families(self, part: Hashable) -> None:
        """What `DeviceWeights` reports: families with this part must not be called again."""
        for known in self._users(part):
            known.family = known.built = None
        if not isinstance(part, ComponentId):
            # Pipelines refer to themselves; without this their memory is free at some later time.
            gc.collect()

    def _release(self, known: Known) -> int:
        """Take off the device what no other resident checkpoint uses. Returns the bytes freed."""
        parts = self._parts_of_nobody_else(known)
        known.family = None
        return sum(self._weights.evict(part) for part in parts)

    def _parts_of_nobody_else(self, known: Known) -> list[Hashable]:
        """Parts on the device that would be without use if this checkpoint went."""
        here = self._weights.present()
        others = (other for other in self._known.values() if other is not known and other.is_usable)
        kept = {part for other in others for part in other.parts}
        return [part for part in known.parts if part in here and part not in kept]

    def _expired(self) -> list[Known]:
        now = self._clock()
        idle = [k for k in self._known.values() if 0 < self._keep_alive_of(k) <= now - k.used_at]
        # Asked at every step of the engine, and rarely is there one.
        wanted = self._wanted() if idle else frozenset()
        return [
            known
            for known in idle
            if known.digest not in wanted
            and not (known.ref and known.ref.is_pinned)
            and (known.family is not None or self._parts_of_nobody_else(known))
        ]

    def _keep_alive_of(self, known: Known) -> float:
        own = known.ref.keep_alive_s if known.ref else None
        return self._keep_alive_s if own is None else own

    def _place(self, known: Known) -> Place:
        if known.family is not None:
            return Place.RESIDENT
        here = self._weights.present()
        if known.is_complete and all(part in here or self._staging.has(part) for part in known.parts):
            return Place.STAGED
        return Place.COLD

    def _size_of(self, part: Hashable) -> int:
        return self._weights.size_of(part) or self._staging.size_of(part)

    def _prune(self) -> None:
        """Forget those of which nothing is left above cold."""
        here = self._weights.present()
        for known in list(self._known.values()):
            if known.family is None and not any(p in here or self._staging.has(p) for p in known.parts):
                del self._known[known.digest]


def _place_of(part: Hashable) -> Hashable:
    """What a part on the device is called while it must stay."""
    return part.folder if isinstance(part, ComponentId) else part


def _place_of_loan(loan: Loan) -> Hashable:
    return loan.folder.resolve() if isinstance(loan, NetworkLoan) else loan.key
