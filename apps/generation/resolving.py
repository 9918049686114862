"""Fills in what a request leaves open, from the checkpoint's defaults and the pictures it brings."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import Any, TypeVar

from apps.core.errors import InvalidField
from apps.generation.checkpoint_defaults import CheckpointDefaults, usable_sampler
from apps.generation.choices import DENOISING_KINDS, TEXT_KINDS, Kind, Resize
from apps.generation.request import GenerationRequest
from apps.generation.resolved import ResolvedRequest, UsedHires
from apps.generation.sizes import (
    Size,
    asked_size,
    denoised_size,
    hires_size,
    size_of_picture,
    upscaled_size,
)
from apps.generation.used import NOTHING_CHOSEN, Chosen, UsedUpscale
from apps.generation.wishes import MAX_UPSCALED_PX, HiresWish, MaskWish, StoredPicture, VariationWish
from gpu_runtime.messages import Enlarging, Sampler, SigmaSchedule
from gpu_runtime.weights.family_facts import steps_from_picture

T = TypeVar("T")

# Drawn seeds stay in what signed 32-bit clients can send back.
MAX_DRAWN_SEED = 2**31 - 1
DEFAULT_STRENGTH = 0.7
WHOLE_STRENGTH = 1.0
# The longest side that the engine denoises.
MAX_HIRES_SIDE_PX = 2048


def resolve(
    request: GenerationRequest, defaults: CheckpointDefaults | None, chosen: Chosen = NOTHING_CHOSEN
) -> ResolvedRequest:
    """Fill in defaults, draw a seed. `defaults` is None for kinds that denoise nothing.

    Raises InvalidField beyond the checkpoint's sizes.
    """
    if defaults is None:
        assert request.kind not in DENOISING_KINDS
        # A check of a prompt alone has no picture.
        size = _size(request.image) if request.image is not None else (0, 0)
        own = _without_denoising(size)
    else:
        size, own = _denoised(request, defaults, chosen)
    seed = _given(request.seed, secrets.randbelow(MAX_DRAWN_SEED + 1))
    hires: UsedHires | None = own.get("hires")
    generated = (hires.output_width, hires.output_height) if hires else size
    return ResolvedRequest(
        kind=request.kind,
        checkpoint=request.checkpoint,
        prompt=request.prompt,
        width=size[0],
        height=size[1],
        num_images=0 if request.kind in TEXT_KINDS else request.num_images,
        seed=seed,
        variation=_variation(request),
        is_seamless=request.is_seamless,
        adapters=chosen.adapters,
        clip_skip=request.clip_skip or 0,
        prompt_style=request.prompt_style,
        tier=request.tier,
        # Previews would show what the check may yet replace.
        wants_previews=request.wants_previews and not (chosen.check and chosen.check.may_replace),
        image=request.image,
        mask=request.mask,
        mask_options=request.mask_options or MaskWish(),
        references=_references(request),
        mix=request.mix,
        resize=request.resize or Resize.STRETCH,
        expand=request.expand,
        controls=chosen.controls,
        ip_adapters=chosen.ip_adapters,
        refiner=chosen.refiner,
        upscale=_upscale(request, chosen, generated),
        background=chosen.background,
        face_swap=chosen.face_swap,
        faces=chosen.faces,
        detect=chosen.detect,
        reader=chosen.reader,
        text=request.text,
        check=chosen.check,
        output=request.output,
        **own,
    )


def _variation(request: GenerationRequest) -> VariationWish | None:
    """With its seed drawn where none is given."""
    wish = request.variation
    if wish is None:
        return None
    return replace(wish, seed=_given(wish.seed, secrets.randbelow(MAX_DRAWN_SEED + 1)))


def _without_denoising(size: Size) -> dict[str, Any]:
    """Any: the fields of ResolvedRequest that concern denoising."""
    return {
        "negative_prompt": "",
        "denoised_width": size[0],
        "denoised_height": size[1],
        "steps": 0,
        "guidance_scale": 0.0,
        "sampler": Sampler.EULER,
    }


def _denoised(
    request: GenerationRequest, defaults: CheckpointDefaults, chosen: Chosen
) -> tuple[Size, dict[str, Any]]:
    """The image's size, and the fields that concern denoising (Any: of several types)."""
    width, height = _image_size(request, defaults)
    denoised = denoised_size(
        width, height, longest_px=defaults.max_native_side_px, multiple_px=defaults.side_multiple_px
    )
    sampler, schedule = usable_sampler(request.sampler, request.schedule, defaults)
    strength = _strength(request)
    steps = request.steps or defaults.steps
    if _begins_from_picture(request) and not steps_from_picture(defaults.family, steps, strength):
        # Nothing would be left to do: the picture comes back as it is.
        steps, strength = 0, 0.0
    negative_prompt = request.negative_prompt
    return (width, height), {
        "negative_prompt": defaults.negative_prompt if negative_prompt is None else negative_prompt,
        "denoised_width": denoised[0],
        "denoised_height": denoised[1],
        "steps": steps,
        "guidance_scale": _given(request.guidance_scale, defaults.guidance_scale),
        "true_guidance_scale": _given(request.true_guidance_scale, 1.0),
        "sampler": sampler,
        "schedule": schedule,
        "strength": strength,
        "hires": _hires(request, defaults, chosen, steps, (width, height), denoised),
    }


