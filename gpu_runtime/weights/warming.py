"""Checkpoints that wait to be made resident until the engine has nothing else to do."""

from __future__ import annotations

import logging

from gpu_runtime.device_faults import as_fault
from gpu_runtime.messages import CheckpointRef
from gpu_runtime.weights.residency import Residency

log = logging.getLogger(__name__)


class Warming:
    """First come, first served; a checkpoint waits once."""

    def __init__(self, residency: Residency) -> None:
        self._residency = residency
        self._waiting: dict[str, CheckpointRef] = {}

    def __bool__(self) -> bool:
        """Whether any waits."""
        return bool(self._waiting)

    def add(self, checkpoint: CheckpointRef) -> None:
        """Have it loaded later; if it is resident, only take note of its policy and of its use."""
        self._waiting[checkpoint.digest] = checkpoint
        if checkpoint.digest in self._residency.digests():
            self.serve(checkpoint.digest)

    def clear(self) -> None:
        """Forget all of them."""
        self._waiting.clear()

    def serve(self, digest: str | None = None) -> None:
        """Load one, by default the first. Failures are logged, since nobody waits for it."""
        checkpoint = self._waiting.pop(digest or next(iter(self._waiting)))
        try:
            self._residency.get(checkpoint)
        except Exception as error:  # noqa: BLE001 - the loop's edge: no request fails by this
            log.warning("%s", as_fault(error, f"warming checkpoint {checkpoint.name}"))
