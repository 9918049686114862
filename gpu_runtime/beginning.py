"""From a request to rows: each pass encoded once, then noise and sampler for each image."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gpu_runtime.device_faults import call_with_room
from gpu_runtime.estimates import Estimates
from gpu_runtime.execution.wrapping import wrapping_if
from gpu_runtime.families.family import Family, Row
from gpu_runtime.held import HeldRequest
from gpu_runtime.telemetry import TickKind, TickLog, TickReport
from gpu_runtime.weights.residency import Residency


class Beginner:
    """Encodes and begins for one engine. Its methods raise what families and `Residency.vae` raise."""

    def __init__(self, residency: Residency, estimates: Estimates, ticks: TickLog) -> None:
        self._residency = residency
        self._estimates = estimates
        self._ticks = ticks

    def encode(self, held: HeldRequest, stage: int, family: Family) -> None:
        """See to it that a pass is encoded. `family` is its loaded checkpoint."""
        if stage in held.conditioning:
            return
        request = held.passes[stage].request
        if request.vae:
            # Now, and not after all of the steps.
            self._residency.require_vae(request.vae, request.checkpoint)
        vae = self._vae(held, stage) if request.image else None
        started = time.monotonic()
        with wrapping_if(request.is_seamless):
            held.conditioning[stage] = call_with_room(
                lambda: family.encode(request, vae), self._making_room(held, stage)
            )
        seconds = time.monotonic() - started
        held.spent.encode_s += seconds
        self._estimates.record_encode(held.keys[stage], seconds)
        self._ticks.add(TickReport(kind=TickKind.ENCODE, seconds=seconds, rows=1))

    def begin(self, held: HeldRequest, index: int, family: Family) -> Row:
        """The row of image `index`, made if it is not there. Its pass is encoded."""
        image = held.images[index]
        if image.row is None:
            request, start = held.passes[image.stage].request, image.start
            if start.pixels is not None:
                start = replace(start, vae=self._vae(held, image.stage))
            conditioning = held.conditioning[image.stage]
            with wrapping_if(request.is_seamless):
                image.row = call_with_room(
                    lambda: family.begin(request, index, conditioning, start),
                    self._making_room(held, image.stage),
                )
            # What the pass began from is in the row now.
            image.start = replace(image.start, latents=None, pixels=None)
        return image.row

    def _vae(self, held: HeldRequest, stage: int) -> Any:
        """The autoencoder that encodes in place of the checkpoint's own, untyped in diffusers; or None."""
        request = held.passes[stage].request
        if request.vae is None:
            return None
        return self._residency.vae(request.vae, request.checkpoint, is_beside=True)

    def _making_room(self, held: HeldRequest, stage: int) -> Callable[[], int]:
        """Takes all off the device that this pass does not need, step by step."""
        return lambda: self._residency.make_room(*held.passes[stage].weights)
