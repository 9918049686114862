"""The order of what is done with pictures, and under which names they go from one step to the next."""

from __future__ import annotations

from typing import Any

import pytest

from apps.core import clock
from apps.generation.adapters import entries_of
from apps.generation.choices import Balance, ControlType, Fill, Kind, Replacement, Resize
from apps.generation.picture_store import keep_picture
from apps.generation.wishes import (
    BackgroundWish,
    ControlWish,
    ExpandWish,
    FaceWish,
    HiresWish,
    IpAdapterWish,
    MaskWish,
    OutputWish,
    RefinerWish,
    SafetyWish,
    StoredPicture,
    UpscaleWish,
    VariationWish,
)
from apps.generation.work_plan import work_request
from gpu_runtime.messages import ControlBalance, Enlarging, HiresFix, PromptStyle, SeedVariation, Tier
from gpu_runtime.work import COMPOSITE, GENERATED, Made, Operation, WorkRequest
from gpu_runtime.workshop.checking import require_sound
from tests.apps.generation.studio import Studio, reread
from tests.apps.generation.utilities import make_utilities
from tests.factories import make_adapter, make_checkpoint


def stored(name: str, *, width: int = 320, height: int = 240, has_alpha: bool = False) -> StoredPicture:
    """A file that nobody decodes."""
    data = name.encode()
    return StoredPicture(
        digest=keep_picture(data, now=clock.now()),
        width=width,
        height=height,
        has_alpha=has_alpha,
        size_bytes=len(data),
        media_type="image/png",
    )


def planned(studio: Studio, **fields: Any) -> WorkRequest:
    job = reread(studio.submit(**fields))
    request = work_request(job, entries_of([job]))
    require_sound(request)
    return request


def steps(operations: tuple[Operation, ...]) -> list[str]:
    """Each as `name(inputs) -> outputs`."""
    return [
        f"{each.name}({', '.join(each.inputs.values())}) -> {', '.join(each.outputs.values())}"
        for each in operations
    ]


def names(request: WorkRequest) -> dict[str, Any]:
    image = request.image
    assert image is not None
    made = {"image": image.image, "mask": image.mask}
    return {field: value.name for field, value in made.items() if isinstance(value, Made)}


def test_a_picture_of_the_right_size_is_taken_as_it_is(studio: Studio) -> None:
    source = stored("a")
    request = planned(studio, kind=Kind.IMG2IMG, image=source, strength=0.4)
    assert (request.before, request.after) == ((), ())
    assert request.pictures["source"].data == b"a"
    assert names(request) == {"image": "source"}
    image = request.image
    assert image is not None
    assert (image.width, image.height, image.strength) == (320, 240, 0.4)
    assert request.encoding.source_type == COMPOSITE
    assert planned(studio).encoding.source_type == GENERATED


@pytest.mark.parametrize("resize", list(Resize))
def test_a_picture_of_another_size_is_fitted_as_asked(studio: Studio, resize: Resize) -> None:
    request = planned(
        studio, kind=Kind.IMG2IMG, image=stored("a"), width=128, height=64, resize=resize, num_images=2
    )
    [fit] = request.before
    assert fit.settings == {"width": 128, "height": 64, "mode": resize.value}
    assert names(request) == {"image": "beginning"}


def test_a_large_picture_is_denoised_small_and_delivered_large(studio: Studio) -> None:
    request = planned(studio, kind=Kind.IMG2IMG, image=stored("a", width=1200, height=600))
    image = request.image
    assert image is not None
    assert (image.width, image.height, image.output_width, image.output_height) == (512, 256, 1200, 600)


def test_inpainting_keeps_what_is_outside_the_mask(studio: Studio) -> None:
    options = MaskWish(is_inverted=True, blur_px=4, grow_px=2, fill=Fill.NOISE)
    request = planned(
        studio, kind=Kind.INPAINT, image=stored("a"), mask=stored("m", width=64), mask_options=options
    )
    assert steps(request.before) == ["mask.prepare(marks) -> mask", "mask.fill(source, mask) -> filled"]
    assert request.before[0].settings == {
        "width": 320,
        "height": 240,
        "is_inverted": True,
        "blur": 4,
        "grow": 2,
        "from_alpha": False,
    }
    assert steps(request.after) == ["mask.paste(image, source, mask) -> image"]
    assert names(request) == {"image": "filled", "mask": "mask"}


