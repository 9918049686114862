"""User-facing samplers as noise schedulers of diffusers and of our own, set up for a checkpoint.

Every image owns its noise scheduler and its CPU generator, so its noise depends on its seed alone: not on
the device, the neighbours or the step at which it was paused. Knows nothing about prompts or networks.

Two habits of diffusers' pipelines are repeated here because images depend on them: Stable Diffusion 1 and 2
correct the checkpoint's own scheduler configuration to `steps_offset=1, clip_sample=False`
(`pipeline_config`), and samplers that take `eta` get 0.

This file serves networks that predict noise or velocity on a variance-preserving schedule, and those that
were trained with the preconditioning of Karras et al. (EDM). Rectified flow is in `flow_samplers.py`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import diffusers
import torch
from diffusers.configuration_utils import FrozenDict

from gpu_runtime.errors import CheckpointMissing, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.messages import Sampler, SigmaSchedule
from gpu_runtime.sampler_facts import schedules_of
from gpu_runtime.sampling.algorithm import Algorithm, AlgorithmSampler
from gpu_runtime.sampling.ancestral import dpmpp_2s_a, dpmpp_sde
from gpu_runtime.sampling.built import EULER, build
from gpu_runtime.sampling.dpm_solver import dpm_adaptive, dpm_fast
from gpu_runtime.sampling.grid import Grid, grid_of
from gpu_runtime.sampling.multistep import ipndm, lms
from gpu_runtime.sampling.prepared import Prepared, Shelf
from gpu_runtime.sampling.restart import restart
from gpu_runtime.sampling.row_sampler import RowSampler
from gpu_runtime.sampling.scheduler_sampler import SchedulerSampler
from gpu_runtime.sampling.schedules import ALIGNED_SD
from gpu_runtime.sampling.window import Part, window_of


@dataclass(frozen=True, slots=True)
class SamplerSpec:
    """One row of the table."""

    scheduler: str
    """Class name in diffusers."""
    overrides: Mapping[str, object] = field(default_factory=dict)
    """Settings that differ from the checkpoint's scheduler configuration."""
    max_steps: int = 150
    """The sampler's own limit where it has one."""


UNCLIPPED = {"clip_sample": False}
"""These classes clip to -1..1 where the configuration is silent, which is meant for pixels, not latents."""

STOCHASTIC = {"algorithm_type": "sde-dpmsolver++"}

SAMPLERS: dict[Sampler, SamplerSpec] = {
    Sampler.EULER: SamplerSpec(EULER),
    Sampler.EULER_A: SamplerSpec("EulerAncestralDiscreteScheduler"),
    Sampler.HEUN: SamplerSpec("HeunDiscreteScheduler"),
    Sampler.KDPM2: SamplerSpec("KDPM2DiscreteScheduler"),
    Sampler.KDPM2_A: SamplerSpec("KDPM2AncestralDiscreteScheduler"),
    Sampler.DPMPP_2M: SamplerSpec("DPMSolverMultistepScheduler"),
    Sampler.DPMPP_2M_SDE: SamplerSpec("DPMSolverMultistepScheduler", STOCHASTIC),
    Sampler.DPMPP_2M_SDE_HEUN: SamplerSpec(
        "DPMSolverMultistepScheduler", {**STOCHASTIC, "solver_type": "heun"}
    ),
    Sampler.DPMPP_3M_SDE: SamplerSpec("DPMSolverMultistepScheduler", {**STOCHASTIC, "solver_order": 3}),
    Sampler.DPMPP_2S: SamplerSpec("DPMSolverSinglestepScheduler", {"lower_order_final": True}),
    Sampler.DEIS: SamplerSpec("DEISMultistepScheduler"),
    Sampler.UNIPC: SamplerSpec("UniPCMultistepScheduler"),
    Sampler.DDIM: SamplerSpec("DDIMScheduler", UNCLIPPED),
    Sampler.DDPM: SamplerSpec("DDPMScheduler", UNCLIPPED),
    Sampler.PNDM: SamplerSpec("PNDMScheduler", {"skip_prk_steps": True}),
    # 50 is the number of steps the consistency schedule was distilled with (its original_inference_steps).
    Sampler.LCM: SamplerSpec("LCMScheduler", max_steps=50),
}
"""Samplers that diffusers has a class for that runs here."""

