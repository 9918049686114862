"""Names of samplers in this dialect: diffusers classes with two switches, or A1111's names.

The reading of the switches: `use_karras_sigmas` is yes unless the caller says no, as documented, and counts
for classes that have that setting; `algorithm_type` counts for DPMSolverMultistepScheduler alone, as
documented. An A1111 name may have its schedule behind it, so there only an explicit yes adds Karras.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from apps.api.modelslab.readers import refuse, shown
from apps.api.readers import BadValue, JsonSchema
from gpu_runtime.messages import Sampler, SigmaSchedule
from gpu_runtime.sampler_facts import schedules_of

SDE_NAME: Final = "sde-dpmsolver++"


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one scheduler name stands for."""

    sampler: Sampler
    takes_karras: bool = False
    """Whether `use_karras_sigmas` counts: whether the diffusers class has that setting."""
    sde: Sampler | None = None
    """The sampler in its place where `algorithm_type` asks for the stochastic one."""
    schedule: SigmaSchedule = SigmaSchedule.AUTOMATIC
    """Where nothing else is asked for."""
    stands_for: str = ""
    """Why another sampler runs than the name says; "" where it is the named one. `meta` names what ran."""


SCHEDULERS: Final = {
    "DDPMScheduler": Meaning(Sampler.DDPM),
    "DDIMScheduler": Meaning(Sampler.DDIM),
    "PNDMScheduler": Meaning(Sampler.PNDM),
    "LMSDiscreteScheduler": Meaning(Sampler.LMS, takes_karras=True),
    "EulerDiscreteScheduler": Meaning(Sampler.EULER, takes_karras=True),
    "EulerAncestralDiscreteScheduler": Meaning(Sampler.EULER_A),
    "DPMSolverMultistepScheduler": Meaning(Sampler.DPMPP_2M, takes_karras=True, sde=Sampler.DPMPP_2M_SDE),
    "HeunDiscreteScheduler": Meaning(Sampler.HEUN, takes_karras=True),
    "KDPM2DiscreteScheduler": Meaning(Sampler.KDPM2, takes_karras=True),
    "DPMSolverSinglestepScheduler": Meaning(Sampler.DPMPP_2S, takes_karras=True),
    "KDPM2AncestralDiscreteScheduler": Meaning(Sampler.KDPM2_A, takes_karras=True),
    "UniPCMultistepScheduler": Meaning(Sampler.UNIPC, takes_karras=True),
    "DDIMInverseScheduler": Meaning(
        Sampler.DDIM, stands_for="it turns images into noise; the same steps the other way make images"
    ),
    "DEISMultistepScheduler": Meaning(Sampler.DEIS, takes_karras=True),
    # Its rule on the checkpoint's noise levels: the class has levels of its own that fit no checkpoint.
    "IPNDMScheduler": Meaning(Sampler.IPNDM),
    "KarrasVeScheduler": Meaning(
        Sampler.HEUN,
        schedule=SigmaSchedule.KARRAS,
        stands_for="for networks trained in pixels by Karras et al.; this is their sampler without churn",
    ),
    "ScoreSdeVeScheduler": Meaning(
        Sampler.EULER_A,
        stands_for="for networks trained in pixels on the VE equation; this solves it as well",
    ),
    "LCMScheduler": Meaning(Sampler.LCM),
}
"""All of the contract's names."""

A1111_NAMES: Final = {
    "DPM++ 2M": Meaning(Sampler.DPMPP_2M),
    "DPM++ SDE": Meaning(Sampler.DPMPP_SDE),
    "DPM++ 2M SDE": Meaning(Sampler.DPMPP_2M_SDE),
    "DPM++ 2M SDE Heun": Meaning(Sampler.DPMPP_2M_SDE_HEUN),
    "DPM++ 2S a": Meaning(Sampler.DPMPP_2S_A),
    "DPM++ 3M SDE": Meaning(Sampler.DPMPP_3M_SDE),
    "Euler a": Meaning(Sampler.EULER_A),
    "Euler": Meaning(Sampler.EULER),
    "LMS": Meaning(Sampler.LMS),
    "Heun": Meaning(Sampler.HEUN),
    "DPM2": Meaning(Sampler.KDPM2),
    "DPM2 a": Meaning(Sampler.KDPM2_A),
    "DPM fast": Meaning(Sampler.DPM_FAST),
    "DPM adaptive": Meaning(Sampler.DPM_ADAPTIVE),
    "Restart": Meaning(Sampler.RESTART),
    "DDIM": Meaning(Sampler.DDIM),
    "DDIM CFG++": Meaning(
        Sampler.DDIM, stands_for="its guidance needs the unconditional prediction, which samplers do not see"
    ),
    "DDPM": Meaning(Sampler.DDPM),
    "PLMS": Meaning(Sampler.PNDM),
    "UniPC": Meaning(Sampler.UNIPC),
    "LCM": Meaning(Sampler.LCM),
    "DEIS": Meaning(Sampler.DEIS),
}