def test_the_surroundings_of_the_mask_can_be_worked_on_alone(studio: Studio) -> None:
    make_adapter("edges", kind="controlnet", variant="canny")
    request = planned(
        studio,
        kind=Kind.INPAINT,
        image=stored("a", width=1000, height=750),
        mask=stored("m"),
        mask_options=MaskWish(is_only_masked=True, padding_px=50),
        controls=(ControlWish(picture=stored("c"), type=ControlType.CANNY),),
    )
    assert steps(request.before) == [
        "canvas.fit(source) -> beginning",
        "mask.prepare(marks) -> mask",
        "mask.crop(beginning, mask) -> crop, crop mask, box",
        "canvas.fit(control 0) -> fitted 0",
        "detect.canny(fitted 0) -> map 0",
        "mask.crop(map 0, mask) -> part 0, crop mask, box",
    ]
    assert steps(request.after) == ["mask.paste(image, beginning, mask, box) -> image"]
    image = request.image
    assert image is not None
    assert (image.output_width, image.output_height) == (image.width, image.height) == (512, 384)
    assert request.before[2].settings == {"padding": 50, "width": 512, "height": 384}


def test_outpainting_expands_and_keeps_the_old(studio: Studio) -> None:
    request = planned(
        studio, kind=Kind.OUTPAINT, image=stored("a"), expand=ExpandWish(left=100, bottom=7, overlap_px=20)
    )
    assert steps(request.before) == ["canvas.expand(source) -> beginning, mask"]
    assert request.before[0].settings == {"left": 100, "right": 0, "top": 0, "bottom": 7, "overlap": 20}
    assert steps(request.after) == ["mask.paste(image, beginning, mask) -> image"]
    image = request.image
    assert image is not None
    assert (image.output_width, image.output_height, image.strength) == (420, 247, 1.0)


@pytest.mark.parametrize("strength", [0.0, 0.01])
def test_a_strength_that_leaves_no_steps_gives_the_picture_back(studio: Studio, strength: float) -> None:
    request = planned(
        studio, kind=Kind.IMG2IMG, image=stored("a", width=321), strength=strength, num_images=3
    )
    assert request.image is None
    assert request.results == ("beginning",) * 3


def test_controls_are_drawn_from_pictures_or_taken_as_maps(studio: Studio) -> None:
    utilities = make_utilities()
    for variant in ("softedge", "canny", "inpaint"):
        make_adapter(variant, kind="controlnet", variant=variant)
    source, mask = stored("a"), stored("m")
    controls = (
        ControlWish(picture=source, type=ControlType.SOFTEDGE, scale=0.5, resolution_px=768, end=0.6),
        ControlWish(picture=source, type=ControlType.CANNY, is_hint=True),
        ControlWish(picture=source, type=ControlType.INPAINT),
    )
    request = planned(studio, kind=Kind.CONTROLNET, image=source, mask=mask, controls=controls, strength=1.0)
    assert steps(request.before)[1:] == [
        "detect.softedge(control 0) -> map 0",
        "detect.inpaint(control 2, mask) -> map 2",
    ]
    detector = request.before[1]
    assert detector.settings == {"resolution": 768, "threshold_a": None, "threshold_b": None}
    assert detector.assets["model"].digest == utilities["hed"].digest
    image = request.image
    assert image is not None
    assert [each.image.name for each in image.controls if isinstance(each.image, Made)] == [
        "map 0",
        "control 1",
        "map 2",
    ]
    first = image.controls[0]
    assert (first.path, first.scale, first.start, first.end) == ("/nowhere/softedge", 0.5, 0.0, 0.6)


