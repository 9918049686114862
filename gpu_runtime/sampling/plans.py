"""The common samplers as arithmetic on many images at once, with numbers worked out beforehand.

A plan has one row of numbers for each call of a schedule and a rule that takes them. Rules do what the
diffusers class does, in the same order and from the same rounded numbers, so that both give the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

Numbers: TypeAlias = tuple[float, ...]
"""What a rule takes for one call of one image; all exact in float32."""

Stepped: TypeAlias = tuple[Tensor, Tensor | None]
"""The latents one call later, and what a multistep rule wants to see in the next call."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """What a rule takes for a group of images: float32 [images, C, h, w], all of one shape and device."""

    latents: Tensor
    prediction: Tensor
    numbers: tuple[Tensor, ...]
    """Each [images, 1, 1, 1]."""
    noise: Tensor | None = None
    """For rules that draw."""
    before: Tensor | None = None
    """What the rule remembered in the last call; anything where an image has no last call."""


Rule: TypeAlias = Callable[[Inputs], Stepped]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A noise scheduler's calls, ready to be done for many images."""

    rule: Rule
    """Images with the same rule may be stepped together."""
    numbers: tuple[Numbers, ...]
    """For each call of the whole schedule."""
    first_numbers: tuple[Numbers, ...] | None = None
    """In place of these for an image's first call, where a multistep rule has nothing to look back at."""
    draws: bool = False
    """Whether every call takes new noise from the image's generator."""
    remembers: bool = False

    def numbers_of(self, position: int, *, is_first: bool) -> Numbers:
        """What the rule takes at this call."""
        return (self.first_numbers if is_first and self.first_numbers else self.numbers)[position]


def plan_of(scheduler: Any) -> Plan | None:
    """The plan of a noise scheduler with its timesteps set; None for those that are stepped one by one.

    Any: untyped in diffusers.
    """
    make = _PLANS.get(type(scheduler).__name__)
    return make(scheduler) if make is not None else None


def _euler(scheduler: Any) -> Plan | None:
    rule = {"epsilon": _euler_of_noise, "v_prediction": _euler_of_velocity}.get(_kind(scheduler))
    if rule is None:
        return None
    levels, calls = scheduler.sigmas, range(len(scheduler.timesteps))
    return Plan(rule=rule, numbers=tuple(_euler_numbers(levels[i], levels[i + 1] - levels[i]) for i in calls))


def _euler_ancestral(scheduler: Any) -> Plan | None:
    rule = {"epsilon": _ancestral_of_noise, "v_prediction": _ancestral_of_velocity}.get(_kind(scheduler))
    if rule is None:
        return None
    numbers = []
    for position in range(len(scheduler.timesteps)):
        level, lower = scheduler.sigmas[position], scheduler.sigmas[position + 1]
        up = (lower**2 * (level**2 - lower**2) / level**2) ** 0.5
        down = (lower**2 - up**2) ** 0.5
        numbers.append((*_euler_numbers(level, down - level), up.item()))
    return Plan(rule=rule, numbers=tuple(numbers), draws=True)


def _euler_numbers(level: Tensor, width: Tensor) -> Numbers:
    """Level, width of the step, and the two numbers that velocity takes."""
    return level.item(), width.item(), (-level / (level**2 + 1) ** 0.5).item(), (level**2 + 1).item()


def _euler_of_noise(inputs: Inputs) -> Stepped:
    level, width, *_ = inputs.numbers
    return _along_slope(inputs.latents, inputs.latents - level * inputs.prediction, level, width), None


def _euler_of_velocity(inputs: Inputs) -> Stepped:
    level, width, output, skip, *_ = inputs.numbers
    denoised = inputs.prediction * output + (inputs.latents / skip)
    return _along_slope(inputs.latents, denoised, level, width), None


def _ancestral_of_noise(inputs: Inputs) -> Stepped:
    return _with_noise(_euler_of_noise(inputs)[0], inputs), None


def _ancestral_of_velocity(inputs: Inputs) -> Stepped:
    return _with_noise(_euler_of_velocity(inputs)[0], inputs), None


def _with_noise(moved: Tensor, inputs: Inputs) -> Tensor:
    assert inputs.noise is not None
    return moved + inputs.noise * inputs.numbers[-1]


def _along_slope(latents: Tensor, denoised: Tensor, level: Tensor, width: Tensor) -> Tensor:
    slope = (latents - denoised) / level
    return latents + slope * width


def _ddim(scheduler: Any) -> Plan | None:
    rule = {"epsilon": _ddim_of_noise, "v_prediction": _ddim_of_velocity}.get(_kind(scheduler))
    if rule is None or scheduler.config.thresholding or scheduler.config.clip_sample:
        return None
    numbers = []
    width = scheduler.config.num_train_timesteps // scheduler.num_inference_steps
    for time in scheduler.timesteps.tolist():
        kept = scheduler.alphas_cumprod[time]
        earlier = time - width
        kept_then = scheduler.alphas_cumprod[earlier] if earlier >= 0 else scheduler.final_alpha_cumprod
        noise, direction = (1 - kept) ** 0.5, (1 - kept_then) ** 0.5
        numbers.append(tuple(each.item() for each in (kept**0.5, noise, kept_then**0.5, direction)))
    return Plan(rule=rule, numbers=tuple(numbers))


