"""What goes with which kind, and what is said of what does not."""

from __future__ import annotations

from typing import Any

import pytest

from apps.core.errors import InvalidField
from apps.generation.choices import ControlType, FaceChoice, Kind
from apps.generation.kind_rules import OPTIONAL, RULES
from apps.generation.request import GenerationRequest
from apps.generation.wishes import (
    BackgroundWish,
    ControlWish,
    DetectWish,
    ExpandWish,
    FaceSwapWish,
    FaceWish,
    HiresWish,
    IpAdapterWish,
    LoraWish,
    MaskWish,
    MixWish,
    OutputWish,
    RefinerWish,
    SafetyWish,
    UpscaleWish,
    VariationWish,
)
from gpu_runtime.messages import Sampler
from tests.apps.generation.utilities import picture

PICTURE = picture()
PARTS: dict[str, Any] = {
    "prompt": "a cat",
    "checkpoint": "tiny",
    "image": PICTURE,
    "mask": PICTURE,
    "references": (PICTURE,),
    "strength": 0.5,
    "mix": MixWish(),
    "resize": "crop",
    "mask_options": MaskWish(),
    "expand": ExpandWish(left=8),
    "controls": (ControlWish(picture=PICTURE, type=ControlType.CANNY),),
    "ip_adapters": (IpAdapterWish(name="a", pictures=(PICTURE,)),),
    "refiner": RefinerWish(checkpoint="r"),
    "hires": HiresWish(),
    "upscale": UpscaleWish(),
    "background": BackgroundWish(),
    "face_swap": FaceSwapWish(source=PICTURE),
    "faces": (FaceWish(),),
    "variation": VariationWish(),
    "is_seamless": True,
    "detect": DetectWish(type=ControlType.CANNY),
    "safety": SafetyWish(),
    "text": "a cat",
    "loras": (LoraWish(name="a"),),
    "embeddings": ("a",),
    "vae": "a",
    "clip_skip": 1,
    "true_guidance_scale": 2.0,
    "width": 64,
    "height": 64,
    "aspect_ratio": (1, 1),
}


EITHER: dict[Kind, dict[str, Any]] = {
    Kind.EDIT: {"image": PICTURE},
    Kind.OBJECT_REMOVAL: {"text": "a chair"},
    Kind.NSFW_CHECK: {"image": PICTURE},
}
"""One of two parts that kinds need the one or the other of."""


def needed_by(kind: Kind) -> dict[str, Any]:
    fields = {name: PARTS[name] for name in RULES[kind].needs}
    return {"kind": kind, **fields, **EITHER.get(kind, {})}


def test_a_check_wants_a_picture_or_a_prompt() -> None:
    GenerationRequest(kind=Kind.NSFW_CHECK, prompt="a cat")
    GenerationRequest(kind=Kind.NSFW_CHECK, prompt="a cat", image=PICTURE)
    for blank in ("", "  "):
        with pytest.raises(InvalidField, match="image is required, or a prompt to check"):
            GenerationRequest(kind=Kind.NSFW_CHECK, prompt=blank)


@pytest.mark.parametrize("kind", list(Kind))
def test_what_a_kind_needs_is_enough(kind: Kind) -> None:
    assert GenerationRequest(**needed_by(kind)).kind is kind


@pytest.mark.parametrize(
    ("kind", "field"), [(kind, field) for kind in Kind for field in (*RULES[kind].needs,)]
)
def test_what_is_missing_is_named(kind: Kind, field: str) -> None:
    fields = needed_by(kind)
    del fields[field]
    with pytest.raises(InvalidField) as refusal:
        GenerationRequest(**fields)
    assert (refusal.value.field, refusal.value.problem) == (field, "is required")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"strength": None}, "strength is required where the image is mixed in"),
        ({"strength": 0.2}, "mix_until must be at most the strength, 0.2, not 0.3"),
        ({"refiner": PARTS["refiner"]}, "refiner cannot be combined with mixing the image in"),
        ({"kind": Kind.INPAINT, "mask": PICTURE}, "mix has no meaning for inpaint: leave it out"),
    ],
)
def test_what_does_not_go_with_mixing(fields: dict[str, Any], message: str) -> None:
    mixed = needed_by(Kind.IMG2IMG) | {"strength": 0.5, "mix": MixWish()}
    assert GenerationRequest(**mixed).mix == MixWish(share=0.5, until=0.3)
    with pytest.raises(InvalidField) as refusal:
        GenerationRequest(**(mixed | fields))
    assert str(refusal.value) == message


@pytest.mark.parametrize("kind", list(Kind))
def test_what_has_no_meaning_is_named(kind: Kind) -> None:
    rule = RULES[kind]
    assert rule.takes <= {*OPTIONAL, "negative_prompt", "steps", "guidance_scale", "sampler", "schedule"} | {
        "wants_previews"
    }
    for field in set(OPTIONAL) - rule.takes - set(rule.needs):
        with pytest.raises(InvalidField) as refusal:
            GenerationRequest(**(needed_by(kind) | {field: PARTS[field]}))
        assert str(refusal.value) == f"{field} has no meaning for {kind.value}: leave it out"