ALGORITHMS: dict[Sampler, Algorithm] = {
    Sampler.LMS: lms,
    Sampler.IPNDM: ipndm,
    Sampler.DPM_FAST: dpm_fast,
    Sampler.DPM_ADAPTIVE: dpm_adaptive,
    Sampler.DPMPP_2S_A: dpmpp_2s_a,
    Sampler.DPMPP_SDE: dpmpp_sde,
    Sampler.RESTART: restart,
}
"""Those it has none for, or one that needs a package we do without (scipy, torchsde)."""

EDM_SAMPLERS: dict[Sampler, SamplerSpec] = {
    Sampler.EULER: SamplerSpec("EDMEulerScheduler"),
    Sampler.DPMPP_2M: SamplerSpec("EDMDPMSolverMultistepScheduler"),
}
"""For checkpoints whose scheduler configuration is one of these classes, such as Playground v2.5."""

EDM_SCHEDULES: dict[SigmaSchedule, Mapping[str, object]] = {
    # Both classes space their noise levels as in Karras et al. unless the checkpoint says otherwise.
    SigmaSchedule.AUTOMATIC: {},
    SigmaSchedule.KARRAS: {"sigma_schedule": "karras"},
    SigmaSchedule.EXPONENTIAL: {"sigma_schedule": "exponential"},
}
"""What these classes have for schedules."""

DECLARED_ONLY: dict[str, str] = {
    # Needs scipy; both take the same settings.
    "LMSDiscreteScheduler": "EulerDiscreteScheduler",
    "TCDScheduler": "TCDScheduler",
    "FlowMatchEulerDiscreteScheduler": "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler": "FlowMatchHeunDiscreteScheduler",
}
"""Classes that checkpoints name besides those of the tables here, and the class that reads their settings."""

MAX_STEPS = {sampler: SAMPLERS[sampler].max_steps if sampler in SAMPLERS else 150 for sampler in Sampler}

MAX_NOISE_LEVELS = 100_000
"""A hundred times what checkpoints have; schedulers make tables of so many rows."""

SchedulerConfig: TypeAlias = dict[str, Any]
"""A checkpoint's scheduler configuration as diffusers holds it."""


def read_scheduler_config(folder: Path) -> SchedulerConfig:
    """The configuration that all samplers of a checkpoint start from; `folder` holds scheduler_config.json.

    Raises CheckpointMissing without the file, WeightsCorrupt when it names no known noise scheduler.
    """
    file = folder / "scheduler_config.json"
    if not file.is_file():
        raise CheckpointMissing(f"{file} is missing")
    values = read_scheduler_values(file)
    class_name = values.get("_class_name")
    known = {spec.scheduler for spec in (*SAMPLERS.values(), *EDM_SAMPLERS.values())} | set(DECLARED_ONLY)
    if not isinstance(class_name, str) or class_name not in known:
        raise WeightsCorrupt(f"scheduler class {class_name!r} is none of {', '.join(sorted(known))}")
    # Building the declared class fills in its own defaults, which from_config then hands to the sampler's
    # class or not, exactly as it does when a pipeline swaps its scheduler.
    scheduler_class = getattr(diffusers, DECLARED_ONLY.get(class_name, class_name))
    try:
        config: SchedulerConfig = scheduler_class.from_config(values).config
    except (TypeError, ValueError, NotImplementedError, RuntimeError) as error:
        raise WeightsCorrupt(f"{file} is not a scheduler configuration: {error}") from error
    return config


def read_scheduler_values(file: Path) -> dict[str, Any]:
    """The settings in a scheduler_config.json, whatever the class. Any: JSON.

    Raises WeightsCorrupt for damage, and for more noise levels than memory should be spent on.
    """
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsCorrupt(f"{file} is not a scheduler configuration: {error}") from error
    if not isinstance(values, dict):
        raise WeightsCorrupt(f"{file} is not a scheduler configuration: it is no object")
    levels = values.get("num_train_timesteps", 1)
    if type(levels) is not int or not 1 <= levels <= MAX_NOISE_LEVELS:
        raise WeightsCorrupt(f"{file} has a num_train_timesteps that is none from 1 to {MAX_NOISE_LEVELS}")
    return values


def pipeline_config(config: SchedulerConfig) -> SchedulerConfig:
    """The configuration after the corrections that StableDiffusionPipeline.__init__ makes."""
    values = dict(config)
    if values.get("steps_offset", 1) != 1:
        values["steps_offset"] = 1
    if values.get("clip_sample", False) is True:
        values["clip_sample"] = False
    return FrozenDict(values)


