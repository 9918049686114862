"""Checkpoints that wait to be made resident until the engine has nothing else to do."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gpu_runtime.device_faults import as_fault
from gpu_runtime.messages import CheckpointRef
from gpu_runtime.weights.checkpoint_files import Stamp, checkpoint_stamp
from gpu_runtime.weights.residency import Residency

log = logging.getLogger(__name__)

BACK_OFF_S = 600.0
"""How long a checkpoint that could not be loaded is left alone while its files stay the same: whoever wants
it warm asks every few seconds, and reading it takes as long as if it were whole."""


@dataclass(frozen=True, slots=True)
class _Failure:
    path: str
    stamp: tuple[Stamp, ...]
    until: float


class Warming:
    """First come, first served; a checkpoint waits once."""

    def __init__(self, residency: Residency, clock: Callable[[], float] = time.monotonic) -> None:
        self._residency = residency
        self._clock = clock
        self._waiting: dict[str, CheckpointRef] = {}
        self._failed: dict[str, _Failure] = {}
        self._without_room: set[str] = set()
        """Digests of which it was logged, so that it is said once."""

    def __bool__(self) -> bool:
        """Whether any waits."""
        return bool(self._waiting)

    def add(self, checkpoint: CheckpointRef) -> None:
        """Have it loaded later, unless that failed lately.

        If it is resident, only take note of its policy and of its use.
        """
        if self._has_just_failed(checkpoint):
            return
        self._waiting[checkpoint.digest] = checkpoint
        if checkpoint.digest in self._residency.digests():
            self.serve(checkpoint.digest)

    def clear(self) -> None:
        """Forget all of them."""
        self._waiting.clear()

    def forget_failures(self, digest: str | None) -> None:
        """Try one checkpoint, or with None every one, at the next `add` whatever happened before."""
        for each in list(self._failed) if digest is None else [digest]:
            self._failed.pop(each, None)

    def serve(self, digest: str | None = None) -> None:
        """Load one, by default the first, if there is room to spare. Failures are logged: nobody waits."""
        checkpoint = self._waiting.pop(digest or next(iter(self._waiting)))
        stamp = checkpoint_stamp(Path(checkpoint.path))
        try:
            if self._residency.warm(checkpoint):
                self._without_room.discard(checkpoint.digest)
            else:
                self._note_lack_of_room(checkpoint)
        except Exception as error:  # noqa: BLE001 - the loop's edge: no request fails by this
            log.warning("%s", as_fault(error, f"warming checkpoint {checkpoint.name}"))
            now = self._clock()
            self._failed = {each: known for each, known in self._failed.items() if now < known.until}
            self._failed[checkpoint.digest] = _Failure(checkpoint.path, stamp, now + BACK_OFF_S)

    def _has_just_failed(self, checkpoint: CheckpointRef) -> bool:
        known = self._failed.get(checkpoint.digest)
        return (
            known is not None
            and self._clock() < known.until
            and (known.path, known.stamp) == (checkpoint.path, checkpoint_stamp(Path(checkpoint.path)))
        )

    def _note_lack_of_room(self, checkpoint: CheckpointRef) -> None:
        if checkpoint.digest not in self._without_room:
            log.info("checkpoint %s is not warmed: what is in use lately leaves no room", checkpoint.name)
        self._without_room.add(checkpoint.digest)