def test_editing_works_from_references_and_pastes_by_the_mask(studio: Studio) -> None:
    make_checkpoint("kontext", family="flux", variant="kontext")
    request = planned(
        studio,
        kind=Kind.EDIT,
        checkpoint="kontext",
        image=stored("a"),
        references=(stored("b"),),
        mask=stored("m", has_alpha=True),
        mask_options=MaskWish(from_alpha=True),
    )
    image = request.image
    assert image is not None
    assert (image.image, image.mask, image.strength) == (None, None, 1.0)
    assert [each.name for each in image.references if isinstance(each, Made)] == [
        "reference 0",
        "reference 1",
    ]
    assert steps(request.after) == ["mask.paste(image, source, mask) -> image"]


def test_what_follows_comes_in_its_order(studio: Studio) -> None:
    utilities = make_utilities()
    backdrop = stored("b")
    request = planned(
        studio,
        upscale=UpscaleWish(factor=2),
        background=BackgroundWish(picture=backdrop, alpha_matting=True),
        safety=SafetyWish(is_checked=True, replacement=Replacement.BLUR),
        output=OutputWish(media_type="image/webp", quality=80, is_marked=False),
    )
    assert steps(request.after) == [
        "safety.check(image) -> image",
        "upscale(image) -> image",
        "background.remove(image, backdrop) -> image",
    ]
    check, upscale, background = request.after
    assert check.settings == {"threshold": 0.5, "replacement": "blur", "is_blocking": False}
    assert upscale.settings == {"width": 128, "height": 128}
    assert upscale.assets["model"].details == {"scale": 4}
    assert background.settings["alpha_matting"] is True
    assert background.assets["model"].digest == utilities["mediapipe-selfie-segmentation"].digest
    encoding = request.encoding
    assert (encoding.media_type, encoding.quality, encoding.is_marked) == ("image/webp", 80, False)


def test_every_option_of_denoising_reaches_the_engine(studio: Studio) -> None:
    make_checkpoint("xl", family="sdxl")
    refiner = make_checkpoint("second", family="sdxl", variant="refiner", digest="2" * 64)
    make_adapter("plus", kind="ip_adapter", family="sdxl")
    encoder = make_adapter("eyes", kind="preprocessor", family="", variant="image_encoder")
    request = planned(
        studio,
        checkpoint="xl",
        refiner=RefinerWish(checkpoint="second", switch_at=0.7),
        ip_adapters=(IpAdapterWish(name="plus", pictures=(stored("p"), stored("q")), scale=0.8),),
        hires=HiresWish(scale=1.5, steps=12, strength=0.5, upscaler="Latent"),
        width=512,
        height=256,
        clip_skip=2,
        prompt_style=PromptStyle.WEIGHTED,
        tier=Tier.EXACT,
        wants_previews=True,
    )
    image = request.image
    assert image is not None and image.refiner is not None
    assert (image.refiner.checkpoint.digest, image.refiner.switch_at) == (refiner.digest, 0.7)
    [adapter] = image.ip_adapters
    assert (adapter.path, adapter.encoder_path) == ("/nowhere/plus/weights.safetensors", encoder.path)
    assert len(adapter.images) == 2 and adapter.scale == 0.8
    assert image.hires == HiresFix(width=768, height=384, strength=0.5, steps=12, enlarging=Enlarging.LATENTS)
    assert (image.output_width, image.output_height) == (768, 384)
    assert (image.clip_skip, image.prompt_style, image.tier) == (2, PromptStyle.WEIGHTED, Tier.EXACT)
    assert request.wants_previews and image.wants_previews
    [texts] = request.encoding.texts
    assert "Refiner: second, Refiner switch at: 0.7" in texts["parameters"]
    assert "Clip skip: 3" in texts["parameters"]
    assert "Hires resize: 768x384, Hires steps: 12, Hires upscaler: Latent" in texts["parameters"]


