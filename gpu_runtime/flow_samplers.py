"""Samplers of rectified-flow families (SD3, Flux): networks that predict the velocity from data to noise.

The noise level sigma runs from 1 to 0 and the timestep is 1000 sigma. A checkpoint's scheduler configuration
says how far the levels are shifted towards noise: by a fixed `shift`, or by one that grows with the number of
image tokens ("dynamic shifting"). The fixed shift s and the dynamic mu are the same formula with s = exp(mu).
Source: Esser et al. 2024, arXiv:2403.03206, section 5.3.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import diffusers
import numpy as np
import torch

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.messages import Sampler, SigmaSchedule
from gpu_runtime.samplers import SamplerSpec, SchedulerConfig, spec_of
from gpu_runtime.sampling.prepared import Prepared, Shelf
from gpu_runtime.sampling.row_sampler import RowSampler
from gpu_runtime.sampling.scheduler_sampler import SchedulerSampler
from gpu_runtime.sampling.window import Part, window_of

MULTISTEP = {
    "use_flow_sigmas": True,
    "prediction_type": "flow_prediction",
    "use_dynamic_shifting": False,
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
}
"""What turns a solver for noise schedules into one for flow; the shift is handed over as a fixed one. These
classes look at the last three first, and make levels of noise schedules then, on which flows break down."""

FLOW_SAMPLERS: dict[Sampler, SamplerSpec] = {
    Sampler.EULER: SamplerSpec("FlowMatchEulerDiscreteScheduler"),
    Sampler.HEUN: SamplerSpec("FlowMatchHeunDiscreteScheduler"),
    Sampler.DPMPP_2M: SamplerSpec("DPMSolverMultistepScheduler", MULTISTEP),
    Sampler.UNIPC: SamplerSpec("UniPCMultistepScheduler", MULTISTEP),
}


class FlowSamplerFactory:
    """Makes the samplers of one rectified-flow checkpoint's images."""

    def __init__(self, config: SchedulerConfig, device: torch.device, *, starts_even: bool) -> None:
        """`starts_even`: before the shift, Euler's levels are 1, 1 - 1/n ... 1/n, as Flux was trained to use.

        Otherwise they end at the smallest level of the training schedule. Raises UnsupportedCombination for
        a configuration that is none of a rectified flow.
        """
        if not _is_flow(config):
            declared = config.get("_class_name")
            raise UnsupportedCombination(f"{declared}, which the checkpoint declares, is no rectified flow")
        self._config = config
        self._device = device
        self._starts_even = starts_even
        self._prepared: Shelf[Prepared] = Shelf()

    def make(
        self,
        sampler: Sampler,
        *,
        steps: int,
        seed: int,
        image_tokens: int,
        schedule: SigmaSchedule = SigmaSchedule.AUTOMATIC,
        strength: float = 1.0,
        begin_at: float | None = None,
        end_at: float | None = None,
    ) -> RowSampler:
        """The sampler of one image, where it begins. Raises UnsupportedCombination.

        `strength` is that of the families' image-to-image pipelines, which round otherwise than those of
        Stable Diffusion; `begin_at` and `end_at` are shares of the noise levels from 1 to 0.
        """
        spec = spec_of(sampler, FLOW_SAMPLERS)
        if schedule is not SigmaSchedule.AUTOMATIC:
            raise UnsupportedCombination(f"schedule {schedule.value} does not fit a rectified flow")
        mu = dynamic_shift(self._config, image_tokens)
        prepared = self._prepared.get(
            (sampler, steps, mu), lambda: Prepared.of(self._prepare(sampler, spec, steps, mu))
        )
        window = window_of(
            Part(strength, begin_at, end_at),
            prepared.times,
            steps=steps,
            order=prepared.scheduler.order,
            train_steps=prepared.scheduler.config.num_train_timesteps,
            skips_whole_steps=True,
        )
        return SchedulerSampler(prepared, window, seed=seed, device=self._device)

    def _prepare(self, sampler: Sampler, spec: SamplerSpec, steps: int, mu: float | None) -> Any:  # untyped
        if sampler is Sampler.EULER:
            return self._euler(steps, mu)
        if sampler is Sampler.HEUN:
            return self._heun(spec, steps, mu)
        shift = _fixed_shift(self._config) if mu is None else _shift_of(mu, self._config)
        scheduler = _build(spec, self._config, steps, {**spec.overrides, "flow_shift": shift})
        scheduler.set_timesteps(steps, device=self._device)
        return scheduler

    def _euler(self, steps: int, mu: float | None) -> Any:  # an untyped diffusers class
        shift = {"shift": _fixed_shift(self._config)}
        scheduler = _build(FLOW_SAMPLERS[Sampler.EULER], self._config, steps, shift)
        if self._starts_even:
            even = np.linspace(1.0, 1 / steps, steps)
            scheduler.set_timesteps(sigmas=even, mu=mu, device=self._device)
        else:
            scheduler.set_timesteps(steps, mu=mu, device=self._device)
        return scheduler

    def _heun(self, spec: SamplerSpec, steps: int, mu: float | None) -> Any:  # an untyped diffusers class
        """Heun's method on Euler's noise levels: its own class knows no dynamic shift.

        With a fixed shift these are the levels that the class computes itself.
        """
        levels = self._euler(steps, mu)
        scheduler = _build(spec, self._config, steps, {"shift": _fixed_shift(self._config)})
        scheduler.set_timesteps(steps, device=self._device)
        times, sigmas = levels.timesteps, levels.sigmas
        scheduler.timesteps = torch.cat([times[:1], times[1:].repeat_interleave(2)])
        scheduler.sigmas = torch.cat([sigmas[:1], sigmas[1:-1].repeat_interleave(2), sigmas[-1:]])
        return scheduler


def dynamic_shift(config: SchedulerConfig, image_tokens: int) -> float | None:
    """mu for this many image tokens, on the line through the configuration's two points; None where fixed.

    Two points of one size make no line: the first one's shift holds for all sizes then.
    """
    if not config.get("use_dynamic_shifting", False):
        return None
    base_tokens, most_tokens = config.get("base_image_seq_len", 256), config.get("max_image_seq_len", 4096)
    base, most = config.get("base_shift", 0.5), config.get("max_shift", 1.15)
    if most_tokens == base_tokens:
        return float(base)
    slope = (most - base) / (most_tokens - base_tokens)
    return float(image_tokens * slope + (base - slope * base_tokens))


def _shift_of(mu: float, config: SchedulerConfig) -> float:
    """The fixed shift that does what `mu` does."""
    return mu if config.get("time_shift_type", "exponential") == "linear" else math.exp(mu)


def _fixed_shift(config: SchedulerConfig) -> float:
    """`shift` of the flow-matching classes, `flow_shift` of the multistep ones."""
    return float(config["shift"] if "shift" in config else config.get("flow_shift", 1.0))


def _is_flow(config: SchedulerConfig) -> bool:
    return bool(config.get("use_flow_sigmas")) or str(config.get("_class_name", "")).startswith("FlowMatch")


def _build(
    spec: SamplerSpec, config: SchedulerConfig, steps: int, overrides: Mapping[str, object]
) -> Any:  # an untyped diffusers class
    if steps == 1:
        # The levels are stretched so that the last one is this; a single one is the first as well: 0 / 0.
        config = {**config, "shift_terminal": None}
    return getattr(diffusers, spec.scheduler).from_config(config, **overrides)