class SamplerFactory:
    """Makes the samplers of one checkpoint's images."""

    def __init__(
        self, config: SchedulerConfig, device: torch.device, *, aligned: tuple[float, ...] = ALIGNED_SD
    ) -> None:
        """`aligned`: noise levels of the schedule ALIGN_YOUR_STEPS for the checkpoint's family."""
        self._config = config
        self._device = device
        self._aligned = aligned
        self._is_edm = str(config.get("_class_name", "")).startswith("EDM")
        self._prepared: Shelf[Prepared] = Shelf()
        self._grids: Shelf[Grid] = Shelf()

    def make(
        self,
        sampler: Sampler,
        *,
        steps: int,
        seed: int,
        schedule: SigmaSchedule = SigmaSchedule.AUTOMATIC,
        strength: float = 1.0,
        begin_at: float | None = None,
        end_at: float | None = None,
    ) -> RowSampler:
        """The sampler of one image, where it begins. Raises UnsupportedCombination.

        `strength` is that of the image-to-image pipelines, `begin_at` and `end_at` are `denoising_start` and
        `denoising_end` of the SDXL ones: see `sampling.window.Part`.
        """
        part = Part(strength, begin_at, end_at)
        if self._is_edm:
            if begin_at is not None or end_at is not None:
                raise UnsupportedCombination("checkpoints trained as in EDM share no steps with another")
            return self._with_class(spec_of(sampler, EDM_SAMPLERS), sampler, schedule, steps, seed, part)
        if schedule not in schedules_of(sampler):
            raise UnsupportedCombination(f"schedule {schedule.value} does not fit sampler {sampler.value}")
        if sampler in ALGORITHMS:
            return self._with_algorithm(sampler, schedule, steps, seed, part)
        return self._with_class(spec_of(sampler, SAMPLERS), sampler, schedule, steps, seed, part)

    def _with_class(
        self,
        spec: SamplerSpec,
        sampler: Sampler,
        schedule: SigmaSchedule,
        steps: int,
        seed: int,
        part: Part,
    ) -> RowSampler:
        prepared = self._prepared.get(
            (sampler, schedule, steps), lambda: Prepared.of(self._prepare(spec, schedule, steps))
        )
        window = window_of(
            part,
            prepared.times,
            steps=steps,
            order=prepared.scheduler.order,
            train_steps=prepared.scheduler.config.num_train_timesteps,
        )
        return SchedulerSampler(prepared, window, seed=seed, device=self._device)

    def _with_algorithm(
        self, sampler: Sampler, schedule: SigmaSchedule, steps: int, seed: int, part: Part
    ) -> RowSampler:
        # The algorithms run on the steps that are left, so they have no order for the window to count.
        grid = self._grids.get((schedule, steps), lambda: self._grid(schedule, steps))
        window = window_of(part, grid.times, steps=steps, order=1, train_steps=len(grid.log_table))
        grid = grid.part(window.begin, window.end)
        return AlgorithmSampler(ALGORITHMS[sampler], grid, seed=seed, device=self._device)

    def _prepare(self, spec: SamplerSpec, schedule: SigmaSchedule, steps: int) -> Any:  # untyped class
        overrides = spec.overrides
        if self._is_edm:
            if schedule not in EDM_SCHEDULES:
                raise UnsupportedCombination(f"schedule {schedule.value} does not fit this checkpoint")
            overrides, schedule = EDM_SCHEDULES[schedule], SigmaSchedule.AUTOMATIC
        return self._build(spec.scheduler, overrides, schedule, steps)

    def _grid(self, schedule: SigmaSchedule, steps: int) -> Grid:
        return grid_of(self._build(EULER, {"final_sigmas_type": "zero"}, schedule, steps))

    def _build(
        self, class_name: str, overrides: Mapping[str, object], schedule: SigmaSchedule, steps: int
    ) -> Any:  # untyped diffusers class
        return build(
            class_name,
            self._config,
            overrides,
            schedule,
            steps=steps,
            device=self._device,
            aligned=self._aligned,
        )


def spec_of(sampler: Sampler, table: Mapping[Sampler, SamplerSpec]) -> SamplerSpec:
    """The table's row. Raises UnsupportedCombination where it has none."""
    spec = table.get(sampler)
    if spec is None:
        usable = ", ".join(each.value for each in table)
        raise UnsupportedCombination(
            f"sampler {sampler.value} does not fit this checkpoint; usable: {usable}"
        )
    return spec
