"""What is true of each sampler apart from its arithmetic: the schedules it takes, its name with a schedule.

Imports no torch, so the web process may use it.
"""

from __future__ import annotations

from collections.abc import Mapping

from gpu_runtime.messages import Sampler, SigmaSchedule

ANY_SCHEDULE = frozenset(SigmaSchedule)

OWN_LEVELS = frozenset({SigmaSchedule.AUTOMATIC})
"""Samplers that choose their noise levels themselves, and families that take them from the image's size."""

SPACINGS = OWN_LEVELS | {
    SigmaSchedule.UNIFORM,
    SigmaSchedule.NORMAL,
    SigmaSchedule.SGM_UNIFORM,
    SigmaSchedule.DDIM,
}
"""Samplers that step on the whole timesteps of training: these differ in how they are spaced."""

_FEWER: Mapping[Sampler, frozenset[SigmaSchedule]] = {
    Sampler.DDIM: SPACINGS,
    Sampler.DDPM: SPACINGS,
    Sampler.PNDM: SPACINGS,
    Sampler.LCM: OWN_LEVELS,
    Sampler.DPM_FAST: OWN_LEVELS,
    Sampler.DPM_ADAPTIVE: OWN_LEVELS,
    Sampler.RESTART: OWN_LEVELS,
}


def schedules_of(sampler: Sampler) -> frozenset[SigmaSchedule]:
    """The schedules that a sampler takes on checkpoints that predict noise or velocity."""
    return _FEWER.get(sampler, ANY_SCHEDULE)


def name_of(sampler: Sampler, schedule: SigmaSchedule) -> str:
    """One word for both: "dpmpp_2m_karras", and "dpmpp_2m" for the automatic schedule."""
    return sampler.value if schedule is SigmaSchedule.AUTOMATIC else f"{sampler.value}_{schedule.value}"


def read_name(name: str) -> tuple[Sampler, SigmaSchedule]:
    """What `name_of` wrote. Raises ValueError for anything else, also for a schedule the sampler lacks."""
    if name in list(Sampler):
        return Sampler(name), SigmaSchedule.AUTOMATIC
    for schedule in SigmaSchedule:
        sampler = name.removesuffix(f"_{schedule.value}")
        if sampler != name and sampler in list(Sampler) and schedule in schedules_of(Sampler(sampler)):
            return Sampler(sampler), schedule
    raise ValueError(f"{name!r} is no sampler, nor one with a schedule behind it")