ALGORITHMS: Final = {
    "none": False,
    "dpmsolver++": False,
    "dpmsolver+++": True,
    SDE_NAME: True,
}
"""`algorithm_type` to "is it the SDE variant"."""


def _fold(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


_CLASSES = {_fold(name): meaning for name, meaning in SCHEDULERS.items()}
_A1111 = {_fold(name): meaning for name, meaning in A1111_NAMES.items()}


_SUFFIX: Final = "scheduler"
"""Left out by those who copy the contract's own table of equivalents."""


def available_names() -> str:
    """What a caller may choose from, for messages."""
    return ", ".join(SCHEDULERS)


@dataclass(frozen=True, slots=True)
class NamedScheduler:
    """A scheduler name, read; the switches decide the rest."""

    meaning: Meaning
    is_class: bool
    """Whether it is a diffusers class and not one of A1111's names."""
    schedule: SigmaSchedule | None = None
    """What the name itself says."""


@dataclass(frozen=True, slots=True)
class SchedulerName:
    """Reads the name into its meaning."""

    allowed: str = "one of " + ", ".join(SCHEDULERS)

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string"}

    def __call__(self, value: object) -> NamedScheduler:
        """Raises BadValue for a name that is no class and none of A1111's, also with a schedule behind it."""
        name = _fold(value) if isinstance(value, str) else ""
        if name in _CLASSES:
            return NamedScheduler(_CLASSES[name], is_class=True)
        if name in _A1111:
            return NamedScheduler(_A1111[name], is_class=False)
        if f"{name}{_SUFFIX}" in _CLASSES:
            return NamedScheduler(_CLASSES[f"{name}{_SUFFIX}"], is_class=True)
        for schedule in SigmaSchedule:
            meaning = _A1111.get(name.removesuffix(" " + _fold(schedule.value)))
            if meaning is not None and schedule in schedules_of(meaning.sampler):
                return NamedScheduler(meaning, is_class=False, schedule=schedule)
        raise BadValue(f"{shown(value)} is not a known scheduler; available: {available_names()}")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """Reads `algorithm_type` into "is it the SDE variant"."""

    allowed: str = "one of " + ", ".join(ALGORITHMS)

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string", "enum": list(ALGORITHMS)}

    def __call__(self, value: object) -> bool:
        found = ALGORITHMS.get(value.strip().lower()) if isinstance(value, str) else None
        if found is None:
            raise refuse(self, value)
        return found


def choose_sampler(
    named: NamedScheduler, *, asked_karras: bool | None, is_sde: bool
) -> tuple[Sampler, SigmaSchedule]:
    """The sampler and the schedule that name and switches mean together."""
    meaning = named.meaning
    sampler = (meaning.sde if is_sde and named.is_class else None) or meaning.sampler
    if named.is_class:
        wants_karras = meaning.takes_karras and asked_karras is not False
    else:
        wants_karras = asked_karras is True and SigmaSchedule.KARRAS in schedules_of(sampler)
    return sampler, named.schedule or (SigmaSchedule.KARRAS if wants_karras else meaning.schedule)


@dataclass(frozen=True, slots=True)
class SchedulerWords:
    """How `meta` names a sampler and a schedule."""

    scheduler: str
    use_karras_sigmas: bool
    algorithm_type: str


def words_of(sampler: Sampler, schedule: SigmaSchedule) -> SchedulerWords:
    """What ran, in this dialect: by the diffusers class where one says it, else by A1111's name."""
    is_sde, name = _NAMES[sampler]
    return SchedulerWords(name, schedule is SigmaSchedule.KARRAS, SDE_NAME if is_sde else "none")


def _names_of_samplers() -> dict[Sampler, tuple[bool, str]]:
    """For each sampler whether it is the stochastic one of its name, and the name."""
    names = {
        meaning.sampler: (False, name) for name, meaning in A1111_NAMES.items() if not meaning.stands_for
    }
    for name, meaning in SCHEDULERS.items():
        if not meaning.stands_for:
            names[meaning.sampler] = (False, name)
        if meaning.sde is not None:
            names[meaning.sde] = (True, name)
    return names


_NAMES: Final = _names_of_samplers()
