"""Samplers and schedulers by stable-diffusion-webui's names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from apps.api.a1111.errors import SAMPLER_NOT_FOUND, SCHEDULER_NOT_FOUND, Refusal
from apps.generation.infotext import SCHEDULE_NAMES
from gpu_runtime.messages import Sampler, SigmaSchedule

AUTOMATIC: Final = "automatic"

_SDE: Final = (Sampler.DPMPP_SDE, Sampler.DPMPP_2M_SDE, Sampler.DPMPP_2M_SDE_HEUN, Sampler.DPMPP_3M_SDE)
_ANCESTRAL: Final = (Sampler.EULER_A, Sampler.KDPM2_A, Sampler.DPMPP_2S_A)

READ_BY: Final[Mapping[str, frozenset[Sampler]]] = {
    "eta": frozenset({*_ANCESTRAL, *_SDE, Sampler.DPM_FAST, Sampler.DPM_ADAPTIVE, Sampler.DDIM}),
    "s_churn": frozenset({Sampler.EULER, Sampler.HEUN, Sampler.KDPM2}),
    "s_noise": frozenset({Sampler.KDPM2_A, Sampler.DPMPP_2S_A, *_SDE, Sampler.DPM_FAST}),
}
"""Fields that only some samplers read upstream; with others they change nothing, whatever their value.

Those with churn read s_noise as well, for the noise that churn adds.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplerRow:
    """One entry of GET samplers."""

    name: str
    sampler: Sampler
    aliases: tuple[str, ...]
    options: dict[str, str] = field(default_factory=dict)
    """As upstream lists them; "scheduler" is what Automatic means with this sampler."""


def _row(name: str, sampler: Sampler, *aliases: str, **options: str) -> SamplerRow:
    return SamplerRow(name=name, sampler=sampler, aliases=aliases, options=options)


