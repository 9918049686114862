"""Decodes of latents whose steps are done, between turns of steps."""

from __future__ import annotations

import time

from gpu_runtime.device_faults import as_fault
from gpu_runtime.estimates import Estimates
from gpu_runtime.finishing import Finisher
from gpu_runtime.register import Register
from gpu_runtime.telemetry import TickKind, TickLog, TickReport
from gpu_runtime.weights.device_memory import PeakMeter
from gpu_runtime.weights.residency import Residency


class DecodeTurns:
    """Takes the decodes of one engine."""

    def __init__(
        self,
        *,
        register: Register,
        finisher: Finisher,
        residency: Residency,
        estimates: Estimates,
        meter: PeakMeter,
        ticks: TickLog,
    ) -> None:
        self._register = register
        self._finisher = finisher
        self._residency = residency
        self._estimates = estimates
        self._meter = meter
        self._ticks = ticks

    def is_due(self) -> bool:
        """Whether latents wait."""
        return self._finisher.next_decode() is not None

    def take(self) -> None:
        """Decode the oldest latents and those like them. Raises DeviceLost only."""
        due = self._finisher.next_decode()
        if due is None:
            return
        try:
            family = self._residency.get(due.checkpoint)
            vae = self._residency.vae(due.vae, due.checkpoint) if due.vae else None
        except Exception as error:  # noqa: BLE001 - the loop's edge: these images fail, others go on
            self._finisher.fail_next_decode(as_fault(error, f"loading checkpoint {due.checkpoint.name}"))
            return
        started = time.monotonic()
        with self._meter.measure(due.key, "decoding", due.images):
            rows = self._finisher.decode(
                family, vae, make_room=lambda: self._residency.make_room(*due.weights)
            )
        ended = time.monotonic()
        self._estimates.record_decode(due.key, due.images, ended - started)
        self._register.note_decodes(rows, ended)
        self._ticks.add(TickReport(kind=TickKind.DECODE, seconds=ended - started, rows=due.images))

    def take_resident(self) -> None:
        """Decode what can be without loading, because another checkpoint is about to take the room."""
        while (due := self._finisher.next_decode()) and due.checkpoint.digest in self._residency.digests():
            self.take()
