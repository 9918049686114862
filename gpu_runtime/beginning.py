"""From a request to rows: prompts encoded once, noise and sampler for each image."""

from __future__ import annotations

import time

from gpu_runtime.device_faults import call_with_room
from gpu_runtime.estimates import Estimates
from gpu_runtime.families.family import Family, Row
from gpu_runtime.held import HeldRequest
from gpu_runtime.weights.residency import Residency


def begin_row(
    held: HeldRequest, index: int, family: Family, residency: Residency, estimates: Estimates
) -> Row:
    """The row of image `index`, made if it is not there. `family` is the request's loaded checkpoint.

    Raises what encoding and beginning raise, and what `Residency.require_vae` does.
    """
    if held.conditioning is None:
        if held.request.vae:
            # Now, and not after all of the steps.
            residency.require_vae(held.request.vae, held.request.checkpoint)
        started = time.monotonic()
        held.conditioning = call_with_room(
            lambda: family.encode(held.request), lambda: residency.evict_others(held.key.checkpoint)
        )
        held.encode_s = time.monotonic() - started
        estimates.record_encode(held.key, held.encode_s)
    if index not in held.rows:
        held.rows[index] = family.begin(held.request, index, held.conditioning)
    return held.rows[index]
