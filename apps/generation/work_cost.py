"""What a request costs: steps that are counted, and 10**12 operations, of which queue and ETAs are made.

Figures of denoising are those by which the engine shares its time. Those of operations are rough: they order
the queue and make an ETA that is not absurd, and nothing is charged by them.
"""

from __future__ import annotations

import math
from typing import Final

from apps.catalog.models import CatalogEntry
from apps.generation.choices import Kind
from apps.generation.resolved import ResolvedRequest
from apps.generation.used import UsedUpscale
from gpu_runtime.batching.cost import price_of
from gpu_runtime.weights.family_facts import facts_of, steps_from_picture

UPSCALER_FLOP: Final = {"rrdbnet": 36e6, "srvgg": 1.3e6, "upconv7": 1.1e6}
"""Operations for one pixel of the picture that goes in, by architecture: twice the network's weights."""
RESAMPLING_FLOP: Final = 200.0
"""The same without a model, for one pixel that comes out."""
PICTURE_TFLOP: Final = 0.02
"""Of one operation that looks at a whole picture: a detector, a cut-out, a face swap, a check."""

RESTORING_TFLOP: Final = 1.0
"""Of one face through a network that restores it; how many there are is not known beforehand."""


def row_steps(resolved: ResolvedRequest, family: str) -> int:
    """Steps of all passes of all images; 1 for kinds that denoise nothing."""
    return max(1, _steps(resolved, family) + _hires_steps(resolved, family)) * max(1, resolved.num_images)


def _steps(resolved: ResolvedRequest, family: str) -> int:
    if resolved.image is None or resolved.kind is Kind.EDIT or not resolved.steps:
        return resolved.steps
    return steps_from_picture(family, resolved.steps, resolved.strength)


def _hires_steps(resolved: ResolvedRequest, family: str) -> int:
    hires = resolved.hires
    return steps_from_picture(family, hires.steps, hires.strength) if hires else 0


def work_tflop(checkpoint: CatalogEntry | None, resolved: ResolvedRequest) -> float:
    """All steps of all images and all operations, 10**12 operations."""
    operations = _operations_tflop(resolved) * max(1, resolved.num_images)
    if checkpoint is None:
        return operations
    facts = facts_of(checkpoint.family)
    by_rows = facts is None or facts.has_unconditional_rows
    scale = resolved.guidance_scale if by_rows else resolved.true_guidance_scale
    rows = 2 if scale > 1 else 1
    price = price_of(checkpoint.family, checkpoint.variant)
    work = price.tflop(resolved.denoised_width * resolved.denoised_height) * _steps(
        resolved, checkpoint.family
    )
    if resolved.hires is not None:
        second = price.tflop(resolved.hires.width * resolved.hires.height)
        work += second * _hires_steps(resolved, checkpoint.family)
    return rows * work * resolved.num_images + operations


def _operations_tflop(resolved: ResolvedRequest) -> float:
    """Of one image. Those that prepare pictures are done once, and are counted for each: they are cheap."""
    parts = (resolved.background, resolved.face_swap, resolved.detect, resolved.check, *resolved.controls)
    looks = sum(part is not None for part in parts) + len(resolved.reader)
    looks += resolved.kind is Kind.OBJECT_REMOVAL
    restoring = len(resolved.faces) * RESTORING_TFLOP
    upscaling = _upscale_tflop(resolved.upscale, resolved.generated_size) if resolved.upscale else 0.0
    hires = resolved.hires
    if hires is not None and hires.assets:
        larger = UsedUpscale(width=hires.width, height=hires.height, scale=hires.scale, variant=hires.variant)
        upscaling += _upscale_tflop(larger, (resolved.denoised_width, resolved.denoised_height))
    return looks * PICTURE_TFLOP + restoring + upscaling


def _upscale_tflop(upscale: UsedUpscale, size: tuple[int, int]) -> float:
    """The model runs until the picture is large enough; each run begins with what the one before made."""
    if upscale.scale <= 1:
        return upscale.width * upscale.height * RESAMPLING_FLOP / 1e12
    wanted = max(upscale.width / size[0], upscale.height / size[1])
    runs = max(1, math.ceil(round(math.log(max(wanted, 1.0), upscale.scale), 6)))
    pixels: int = sum(size[0] * size[1] * upscale.scale ** (2 * run) for run in range(runs))
    return pixels * UPSCALER_FLOP.get(upscale.variant, UPSCALER_FLOP["rrdbnet"]) / 1e12
