"""Names of samplers in this dialect: diffusers classes with two switches, or A1111's names.

The reading of the switches: `use_karras_sigmas` is yes unless the caller says no, as documented, and picks
the Karras variant where the runtime has one; `algorithm_type` counts for DPMSolverMultistepScheduler alone,
as documented. An A1111 name says itself whether it is Karras, so there only an explicit yes adds it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from apps.api.modelslab.readers import BadValue, shown
from gpu_runtime.messages import Sampler

SDE_NAME: Final = "sde-dpmsolver++"


@dataclass(frozen=True, slots=True)
class Variants:
    """The samplers behind one scheduler name."""

    plain: Sampler
    karras: Sampler | None = None
    sde: Sampler | None = None
    sde_karras: Sampler | None = None


SCHEDULERS: Final = {
    "DDPMScheduler": Variants(Sampler.DDPM),
    "DDIMScheduler": Variants(Sampler.DDIM),
    "PNDMScheduler": Variants(Sampler.PNDM),
    "EulerDiscreteScheduler": Variants(Sampler.EULER, Sampler.EULER_KARRAS),
    "EulerAncestralDiscreteScheduler": Variants(Sampler.EULER_A),
    "DPMSolverMultistepScheduler": Variants(
        Sampler.DPMPP_2M, Sampler.DPMPP_2M_KARRAS, Sampler.DPMPP_2M_SDE, Sampler.DPMPP_2M_SDE_KARRAS
    ),
    "HeunDiscreteScheduler": Variants(Sampler.HEUN),
    "KDPM2DiscreteScheduler": Variants(Sampler.KDPM2),
    "DPMSolverSinglestepScheduler": Variants(Sampler.DPMPP_2S),
    "KDPM2AncestralDiscreteScheduler": Variants(Sampler.KDPM2_A),
    "UniPCMultistepScheduler": Variants(Sampler.UNIPC, Sampler.UNIPC_KARRAS),
    "DEISMultistepScheduler": Variants(Sampler.DEIS),
    "LCMScheduler": Variants(Sampler.LCM),
}
"""The contract's names that the runtime has."""

NOT_OFFERED: Final = frozenset(
    {
        "LMSDiscreteScheduler",
        "DDIMInverseScheduler",
        "IPNDMScheduler",
        "KarrasVeScheduler",
        "ScoreSdeVeScheduler",
    }
)
"""The contract's names that it has not: refused, because another sampler makes another picture."""

A1111_NAMES: Final = {
    "DPM++ 2M": Variants(Sampler.DPMPP_2M, Sampler.DPMPP_2M_KARRAS),
    "DPM++ 2M SDE": Variants(Sampler.DPMPP_2M_SDE, Sampler.DPMPP_2M_SDE_KARRAS),
    "DPM++ SDE": Variants(Sampler.DPMPP_2S),
    "DPM2": Variants(Sampler.KDPM2),
    "DPM2 a": Variants(Sampler.KDPM2_A),
    "Euler": Variants(Sampler.EULER, Sampler.EULER_KARRAS),
    "Euler a": Variants(Sampler.EULER_A),
    "Heun": Variants(Sampler.HEUN),
    "DDIM": Variants(Sampler.DDIM),
    "DDPM": Variants(Sampler.DDPM),
    "PLMS": Variants(Sampler.PNDM),
    "UniPC": Variants(Sampler.UNIPC, Sampler.UNIPC_KARRAS),
    "LCM": Variants(Sampler.LCM),
    "DEIS": Variants(Sampler.DEIS),
}

ALGORITHMS: Final = {
    "none": False,
    "dpmsolver++": False,
    "dpmsolver+++": True,
    SDE_NAME: True,
}
"""`algorithm_type` to "is it the SDE variant"."""

KARRAS_SUFFIX: Final = " karras"


def _fold(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


_CLASSES = {_fold(name): variants for name, variants in SCHEDULERS.items()}
_A1111 = {_fold(name): variants for name, variants in A1111_NAMES.items()}
_LACKING = {_fold(name) for name in NOT_OFFERED}


def available_names() -> str:
    """What a caller may choose from, for messages."""
    return ", ".join(SCHEDULERS)


@dataclass(frozen=True, slots=True)
class SchedulerName:
    """Reads the name into its variants; the switches decide later."""

    allowed: str = "one of " + ", ".join(SCHEDULERS)

    def __call__(self, value: object) -> tuple[Variants, bool | None]:
        """The variants, and whether the name itself settles Karras (None: the switch decides)."""
        name = _fold(value) if isinstance(value, str) else ""
        if name in _CLASSES:
            return _CLASSES[name], None
        if name in _A1111:
            return _A1111[name], False
        base = _A1111.get(name.removesuffix(KARRAS_SUFFIX))
        if base is not None and base.karras is not None:
            return base, True
        known = "is not offered by this version" if name in _LACKING else "is not a known scheduler"
        raise BadValue(f"{shown(value)} {known}; available: {available_names()}")


@dataclass(frozen=True, slots=True)
class Algorithm:
    """Reads `algorithm_type` into "is it the SDE variant"."""

    allowed: str = "one of " + ", ".join(ALGORITHMS)

    def __call__(self, value: object) -> bool:
        found = ALGORITHMS.get(value.strip().lower()) if isinstance(value, str) else None
        if found is None:
            raise BadValue(f"must be {self.allowed}, not {shown(value)}")
        return found


def choose_sampler(
    variants: Variants, *, named_karras: bool | None, asked_karras: bool | None, is_sde: bool
) -> Sampler:
    """The one sampler that name and switches mean together."""
    default = named_karras is None
    wants_karras = bool(named_karras) or (default if asked_karras is None else asked_karras)
    if is_sde and variants.sde is not None:
        return (variants.sde_karras if wants_karras else None) or variants.sde
    return (variants.karras if wants_karras else None) or variants.plain


@dataclass(frozen=True, slots=True)
class SchedulerWords:
    """How `meta` names a sampler."""

    scheduler: str
    use_karras_sigmas: bool
    algorithm_type: str


def _words_of_samplers() -> dict[Sampler, SchedulerWords]:
    words = {}
    for name, variants in SCHEDULERS.items():
        words[variants.plain] = SchedulerWords(name, False, "none")
        if variants.karras is not None:
            words[variants.karras] = SchedulerWords(name, True, "none")
        if variants.sde is not None:
            words[variants.sde] = SchedulerWords(name, False, SDE_NAME)
        if variants.sde_karras is not None:
            words[variants.sde_karras] = SchedulerWords(name, True, SDE_NAME)
    return words


WORDS: Final = _words_of_samplers()
"""Every sampler of the runtime, in this dialect's words; a test holds it complete."""