def _ddim_of_noise(inputs: Inputs) -> Stepped:
    signal, noise, signal_then, direction = inputs.numbers
    denoised = (inputs.latents - noise * inputs.prediction) / signal
    return signal_then * denoised + direction * inputs.prediction, None


def _ddim_of_velocity(inputs: Inputs) -> Stepped:
    signal, noise, signal_then, direction = inputs.numbers
    denoised = signal * inputs.latents - noise * inputs.prediction
    predicted = signal * inputs.prediction + noise * inputs.latents
    return signal_then * denoised + direction * predicted, None


def _dpm_multistep(scheduler: Any) -> Plan | None:
    """Second order, deterministic: DPM++ 2M and its flow form."""
    config = scheduler.config
    rules = {"epsilon": _2m_of_noise, "v_prediction": _2m_of_velocity, "flow_prediction": _2m_of_flow}
    usual = ("dpmsolver++", "midpoint", 2, False)
    asked = (config.algorithm_type, config.solver_type, config.solver_order, config.thresholding)
    rule = rules.get(_kind(scheduler))
    if rule is None or asked != usual or config.variance_type is not None:
        return None
    calls = len(scheduler.timesteps)
    ends_in_first_order = (
        config.euler_at_final
        or (config.lower_order_final and calls < 15)
        or config.final_sigmas_type == "zero"
    )
    first = tuple(_2m_numbers(scheduler, position, is_first=True) for position in range(calls))
    numbers = tuple(
        first[position]
        if position == 0 or (position == calls - 1 and ends_in_first_order)
        else _2m_numbers(scheduler, position, is_first=False)
        for position in range(calls)
    )
    return Plan(rule=rule, numbers=numbers, first_numbers=first, remembers=True)


def _2m_numbers(scheduler: Any, position: int, *, is_first: bool) -> Numbers:
    """Signal and noise at the call, share of the latents, of the denoised ones, and of their change."""
    split = scheduler._sigma_to_alpha_sigma_t
    signal, noise = split(scheduler.sigmas[position])
    signal_then, noise_then = split(scheduler.sigmas[position + 1])
    place = torch.log(signal) - torch.log(noise)
    width = torch.log(signal_then) - torch.log(noise_then) - place
    grown = signal_then * (torch.exp(-width) - 1.0)
    common = (signal.item(), noise.item(), (noise_then / noise).item(), grown.item())
    if is_first:
        return (*common, 0.0, 0.0)
    signal_before, noise_before = split(scheduler.sigmas[position - 1])
    ratio = (place - (torch.log(signal_before) - torch.log(noise_before))) / width
    return (*common, (1.0 / ratio).item(), (0.5 * grown).item())


def _2m_of_noise(inputs: Inputs) -> Stepped:
    signal, noise = inputs.numbers[:2]
    return _second_order(inputs, (inputs.latents - noise * inputs.prediction) / signal)


def _2m_of_velocity(inputs: Inputs) -> Stepped:
    signal, noise = inputs.numbers[:2]
    return _second_order(inputs, signal * inputs.latents - noise * inputs.prediction)


def _2m_of_flow(inputs: Inputs) -> Stepped:
    return _second_order(inputs, inputs.latents - inputs.numbers[1] * inputs.prediction)


def _second_order(inputs: Inputs, denoised: Tensor) -> Stepped:
    """Where the last two numbers are 0, the step of first order to the bit: what is subtracted is 0."""
    assert inputs.before is not None
    kept, grown, change, bend = inputs.numbers[2:]
    difference = change * (denoised - inputs.before)
    return kept * inputs.latents - grown * denoised - bend * difference, denoised


def _flow_euler(scheduler: Any) -> Plan | None:
    if scheduler.config.stochastic_sampling:
        return None
    widths = scheduler.sigmas[1:] - scheduler.sigmas[:-1]
    return Plan(rule=_flow_step, numbers=tuple((width,) for width in widths.tolist()))


def _flow_step(inputs: Inputs) -> Stepped:
    (width,) = inputs.numbers
    return inputs.latents + width * inputs.prediction, None


def _kind(scheduler: Any) -> str:
    return str(scheduler.config.prediction_type)


_PLANS: Mapping[str, Callable[[Any], Plan | None]] = {
    "EulerDiscreteScheduler": _euler,
    "EulerAncestralDiscreteScheduler": _euler_ancestral,
    "DDIMScheduler": _ddim,
    "DPMSolverMultistepScheduler": _dpm_multistep,
    "FlowMatchEulerDiscreteScheduler": _flow_euler,
}