SAMPLERS: Final = (
    _row("DPM++ 2M", Sampler.DPMPP_2M, "k_dpmpp_2m", scheduler="karras"),
    _row(
        "DPM++ SDE",
        Sampler.DPMPP_SDE,
        "k_dpmpp_sde",
        scheduler="karras",
        second_order="True",
        brownian_noise="True",
    ),
    _row(
        "DPM++ 2M SDE", Sampler.DPMPP_2M_SDE, "k_dpmpp_2m_sde", scheduler="exponential", brownian_noise="True"
    ),
    _row(
        "DPM++ 2M SDE Heun",
        Sampler.DPMPP_2M_SDE_HEUN,
        "k_dpmpp_2m_sde_heun",
        scheduler="exponential",
        brownian_noise="True",
        solver_type="heun",
    ),
    _row(
        "DPM++ 2S a",
        Sampler.DPMPP_2S_A,
        "k_dpmpp_2s_a",
        scheduler="karras",
        uses_ensd="True",
        second_order="True",
    ),
    _row(
        "DPM++ 3M SDE",
        Sampler.DPMPP_3M_SDE,
        "k_dpmpp_3m_sde",
        scheduler="exponential",
        discard_next_to_last_sigma="True",
        brownian_noise="True",
    ),
    _row("Euler a", Sampler.EULER_A, "k_euler_a", "k_euler_ancestral", uses_ensd="True"),
    _row("Euler", Sampler.EULER, "k_euler"),
    _row("LMS", Sampler.LMS, "k_lms"),
    _row("Heun", Sampler.HEUN, "k_heun", second_order="True"),
    _row(
        "DPM2",
        Sampler.KDPM2,
        "k_dpm_2",
        scheduler="karras",
        discard_next_to_last_sigma="True",
        second_order="True",
    ),
    _row(
        "DPM2 a",
        Sampler.KDPM2_A,
        "k_dpm_2_a",
        scheduler="karras",
        discard_next_to_last_sigma="True",
        uses_ensd="True",
        second_order="True",
    ),
    _row("DPM fast", Sampler.DPM_FAST, "k_dpm_fast", uses_ensd="True"),
    _row("DPM adaptive", Sampler.DPM_ADAPTIVE, "k_dpm_ad", uses_ensd="True"),
    _row("Restart", Sampler.RESTART, "restart", scheduler="karras", second_order="True"),
    _row("DDIM", Sampler.DDIM, "ddim"),
    # Its guidance needs the unconditional prediction, which samplers here do not see: plain DDIM runs.
    _row("DDIM CFG++", Sampler.DDIM, "ddim_cfgpp"),
    _row("PLMS", Sampler.PNDM, "plms"),
    _row("UniPC", Sampler.UNIPC, "unipc"),
    _row("LCM", Sampler.LCM, "k_lcm"),
)
"""All of 1.10, in its order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerRow:
    """One entry of GET schedulers."""

    schedule: SigmaSchedule
    default_rho: float = -1.0
    need_inner_model: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        return SCHEDULE_NAMES[self.schedule]


SCHEDULERS: Final = (
    SchedulerRow(schedule=SigmaSchedule.AUTOMATIC),
    SchedulerRow(schedule=SigmaSchedule.UNIFORM, need_inner_model=True),
    SchedulerRow(schedule=SigmaSchedule.KARRAS, default_rho=7.0),
    SchedulerRow(schedule=SigmaSchedule.EXPONENTIAL),
    SchedulerRow(schedule=SigmaSchedule.POLYEXPONENTIAL, default_rho=1.0),
    SchedulerRow(schedule=SigmaSchedule.SGM_UNIFORM, need_inner_model=True, aliases=("SGMUniform",)),
    SchedulerRow(schedule=SigmaSchedule.KL_OPTIMAL),
    SchedulerRow(schedule=SigmaSchedule.ALIGN_YOUR_STEPS),
    SchedulerRow(schedule=SigmaSchedule.SIMPLE, need_inner_model=True),
    SchedulerRow(schedule=SigmaSchedule.NORMAL, need_inner_model=True),
    SchedulerRow(schedule=SigmaSchedule.DDIM, need_inner_model=True),
    SchedulerRow(schedule=SigmaSchedule.BETA, need_inner_model=True),
)
"""All of 1.10, in its order."""


def _fold(name: str) -> str:
    return " ".join(name.replace("_", " ").casefold().split())


_BY_NAME: Final = {_fold(name): row for row in SAMPLERS for name in (row.name, *row.aliases)}
_SCHEDULES: Final = {
    _fold(name): row.schedule for row in SCHEDULERS for name in (row.schedule.value, row.label, *row.aliases)
}


def find_schedule(name: str) -> SigmaSchedule | None:
    """By name or label; None for a name that is none."""
    return _SCHEDULES.get(_fold(name))


def reads(name: str, field: str) -> bool:
    """Whether a sampler by this name looks at one of READ_BY; true for a name that is none."""
    try:
        row, _ = _find_sampler(name)
    except Refusal:
        return True
    return row.sampler in READ_BY[field]


def choose_sampler(name: str, scheduler: str) -> tuple[Sampler, SigmaSchedule]:
    """What both names mean together; a name of old may have the schedule behind it ("DPM++ 2M Karras").

    Automatic is the sampler's own schedule there. Raises Refusal.
    """
    row, behind = _find_sampler(name)
    asked = find_schedule(scheduler or AUTOMATIC)
    if asked is None:
        raise Refusal(HTTPStatus.BAD_REQUEST, "Scheduler not found", code=SCHEDULER_NOT_FOUND)
    if asked is SigmaSchedule.AUTOMATIC:
        own = SigmaSchedule(row.options.get("scheduler", AUTOMATIC))
        return row.sampler, behind or own
    return row.sampler, asked


def _find_sampler(name: str) -> tuple[SamplerRow, SigmaSchedule | None]:
    """The sampler, and the schedule that its name ends in. Raises Refusal."""
    folded = _fold(name)
    if folded in _BY_NAME:
        return _BY_NAME[folded], None
    for ending, schedule in _SCHEDULES.items():
        row = _BY_NAME.get(folded.removesuffix(ending).rstrip())
        if row is not None and folded.endswith(ending):
            return row, schedule
    raise Refusal(HTTPStatus.BAD_REQUEST, "Sampler not found", code=SAMPLER_NOT_FOUND)