def test_what_is_to_be_removed_is_found_by_its_name(studio: Studio) -> None:
    make_adapter("finder", kind="preprocessor", family="", variant="text_mask")
    request = planned(studio, kind=Kind.OBJECT_REMOVAL, checkpoint="", image=stored("a"), text="a chair")
    assert steps(request.before) == [
        "mask.from_text(source) -> found",
        "mask.prepare(found) -> mask",
        "mask.erase(source, mask) -> erased",
    ]
    assert request.before[0].settings == {"text": "a chair"}
    assert request.before[1].settings == {"width": 320, "height": 240, "grow": 5}
    assert request.before[0].assets["model"].name == "finder"


def test_faces_are_restored_before_the_upscale_or_after_it(studio: Studio) -> None:
    make_utilities()
    make_adapter("gfpgan", kind="face", family="", variant="gfpgan")
    request = planned(
        studio,
        faces=(FaceWish(visibility=0.8), FaceWish(is_after_upscale=True, weight=0.1)),
        upscale=UpscaleWish(factor=2),
        safety=SafetyWish(is_checked=True),
    )
    assert steps(request.after) == [
        "safety.check(image) -> image",
        "faces.restore(image) -> image",
        "upscale(image) -> image",
        "faces.restore(image) -> image",
    ]
    assert [request.after[place].settings for place in (1, 3)] == [
        {"visibility": 0.8, "weight": 0.5},
        {"visibility": 1.0, "weight": 0.1},
    ]
    assert set(request.after[1].assets) == {"model", "detector", "mesh"}
    [texts] = request.encoding.texts
    assert "Face restoration: gfpgan, gfpgan" in texts["parameters"].replace('"', "")
    assert "entry_id" not in texts["darkroom"]


def test_an_upscaler_enlarges_between_the_passes_of_a_hires_fix(studio: Studio) -> None:
    utilities = make_utilities()
    request = planned(
        studio, width=64, height=64, hires=HiresWish(scale=2.0, steps=9, upscaler="realesrgan-x4plus")
    )
    assert steps(request.between) == ["upscale(image) -> image"]
    assert request.between[0].settings == {"width": 128, "height": 128}
    assert request.between[0].assets["model"].digest == utilities["realesrgan-x4plus"].digest
    assert request.image is not None and request.image.hires is not None
    assert request.image.hires.enlarging is Enlarging.OPERATIONS
    assert request.after == ()
    [texts] = request.encoding.texts
    assert "Hires upscaler: realesrgan-x4plus" in texts["parameters"]
    assert "entry_id" not in texts["darkroom"]


def test_variations_seams_and_balances_reach_the_engine(studio: Studio) -> None:
    make_adapter("edges", kind="controlnet", variant="canny")
    picture = stored("c")
    request = planned(
        studio,
        kind=Kind.CONTROLNET,
        controls=(
            ControlWish(picture=picture, type=ControlType.CANNY, is_hint=True, balance=Balance.CONTROL),
        ),
        is_seamless=True,
        seed=3,
        num_images=2,
        variation=VariationWish(seed=10, strength=0.25, from_width=64, from_height=128),
    )
    image = request.image
    assert image is not None and image.is_seamless
    assert image.controls[0].balance is ControlBalance.CONTROL
    assert image.seeds == (3, 3)
    assert image.variation == SeedVariation(seeds=(10, 11), strength=0.25, size=(64, 128))
    for number, texts in enumerate(request.encoding.texts):
        parameters = texts["parameters"]
        assert f"Variation seed: {10 + number}, Variation seed strength: 0.25" in parameters
        assert "Seed resize from: 64x128" in parameters
        assert "Tiling: True" in parameters
        assert "Control Mode: ControlNet is more important" in parameters


def test_noise_of_another_size_alone_leaves_the_seeds(studio: Studio) -> None:
    wish = VariationWish(from_width=128, from_height=64)
    image = planned(studio, seed=3, num_images=2, variation=wish).image
    assert image is not None
    assert image.seeds == (3, 4)
    assert image.variation == SeedVariation(seeds=(3, 4), strength=0.0, size=(128, 64))