def test_figures_that_clients_always_send_are_taken_with_every_kind() -> None:
    for kind in Kind:
        GenerationRequest(
            **needed_by(kind) | {"prompt": "a cat"},
            steps=20,
            guidance_scale=7.0,
            sampler=Sampler.EULER,
            seed=1,
            negative_prompt="fog",
        )


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"kind": Kind.UPSCALE, "num_images": 2}, "num_images must be 1 for upscale"),
        ({"kind": Kind.EDIT, "image": None}, "image is required"),
        (
            {"kind": Kind.OBJECT_REMOVAL, "text": " "},
            "mask is required, or a text that names what is to go",
        ),
        (
            {"kind": Kind.CONTROLNET, "mask": PICTURE},
            "mask needs an image whose part it marks",
        ),
        ({"kind": Kind.CONTROLNET, "strength": 0.5}, "strength needs an image to begin from"),
        (
            {"kind": Kind.CONTROLNET, "image": PICTURE, "mask_options": MaskWish()},
            "mask is required with options of a mask",
        ),
        (
            {"kind": Kind.INPAINT, "mask_options": MaskWish(from_alpha=True)},
            "mask has no transparent parts to read the mask from",
        ),
        ({"kind": Kind.INPAINT, "hires": HiresWish()}, "hires cannot be combined with a mask"),
        (
            {"kind": Kind.REMOVE_BACKGROUND, "output": OutputWish(media_type="image/jpeg")},
            "output_media_type must not be image/jpeg for a transparent background: use PNG",
        ),
        ({"kind": Kind.EDIT, "references": (PICTURE,) * 17}, "references must be at most 16, not 17"),
        ({"kind": Kind.IMG2IMG, "strength": 1.1}, "strength must be 0.0 to 1.0, not 1.1"),
        ({"kind": Kind.IMG2IMG, "strength": float("nan")}, "strength must be 0.0 to 1.0, not nan"),
    ],
)
def test_parts_that_contradict_each_other_are_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidField) as refusal:
        GenerationRequest(**needed_by(fields["kind"]) | fields)
    assert str(refusal.value) == problem


def test_what_is_transparent_may_be_put_on_a_colour_or_saved_as_a_mask() -> None:
    for wish in (
        BackgroundWish(colour="#ffffff"),
        BackgroundWish(picture=PICTURE),
        BackgroundWish(only_mask=True),
    ):
        fields = needed_by(Kind.REMOVE_BACKGROUND) | {"background": wish}
        assert GenerationRequest(**fields, output=OutputWish(media_type="image/jpeg"))


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (lambda: ExpandWish(), "expand must be above 0 at one side at least"),
        (lambda: ExpandWish(left=2049), "expand_left must be 0 to 2048, not 2049"),
        (
            lambda: ControlWish(picture=PICTURE, type=ControlType.CANNY, scale=5.1),
            "control_scale must be 0.0 to 5.0, not 5.1",
        ),
        (
            lambda: ControlWish(picture=PICTURE, type=ControlType.CANNY, start=0.5, end=0.5),
            "control_end must be above 0.5, not 0.5",
        ),
        (lambda: UpscaleWish(factor=5), "upscale_factor must be 2, 3, 4 or 8, not 5"),
        (lambda: UpscaleWish(factor=2, width=64), "upscale_factor cannot be combined with a width or height"),
        (lambda: UpscaleWish(width=8193), "upscale_width must be 1 to 8192, not 8193"),
        (lambda: HiresWish(scale=1.0), "hires_scale must be above 1 and at most 4, not 1.0"),
        (lambda: HiresWish(strength=0.0), "hires_strength must be above 0 and at most 1, not 0.0"),
        (lambda: VariationWish(seed=-1), "variation_seed must be 0 to 4294967295, not -1"),
        (lambda: VariationWish(strength=1.5), "variation_strength must be 0.0 to 1.0, not 1.5"),
        (lambda: VariationWish(from_width=512), "variation_from_height is required beside the other side"),
        (
            lambda: VariationWish(from_width=32, from_height=64),
            "variation_from_width must be 64 to 2048, not 32",
        ),
        (lambda: FaceWish(visibility=2), "face_visibility must be 0.0 to 1.0, not 2"),
        (lambda: FaceWish(weight=-0.1), "face_weight must be 0.0 to 1.0, not -0.1"),
        (
            lambda: RefinerWish(checkpoint="r", switch_at=1.0),
            "refiner_switch_at must be above 0 and below 1, not 1.0",
        ),
        (lambda: IpAdapterWish(name="a", pictures=()), "ip_adapter_pictures must be 1 to 10, not 0"),
        (
            lambda: BackgroundWish(colour="white"),
            "background_colour must be #rrggbb in lower case, not 'white'",
        ),
        (
            lambda: FaceSwapWish(source=PICTURE, which=FaceChoice.REFERENCE),
            "reference is required to choose a face by it, and of no use otherwise",
        ),
        (
            lambda: OutputWish(media_type="image/gif"),
            "output_media_type must be image/png, image/jpeg, image/webp, not image/gif",
        ),
        (lambda: OutputWish(quality=0), "output_quality must be 1 to 100, not 0"),
        (lambda: MaskWish(blur_px=257), "mask_blur_px must be 0 to 256, not 257"),
    ],
)
def test_parts_out_of_range_are_refused_where_they_are_said(make: Any, problem: str) -> None:
    with pytest.raises(InvalidField) as refusal:
        make()
    assert str(refusal.value) == problem
