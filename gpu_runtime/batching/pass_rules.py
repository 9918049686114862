"""Rules of admission for further passes over a request's images: refiner and hi-res fix."""

from __future__ import annotations

from gpu_runtime.batching.limits import Limits, Rule
from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.messages import Enlarging, HiresFix, ImageRequest, OnPixels
from gpu_runtime.weights.family_facts import STEP_BATCHED, UNETS, facts_of, steps_from_picture

REFINED = "sdxl"
"""The one family whose noise schedule was split between two checkpoints in training."""

SIDE_MULTIPLE_PX = 8


def _refuse_refiner(request: ImageRequest, limits: Limits) -> str:
    refiner = request.refiner
    if refiner is None:
        return ""
    if request.checkpoint.family != REFINED:
        return f"refiners are for family {REFINED!r}, not for {request.checkpoint.family!r}"
    if refiner.checkpoint.family != REFINED:
        return f"a refiner must be of family {REFINED!r}, not {refiner.checkpoint.family!r}"
    if not 0 < refiner.switch_at < 1:
        return f"switch_at of the refiner must be above 0 and below 1, not {refiner.switch_at:g}"
    return ""


def _refuse_hires(request: ImageRequest, limits: Limits) -> str:
    hires, family = request.hires, request.checkpoint.family
    if hires is None:
        return ""
    if family not in STEP_BATCHED:
        return f"hi-res fix is not supported for family {family!r}"
    return (
        _refuse_hires_sides(request, hires, limits)
        or _refuse_hires_steps(request, hires, limits)
        or _refuse_hires_prompts(hires, limits)
    )


def _refuse_hires_sides(request: ImageRequest, hires: HiresFix, limits: Limits) -> str:
    facts = facts_of(request.checkpoint.family)
    multiple = facts.side_multiple_px if facts else SIDE_MULTIPLE_PX
    for name, side, first in (
        ("width", hires.width, request.width),
        ("height", hires.height, request.height),
    ):
        if side % multiple:
            return f"{name} of hires must be a multiple of {multiple}, not {side}"
        if not first <= side <= limits.max_side_px:
            return f"{name} of hires must be {first} to {limits.max_side_px} pixels, not {side}"
    if (hires.width, hires.height) == (request.width, request.height):
        return f"hires must be larger than the first pass, not {hires.width} x {hires.height} as well"
    return ""


def _refuse_hires_steps(request: ImageRequest, hires: HiresFix, limits: Limits) -> str:
    sampler = hires.sampler or request.sampler
    most = limits.max_steps.get(sampler, limits.max_steps_default)
    if not 0 < hires.strength <= 1:
        return f"strength of hires must be above 0 and at most 1, not {hires.strength:g}"
    if not 1 <= hires.steps <= most:
        return f"steps of hires must be 1 to {most} with sampler {sampler.value}, not {hires.steps}"
    if steps_from_picture(request.checkpoint.family, hires.steps, hires.strength) < 1:
        return f"a strength of {hires.strength:g} leaves none of the {hires.steps} steps of hires to do"
    return ""


def _refuse_hires_prompts(hires: HiresFix, limits: Limits) -> str:
    for name, text in (("prompt", hires.prompt), ("negative_prompt", hires.negative_prompt)):
        if len(text or "") > limits.max_prompt_chars:
            return f"{name} of hires must have at most {limits.max_prompt_chars} characters"
    return ""


def _refuse_seamless(request: ImageRequest, limits: Limits) -> str:
    family = request.checkpoint.family
    if not request.is_seamless or family in UNETS:
        return ""
    return f"seamless images are not supported for family {family!r}"


def require_between(request: ImageRequest, on_between: OnPixels | None) -> None:
    """Raises UnsupportedCombination where the image would wait between its passes for ever."""
    is_needed = request.hires is not None and request.hires.enlarging is Enlarging.OPERATIONS
    if is_needed and on_between is None:
        raise UnsupportedCombination("nobody enlarges the image between the passes of this request")


PASS_RULES: tuple[Rule, ...] = (_refuse_refiner, _refuse_hires, _refuse_seamless)
