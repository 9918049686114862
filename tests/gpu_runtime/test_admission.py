"""Every refusal of the runtime, each from a request that differs from a valid one in one field."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gpu_runtime.batching.admission import Admitted, Rejected, admit
from gpu_runtime.batching.limits import Limits
from gpu_runtime.messages import (
    CheckpointRef,
    ControlBalance,
    ControlRef,
    HiresFix,
    ImageInput,
    IpAdapterRef,
    PictureMix,
    Priority,
    PromptStyle,
    RefinerRef,
    Sampler,
    SeedVariation,
    Tier,
)
from tests.gpu_runtime.driving import image_request

LIMITS = Limits(families=frozenset({"sd15"}), max_steps={Sampler.LCM: 50})
FLUX = CheckpointRef(name="flux", family="flux", path="/nonexistent", digest="f")
KONTEXT = replace(FLUX, name="kontext", variant="kontext")
SDXL = replace(FLUX, name="sdxl", family="sdxl")
SANA = replace(FLUX, name="sana", family="sana")
PICTURE = ImageInput(data=b"png", digest="p")
CONTROL = ControlRef(name="edges", path="/nonexistent", digest="c", image=PICTURE)
IP_ADAPTER = IpAdapterRef(
    name="faces",
    path="/nonexistent",
    digest="i",
    encoder_path="/nonexistent",
    encoder_digest="e",
    images=(PICTURE,),
)
HIRES = HiresFix(width=64, height=64, strength=0.5, steps=10)
REFINER = RefinerRef(checkpoint=SDXL)
NAN = float("nan")


def test_valid_request_is_admitted() -> None:
    assert admit(image_request("r"), LIMITS) == Admitted()


REFUSALS: list[tuple[dict[str, Any], str]] = [
    ({"width": 36}, "width must be a multiple of 8, not 36"),
    ({"height": 100}, "height must be a multiple of 8, not 100"),
    ({"width": 8}, "width must be 16 to 2048 pixels, not 8"),
    ({"height": 2056}, "height must be 16 to 2048 pixels, not 2056"),
    ({"output_width": 0}, "output_width must be 1 to 8192 pixels, not 0"),
    ({"output_height": 9000}, "output_height must be 1 to 8192 pixels, not 9000"),
    ({"steps": 0}, "sampler euler takes 1 to 150 steps, not 0"),
    ({"steps": 151}, "sampler euler takes 1 to 150 steps, not 151"),
    ({"steps": 51, "sampler": Sampler.LCM}, "sampler lcm takes 1 to 50 steps, not 51"),
    ({"guidance_scale": float("nan")}, "guidance_scale must be a finite number, not nan"),
    ({"guidance_scale": float("inf")}, "guidance_scale must be a finite number, not inf"),
    ({"seeds": ()}, "a request has 1 to 64 images, not 0"),
    ({"seeds": tuple(range(65))}, "a request has 1 to 64 images, not 65"),
    ({"seeds": (-1,)}, "a seed must be 0 to 4294967295, not -1"),
    ({"seeds": (2**32,)}, "a seed must be 0 to 4294967295, not 4294967296"),
    ({"variation": SeedVariation(seeds=(1, 2))}, "a variation has 1 seeds, one an image, not 2"),
    ({"variation": SeedVariation(seeds=(2**32,))}, "a seed of a variation must be 0 to 4294967295"),
    (
        {"variation": SeedVariation(seeds=(1,), strength=NAN)},
        "the strength of a variation must be 0 to 1, not nan",
    ),
    (
        {"variation": SeedVariation(seeds=(1,), size=(64, 2049))},
        "noise is drawn for 16 to 2048 pixels, not 2049",
    ),
    ({"prompt": "x" * 32_001}, "prompt must have at most 32000 characters, not 32001"),
    ({"negative_prompt": "x" * 32_001}, "negative_prompt must have at most 32000 characters, not 32001"),
    ({"weight": 0.0}, "weight must be a finite number above 0, not 0.0"),
    ({"weight": float("inf")}, "weight must be a finite number above 0, not inf"),
    ({"deadline_s": 0.0}, "deadline_s must be a finite number above 0, not 0"),
    ({"deadline_s": float("inf")}, "deadline_s must be a finite number above 0, not inf"),
    ({"tier": "exakt"}, "tier must be one of standard, exact, fast, not 'exakt'"),
    ({"priority": 7}, "priority must be one of 0, 1, 2, not 7"),
    ({"prompt_style": "loud"}, "prompt_style must be one of plain, weighted, not 'loud'"),
    ({"strength": 0.0}, "strength must be above 0 and at most 1, not 0"),
    ({"strength": 1.5}, "strength must be above 0 and at most 1, not 1.5"),
    ({"strength": NAN}, "strength must be above 0 and at most 1, not nan"),
    ({"strength": 0.5}, "a strength of 0.5 needs an init image, and there is none"),
    ({"strength": 0.2, "image": PICTURE}, "a strength of 0.2 leaves none of 4 steps to do"),
    ({"mask": PICTURE}, "a mask says what of an init image to make anew, and there is none"),
    (
        {"references": (PICTURE,)},
        "checkpoint 'none' does not edit: it works without reference pictures",
    ),
    ({"controls": (CONTROL,) * 6}, "a request has at most 5 ControlNets, not 6"),
    (
        {"controls": (CONTROL, replace(CONTROL, scale=5.1))},
        "the scale of ControlNet 'edges' must be 0 to 5, not 5.1",
    ),
    (
        {"controls": (replace(CONTROL, scale=NAN),)},
        "the scale of ControlNet 'edges' must be 0 to 5, not nan",
    ),
    (
        {"controls": (replace(CONTROL, start=0.5, end=0.5),)},
        "ControlNet 'edges' must act within 0 to 1 of the steps and end after it starts, not 0.5 to 0.5",
    ),
    (
        {"controls": (replace(CONTROL, start=-0.1),)},
        "ControlNet 'edges' must act within 0 to 1 of the steps and end after it starts, not -0.1 to 1",
    ),
    (
        {"controls": (replace(CONTROL, end=1.1),)},
        "ControlNet 'edges' must act within 0 to 1 of the steps and end after it starts, not 0 to 1.1",
    ),
    ({"controls": (replace(CONTROL, mode=-1),)}, "the mode of ControlNet 'edges' must be 0 or more, not -1"),
    ({"ip_adapters": (IP_ADAPTER,) * 4}, "a request has at most 3 IP-adapters, not 4"),
    (
        {"ip_adapters": (replace(IP_ADAPTER, images=()),)},
        "IP-adapter 'faces' needs at least one picture",
    ),
    (
        {"ip_adapters": (replace(IP_ADAPTER, scale=-1.0),)},
        "the scale of IP-adapter 'faces' must be 0 to 2, not -1",
    ),
    ({"clip_skip": -1}, "clip_skip must be 0 to 11, not -1"),
    ({"clip_skip": 12}, "clip_skip must be 0 to 11, not 12"),
    ({"true_guidance_scale": 0.5}, "true_guidance_scale must be 1 to 30, not 0.5"),
    ({"true_guidance_scale": 31.0}, "true_guidance_scale must be 1 to 30, not 31"),
    ({"true_guidance_scale": NAN}, "true_guidance_scale must be 1 to 30, not nan"),
    (
        {"true_guidance_scale": 2.0},
        "true_guidance_scale is for families that take guidance_scale as an input, and sd15 does not",
    ),
    ({"refiner": REFINER}, "refiners are for family 'sdxl', not for 'sd15'"),
    ({"hires": replace(HIRES, width=68)}, "width of hires must be a multiple of 8, not 68"),
    ({"hires": replace(HIRES, height=24)}, "height of hires must be 32 to 2048 pixels, not 24"),
    ({"hires": replace(HIRES, width=2056)}, "width of hires must be 32 to 2048 pixels, not 2056"),
    (
        {"hires": replace(HIRES, width=32, height=32)},
        "hires must be larger than the first pass, not 32 x 32 as well",
    ),
    ({"hires": replace(HIRES, strength=0.0)}, "strength of hires must be above 0 and at most 1, not 0"),
    ({"hires": replace(HIRES, steps=0)}, "steps of hires must be 1 to 150 with sampler euler, not 0"),
    (
        {"hires": replace(HIRES, strength=0.05)},
        "a strength of 0.05 leaves none of the 10 steps of hires to do",
    ),
]

OF_OTHER_FAMILIES: list[tuple[CheckpointRef, dict[str, Any], str]] = [
    (
        FLUX,
        {"references": (PICTURE,)},
        "checkpoint 'flux' does not edit: it works without reference pictures",
    ),
    (KONTEXT, {"references": (PICTURE,) * 17}, "a request has at most 16 reference pictures, not 17"),
    (FLUX, {"clip_skip": 1}, "clip_skip is for families that read prompts by CLIP, and flux does not"),
    (FLUX, {"hires": replace(HIRES, height=72)}, "height of hires must be a multiple of 16, not 72"),
    (SANA, {"controls": (CONTROL,)}, "ControlNets are not supported for family 'sana'"),
    (
        SANA,
        {"variation": SeedVariation(seeds=(1,))},
        "variations of a seed are not supported for family 'sana'",
    ),
    (
        FLUX,
        {"controls": (replace(CONTROL, balance=ControlBalance.PROMPT),)},
        "ControlNets are balanced for UNets alone, and family 'flux' has none",
    ),
    (
        FLUX,
        {"image": PICTURE, "mix": PictureMix()},
        "mixing a picture in is not supported for family 'flux'",
    ),
    (
        SDXL,
        {"mix": PictureMix()},
        "mixing a picture in needs an init image, and neither a mask nor a refiner beside it",
    ),
    (
        SDXL,
        {"image": PICTURE, "mix": PictureMix(share=1.5)},
        "the share of the prompt in a mixture must be 0 to 1, not 1.5",
    ),
    (
        SDXL,
        {"image": PICTURE, "strength": 0.5, "mix": PictureMix(until=0.6)},
        "mixing must end between the strength, 0.5, and 0, not at 0.6",
    ),
    (FLUX, {"is_seamless": True}, "seamless images are not supported for family 'flux'"),
    (SANA, {"ip_adapters": (IP_ADAPTER,)}, "IP-adapters are not supported for family 'sana'"),
    (SANA, {"hires": HIRES}, "hi-res fix is not supported for family 'sana'"),
    (
        SDXL,
        {"refiner": replace(REFINER, switch_at=1.0)},
        "switch_at of the refiner must be above 0 and below 1, not 1",
    ),
    (
        SDXL,
        {"refiner": replace(REFINER, switch_at=0.0)},
        "switch_at of the refiner must be above 0 and below 1, not 0",
    ),
    (SDXL, {"refiner": RefinerRef(checkpoint=FLUX)}, "a refiner must be of family 'sdxl', not 'flux'"),
]

ADMITTED: list[tuple[CheckpointRef, dict[str, Any]]] = [
    (SDXL, {"image": PICTURE, "mask": PICTURE, "strength": 0.25, "clip_skip": 11}),
    (
        SDXL,
        {"controls": (replace(CONTROL, scale=0.0, end=0.1, mode=3),) * 5, "ip_adapters": (IP_ADAPTER,) * 3},
    ),
    (SDXL, {"refiner": REFINER, "hires": replace(HIRES, height=32)}),
    (SDXL, {"image": PICTURE, "strength": 0.5, "mix": PictureMix(until=0.5), "hires": HIRES}),
    (KONTEXT, {"references": (PICTURE,) * 4, "true_guidance_scale": 30.0}),
    (SDXL, {"controls": (replace(CONTROL, balance=ControlBalance.CONTROL),), "is_seamless": True}),
    (SDXL, {"variation": SeedVariation(seeds=(0,), strength=1.0, size=(16, 2048))}),
    (SANA, {"references": (PICTURE,), "image": PICTURE, "strength": 0.5}),
    # Rectified flows round the steps that are left out down, so that one of four is done.
    (FLUX, {"image": PICTURE, "strength": 0.2}),
    (FLUX, {"tier": Tier.EXACT, "priority": Priority.TRAINING, "deadline_s": 0.1, "wants_previews": True}),
    (SDXL, {"tier": Tier.FAST, "prompt_style": PromptStyle.WEIGHTED}),
]


@pytest.mark.parametrize(("changes", "reason"), REFUSALS, ids=lambda value: str(value)[:40])
def test_request_is_refused_with_its_reason(changes: dict[str, Any], reason: str) -> None:
    assert admit(image_request("r", **changes), LIMITS) == Rejected(reason)


def test_unknown_family_is_refused_by_name() -> None:
    decision = admit(image_request("r", FLUX), LIMITS)
    assert decision == Rejected("family 'flux' has no step-batched pipeline here; known families: sd15")


def test_any_family_is_admitted_where_weights_are_never_read() -> None:
    assert admit(image_request("r", FLUX), Limits()) == Admitted()


@pytest.mark.parametrize(
    ("checkpoint", "changes", "reason"), OF_OTHER_FAMILIES, ids=lambda value: str(value)[:40]
)
def test_family_refuses_what_it_cannot_do(
    checkpoint: CheckpointRef, changes: dict[str, Any], reason: str
) -> None:
    assert admit(image_request("r", checkpoint, **changes), Limits()) == Rejected(reason)


@pytest.mark.parametrize(("checkpoint", "changes"), ADMITTED, ids=lambda value: str(value)[:40])
def test_everything_within_limits_is_admitted(checkpoint: CheckpointRef, changes: dict[str, Any]) -> None:
    assert admit(image_request("r", checkpoint, **changes), Limits()) == Admitted()