def _strength(request: GenerationRequest) -> float:
    """What a caller who names none means: most of it anew, and all of what was masked or is new."""
    if request.strength is not None:
        return request.strength
    is_part_of_it = request.kind in (Kind.INPAINT, Kind.OUTPAINT) or request.mask is not None
    return WHOLE_STRENGTH if is_part_of_it or not _begins_from_picture(request) else DEFAULT_STRENGTH


def _begins_from_picture(request: GenerationRequest) -> bool:
    """Editing checkpoints look at the picture and begin from noise."""
    return request.image is not None and request.kind is not Kind.EDIT


def _references(request: GenerationRequest) -> tuple[StoredPicture, ...]:
    first = (request.image,) if request.kind is Kind.EDIT and request.image is not None else ()
    return first + request.references


def _image_size(request: GenerationRequest, defaults: CheckpointDefaults) -> Size:
    """Raises InvalidField beyond the checkpoint's sizes."""
    if request.expand is not None:
        return _expanded_size(request)
    leading = _leading_picture(request)
    if leading is not None and request.width is None and request.height is None and not request.aspect_ratio:
        return size_of_picture(
            _size(leading), shortest_px=defaults.min_side_px, longest_px=defaults.max_side_px
        )
    ratio = request.aspect_ratio or (_size(leading) if leading is not None else None)
    width, height = asked_size(
        width=request.width, height=request.height, aspect_ratio=ratio, native_px=defaults.native_px
    )
    for field_name, side in (("width", width), ("height", height)):
        if not defaults.min_side_px <= side <= defaults.max_side_px:
            allowed = f"{defaults.min_side_px} to {defaults.max_side_px}"
            problem = f"must be {allowed} for model {request.checkpoint}, not {side}"
            raise InvalidField(field=field_name, problem=problem)
    return width, height


def _leading_picture(request: GenerationRequest) -> StoredPicture | None:
    """The one whose size a request takes that names none."""
    if request.image is not None:
        return request.image
    if request.references:
        return request.references[0]
    return request.controls[0].picture if request.kind is Kind.CONTROLNET else None


def _expanded_size(request: GenerationRequest) -> Size:
    """The picture keeps every pixel, so the result is exactly as much larger as was asked."""
    assert request.expand is not None and request.image is not None
    grown = request.expand
    width = request.image.width + grown.left + grown.right
    height = request.image.height + grown.top + grown.bottom
    if max(width, height) > MAX_UPSCALED_PX:
        problem = f"would make {width} x {height}; at most {MAX_UPSCALED_PX} pixels a side come out"
        raise InvalidField(field="expand", problem=problem)
    return width, height


def _hires(
    request: GenerationRequest,
    defaults: CheckpointDefaults,
    chosen: Chosen,
    steps: int,
    size: Size,
    denoised: Size,
) -> UsedHires | None:
    wish = request.hires
    if wish is None:
        return None
    if not steps:
        raise InvalidField(field="hires", problem="needs a strength that leaves steps to do")
    larger = hires_size(denoised, wish, longest_px=MAX_HIRES_SIDE_PX, multiple_px=defaults.side_multiple_px)
    if not steps_from_picture(defaults.family, wish.steps or steps, wish.strength):
        problem = f"leaves none of {wish.steps or steps} steps to do at {wish.strength:g}"
        raise InvalidField(field="hires_strength", problem=problem)
    sampler, schedule = _later_sampler(wish, defaults)
    return UsedHires(
        prompt=wish.prompt,
        negative_prompt=wish.negative_prompt,
        sampler=sampler,
        schedule=schedule,
        width=larger[0],
        height=larger[1],
        steps=wish.steps or steps,
        strength=wish.strength,
        enlarges_latents=wish.enlarging is Enlarging.LATENTS,
        is_nearest=wish.enlarging is Enlarging.NEAREST,
        assets=chosen.hires_upscaler.assets,
        scale=chosen.hires_upscaler.scale,
        variant=chosen.hires_upscaler.variant,
        # An image that is denoised smaller than it is asked for grows in the same proportion.
        output_width=round(size[0] * larger[0] / denoised[0]),
        output_height=round(size[1] * larger[1] / denoised[1]),
    )


def _later_sampler(wish: HiresWish, defaults: CheckpointDefaults) -> tuple[Sampler | None, SigmaSchedule]:
    if wish.sampler is None:
        return None, SigmaSchedule.AUTOMATIC
    return usable_sampler(wish.sampler, wish.schedule, defaults)


def _upscale(request: GenerationRequest, chosen: Chosen, generated: Size) -> UsedUpscale | None:
    if request.upscale is None:
        return None
    width, height = upscaled_size(generated, request.upscale)
    return UsedUpscale(
        width=width,
        height=height,
        assets=chosen.upscaler.assets,
        scale=chosen.upscaler.scale,
        variant=chosen.upscaler.variant,
    )


def _size(picture: StoredPicture) -> Size:
    return picture.width, picture.height


def _given(value: T | None, default: T) -> T:
    return default if value is None else value
