"""Rules of admission for what a request brings beside its prompt: pictures, controls, IP-adapters."""

from __future__ import annotations

from gpu_runtime.batching.limits import Limits, Rule
from gpu_runtime.messages import ControlBalance, ControlRef, ImageRequest
from gpu_runtime.weights.family_facts import STEP_BATCHED, UNETS, steps_from_picture

EDITING = frozenset({("flux", "kontext")})
"""Families and variants among the step-batched ones that work from reference pictures."""


def _refuse_strength(request: ImageRequest, limits: Limits) -> str:
    strength = request.strength
    if not 0 < strength <= 1:
        return f"strength must be above 0 and at most 1, not {strength:g}"
    if request.image is None:
        return "" if strength == 1 else f"a strength of {strength:g} needs an init image, and there is none"
    if steps_from_picture(request.checkpoint.family, request.steps, strength) < 1:
        return f"a strength of {strength:g} leaves none of {request.steps} steps to do"
    return ""


def _refuse_mask(request: ImageRequest, limits: Limits) -> str:
    if request.mask is not None and request.image is None:
        return "a mask says what of an init image to make anew, and there is none"
    return ""


def _refuse_mix(request: ImageRequest, limits: Limits) -> str:
    mix, family = request.mix, request.checkpoint.family
    if mix is None:
        return ""
    if family not in UNETS:
        return f"mixing a picture in is not supported for family {family!r}"
    if request.image is None or request.mask is not None or request.refiner is not None:
        return "mixing a picture in needs an init image, and neither a mask nor a refiner beside it"
    if not 0 <= mix.share <= 1:
        return f"the share of the prompt in a mixture must be 0 to 1, not {mix.share:g}"
    if not 0 <= mix.until <= request.strength:
        return f"mixing must end between the strength, {request.strength:g}, and 0, not at {mix.until:g}"
    return ""


def _refuse_references(request: ImageRequest, limits: Limits) -> str:
    references, checkpoint = request.references, request.checkpoint
    if not references:
        return ""
    if checkpoint.family in STEP_BATCHED and (checkpoint.family, checkpoint.variant) not in EDITING:
        return f"checkpoint {checkpoint.name!r} does not edit: it works without reference pictures"
    if len(references) > limits.max_references:
        return f"a request has at most {limits.max_references} reference pictures, not {len(references)}"
    return ""


def _refuse_controls(request: ImageRequest, limits: Limits) -> str:
    controls, family = request.controls, request.checkpoint.family
    if controls and family not in STEP_BATCHED:
        return f"ControlNets are not supported for family {family!r}"
    if len(controls) > limits.max_controls:
        return f"a request has at most {limits.max_controls} ControlNets, not {len(controls)}"
    if family not in UNETS and any(each.balance is not ControlBalance.BALANCED for each in controls):
        return f"ControlNets are balanced for UNets alone, and family {family!r} has none"
    return next((reason for control in controls if (reason := _refuse_control(control, limits))), "")


def _refuse_control(control: ControlRef, limits: Limits) -> str:
    title, most = f"ControlNet {control.name!r}", limits.max_control_scale
    if not 0 <= control.scale <= most:
        return f"the scale of {title} must be 0 to {most:g}, not {control.scale:g}"
    if not 0 <= control.start < control.end <= 1:
        window = f"{control.start:g} to {control.end:g}"
        return f"{title} must act within 0 to 1 of the steps and end after it starts, not {window}"
    if control.mode is not None and control.mode < 0:
        return f"the mode of {title} must be 0 or more, not {control.mode}"
    return ""


def _refuse_ip_adapters(request: ImageRequest, limits: Limits) -> str:
    adapters, family = request.ip_adapters, request.checkpoint.family
    if adapters and family not in STEP_BATCHED:
        return f"IP-adapters are not supported for family {family!r}"
    if len(adapters) > limits.max_ip_adapters:
        return f"a request has at most {limits.max_ip_adapters} IP-adapters, not {len(adapters)}"
    for adapter in adapters:
        most = limits.max_ip_adapter_scale
        if not adapter.images:
            return f"IP-adapter {adapter.name!r} needs at least one picture"
        if not 0 <= adapter.scale <= most:
            return f"the scale of IP-adapter {adapter.name!r} must be 0 to {most:g}, not {adapter.scale:g}"
    return ""


PICTURE_RULES: tuple[Rule, ...] = (
    _refuse_strength,
    _refuse_mask,
    _refuse_mix,
    _refuse_references,
    _refuse_controls,
    _refuse_ip_adapters,
)
