"""What a checkpoint fills in where a request is silent."""

from __future__ import annotations

from dataclasses import dataclass

from apps.generation.sizes import SIDE_MULTIPLE_PX
from gpu_runtime.messages import Sampler, SigmaSchedule
from gpu_runtime.sampler_facts import ANY_SCHEDULE, schedules_of

STOCHASTIC_2M = (Sampler.DPMPP_2M_SDE, Sampler.DPMPP_2M_SDE_HEUN)
"""Samplers that are DPM++ 2M but for the noise they add."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointDefaults:
    """What a checkpoint fills in where a request is silent, and the sizes it can make."""

    native_px: int
    """Side length the checkpoint was trained at."""
    min_side_px: int
    max_side_px: int
    """Longest side of a finished image."""
    max_native_side_px: int
    """Longest side that is denoised; larger images are denoised smaller and enlarged."""
    steps: int
    guidance_scale: float
    sampler: Sampler
    negative_prompt: str = ""
    schedule: SigmaSchedule = SigmaSchedule.AUTOMATIC
    samplers: tuple[Sampler, ...] = tuple(Sampler)
    """Those the checkpoint's family can use."""
    schedules: frozenset[SigmaSchedule] = ANY_SCHEDULE
    """Those the checkpoint's family can use; not every sampler takes each of them."""
    side_multiple_px: int = SIDE_MULTIPLE_PX
    """What denoised sides are multiples of."""
    family: str = ""
    """Decides how many steps a strength comes to."""


def usable_sampler(
    asked: Sampler | None, schedule: SigmaSchedule | None, defaults: CheckpointDefaults
) -> tuple[Sampler, SigmaSchedule]:
    """The asked ones where the family has them, else the plain sampler, else the checkpoint's own.

    No refusal: clients send the same scheduler with every model, as hosted services let them, and the
    answer names the sampler and the schedule that were used.
    """
    if asked is None:
        return defaults.sampler, defaults.schedule
    plain = Sampler.DPMPP_2M if asked in STOCHASTIC_2M else asked
    for candidate in (asked, plain):
        if candidate in defaults.samplers:
            usable = defaults.schedules & schedules_of(candidate)
            return candidate, schedule if schedule in usable else SigmaSchedule.AUTOMATIC
    return defaults.sampler, defaults.schedule
