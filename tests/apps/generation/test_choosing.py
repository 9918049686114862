"""Which entries a request gets without naming them, and what is said of those that are not there."""

from __future__ import annotations

from typing import Any

import pytest

from apps.catalog.choices import Visibility
from apps.catalog.errors import EntryNotFound, FamilyMismatch
from apps.catalog.models import CatalogEntry
from apps.core.errors import InvalidField
from apps.generation.choices import Balance, ControlType, FaceChoice, Kind
from apps.generation.errors import ModelNotInstalled
from apps.generation.resolved import ResolvedRequest
from apps.generation.wishes import (
    BackgroundWish,
    ControlWish,
    DetectWish,
    ExpandWish,
    FaceSwapWish,
    FaceWish,
    HiresWish,
    IpAdapterWish,
    MixWish,
    RefinerWish,
    UpscaleWish,
    VariationWish,
)
from apps.plans.errors import KindNotInPlan
from gpu_runtime.messages import Enlarging
from tests.apps.generation.studio import Studio, on_record
from tests.apps.generation.utilities import make_utilities, picture
from tests.factories import give_plan, make_adapter, make_checkpoint

PICTURE = picture()


def control(type: ControlType = ControlType.CANNY, **fields: Any) -> ControlWish:
    return ControlWish(picture=PICTURE, type=type, **fields)


def submitted(studio: Studio, **fields: Any) -> ResolvedRequest:
    """As it is read back from the row."""
    job = studio.submit(**fields)
    job.refresh_from_db()
    return job.resolved


def refused(studio: Studio, **fields: Any) -> str:
    before = on_record()
    with pytest.raises((ModelNotInstalled, InvalidField)) as refusal:
        studio.submit(**fields)
    assert on_record() == before
    return str(refusal.value)


def test_a_control_is_chosen_by_type_and_family(studio: Studio) -> None:
    make_adapter("xl-canny", kind="controlnet", variant="canny", family="sdxl")
    rare = make_adapter("rare", kind="controlnet", variant="canny", use_count=1)
    often = make_adapter("often", kind="controlnet", variant="canny", use_count=5)
    fields = {"kind": Kind.CONTROLNET, "controls": (control(),)}
    [used] = submitted(studio, **fields).controls
    assert (used.network.entry_id, used.mode, used.assets) == (often.pk, None, ())
    named = {"kind": Kind.CONTROLNET, "controls": (control(model="rare"),)}
    assert submitted(studio, **named).controls[0].network.entry_id == rare.pk


def test_types_go_by_the_names_that_identification_gives(studio: Studio) -> None:
    make_utilities(is_complete=True)
    make_adapter("segments", kind="controlnet", variant="seg")
    make_adapter("colours", kind="controlnet", variant="recolor")
    for type, name in ((ControlType.SEGMENTATION, "segments"), (ControlType.GRAY, "colours")):
        [used] = submitted(studio, kind=Kind.CONTROLNET, controls=(control(type, is_hint=True),)).controls
        assert used.network.name == name


def test_a_union_network_serves_types_it_knows_by_their_number(studio: Studio) -> None:
    make_checkpoint("xl", family="sdxl")
    make_adapter("union", kind="controlnet", variant="union", family="sdxl")
    fields = {"kind": Kind.CONTROLNET, "checkpoint": "xl"}
    for type, mode in ((ControlType.OPENPOSE, 0), (ControlType.CANNY, 3), (ControlType.TILE, 6)):
        [used] = submitted(studio, **fields, controls=(control(type, is_hint=True),)).controls
        assert (used.network.name, used.mode) == ("union", mode)
    unknown = control(ControlType.SHUFFLE, model="union")
    assert refused(studio, **fields, controls=(unknown,)).startswith(
        "controls of type shuffle are not known to union, which takes canny, depth,"
    )


def test_a_control_of_another_family_does_not_fit(studio: Studio) -> None:
    make_adapter("xl-canny", kind="controlnet", variant="canny", family="sdxl")
    with pytest.raises(FamilyMismatch):
        studio.submit(kind=Kind.CONTROLNET, controls=(control(model="xl-canny"),))
    with pytest.raises(EntryNotFound):
        studio.submit(kind=Kind.CONTROLNET, controls=(control(model="nothing"),))


def test_detectors_bring_their_weights_and_maps_need_none(studio: Studio) -> None:
    utilities = make_utilities()
    for variant in ("softedge", "openpose", "scribble"):
        make_adapter(f"net-{variant}", kind="controlnet", variant=variant)
    expected = {
        ControlType.SOFTEDGE: "hed",
        ControlType.OPENPOSE: "mediapipe-pose",
        ControlType.SCRIBBLE: "hed",
    }
    for type, name in expected.items():
        [used] = submitted(studio, kind=Kind.CONTROLNET, controls=(control(type),)).controls
        [asset] = used.assets
        assert (asset.role, asset.entry_id) == ("model", utilities[name].pk)
        [hint] = submitted(studio, kind=Kind.CONTROLNET, controls=(control(type, is_hint=True),)).controls
        assert hint.assets == ()


def test_faces_are_found_by_two_models(studio: Studio) -> None:
    utilities = make_utilities()
    swap = FaceSwapWish(source=PICTURE, which=FaceChoice.ALL)
    used = submitted(studio, kind=Kind.FACE_SWAP, checkpoint="", image=PICTURE, face_swap=swap).face_swap
    assert used is not None
    assert {asset.role: asset.entry_id for asset in used.assets} == {
        "detector": utilities["mediapipe-face-detection"].pk,
        "mesh": utilities["mediapipe-face-mesh"].pk,
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"kind": Kind.CONTROLNET, "controls": (control(),)},
            (
                "No ControlNet of type canny for sd15 is installed on this server: import one, for example"
                " lllyasviel/control_v11p_sd15_canny, or name another with the request."
            ),
        ),
        (
            {"kind": Kind.DETECT, "image": PICTURE, "detect": DetectWish(type=ControlType.DEPTH)},
            (
                "No detector of depth is installed on this server: import a model of kind preprocessor of"
                " variant depth, for example depth-anything/Depth-Anything-V2-Small-hf."
            ),
        ),
        (
            {"kind": Kind.UPSCALE, "image": PICTURE, "upscale": UpscaleWish()},
            (
                "No upscaler is installed on this server: import a model of kind upscaler, or register the"
                " one that ships with `deploy/manage bootstrap`."
            ),
        ),
        (
            {"upscale": UpscaleWish(upscaler="lanczos", is_face_enhanced=True)},
            (
                "No face restoration model is installed on this server: import a model of kind face of"
                " variant gfpgan or codeformer or restoreformer, for example"
                " facefusion/models-3.0.0/gfpgan_1.4.onnx."
            ),
        ),
        (
            {"faces": (FaceWish(model="CodeFormer"),)},
            (
                "No face restoration model is installed on this server: import a model of kind face of"
                " variant codeformer, for example facefusion/models-3.0.0/codeformer.onnx."
            ),
        ),
        (
            {"kind": Kind.CAPTION, "image": PICTURE},
            (
                "No caption model is installed on this server: import a model of kind preprocessor of variant"
                " caption, for example Salesforce/blip-image-captioning-base."
            ),
        ),
        (
            {"kind": Kind.NSFW_CHECK, "image": PICTURE},
            (
                "No safety classifier of images is installed on this server: import a model of kind safety of"
                " variant image, or register the one that ships with `deploy/manage bootstrap`."
            ),
        ),
        (
            {
                "kind": Kind.DETECT,
                "image": PICTURE,
                "detect": DetectWish(type=ControlType.INPAINT),
            },
            "mask is required for a map of type inpaint",
        ),
        (
            {"refiner": RefinerWish(checkpoint="tiny")},
            "refiner goes with models of family sdxl; tiny is sd15",
        ),
    ],
)
def test_what_is_not_there_is_refused_and_what_to_import_is_said(
    studio: Studio, fields: dict[str, Any], message: str
) -> None:
    assert refused(studio, **fields) == message


def test_an_upscaler_is_the_default_the_named_one_or_none(studio: Studio) -> None:
    utilities = make_utilities()
    used = submitted(studio, upscale=UpscaleWish()).upscale
    assert used is not None
    assert (used.width, used.height, used.scale, used.variant) == (256, 256, 4, "rrdbnet")
    assert [asset.entry_id for asset in used.assets] == [utilities["realesrgan-x4plus"].pk]
    named = submitted(studio, upscale=UpscaleWish(factor=2, upscaler="waifu2x-photo")).upscale
    assert named is not None
    assert (named.width, named.scale, named.assets[0].name) == (128, 2, "waifu2x-photo")
    plain = submitted(studio, upscale=UpscaleWish(factor=2, upscaler="Lanczos")).upscale
    assert plain is not None
    assert (plain.assets, plain.scale) == ((), 1)


def test_backgrounds_are_cut_out_by_a_general_network_where_there_is_one(studio: Studio) -> None:
    make_utilities()
    fields = {
        "kind": Kind.REMOVE_BACKGROUND,
        "image": PICTURE,
        "background": BackgroundWish(),
        "checkpoint": "",
    }
    first = submitted(studio, **fields).background
    make_adapter("cut-out", kind="background_removal", family="", variant="general")
    second = submitted(studio, **fields).background
    assert first is not None and second is not None
    assert [first.assets[0].name, second.assets[0].name] == ["mediapipe-selfie-segmentation", "cut-out"]


def test_ip_adapters_bring_the_encoder_that_their_entry_names(studio: Studio) -> None:
    wish = {"ip_adapters": (IpAdapterWish(name="plus", pictures=(PICTURE,)),)}
    make_adapter("plus", kind="ip_adapter", details={"encoder": "vit-h"})
    with pytest.raises(ModelNotInstalled, match="IP-adapter plus"):
        studio.submit(**wish)
    encoder = make_adapter("vit-h", kind="preprocessor", family="", variant="image_encoder")
    [used] = submitted(studio, **wish).ip_adapters
    assert (used.adapter.name, used.encoder.entry_id) == ("plus", encoder.pk)
    make_adapter("plain", kind="ip_adapter")
    assert submitted(studio, ip_adapters=(IpAdapterWish(name="plain", pictures=(PICTURE,)),)).ip_adapters


def test_a_strangers_models_do_not_count(studio: Studio) -> None:
    make_adapter("own", kind="upscaler", family="", visibility=Visibility.PRIVATE, owner=studio.account)
    assert submitted(studio, upscale=UpscaleWish()).upscale
    with pytest.raises(ModelNotInstalled):
        studio.submit(upscale=UpscaleWish(), by_stranger=True)


@pytest.mark.parametrize(
    ("variant", "fields", "problem"),
    [
        ("inpaint", {}, "makes no image from a prompt alone: it needs an image and a mask"),
        (
            "inpaint",
            {"kind": Kind.IMG2IMG, "image": PICTURE},
            "makes no image from a prompt alone: it needs an image and a mask",
        ),
        ("inpaint", {"kind": Kind.INPAINT, "image": PICTURE, "mask": PICTURE}, None),
        ("inpaint", {"kind": Kind.OUTPAINT, "image": PICTURE, "expand": ExpandWish(top=8)}, None),
        ("refiner", {}, "makes no image from a prompt alone: it needs an image of another model to refine"),
        ("refiner", {"kind": Kind.IMG2IMG, "image": PICTURE}, None),
        ("pix2pix", {}, "makes no image from a prompt alone: it needs an image to edit"),
        (
            "depth",
            {"kind": Kind.IMG2IMG, "image": PICTURE},
            "needs a depth image as an input of its network, which is not supported here",
        ),
        (
            "",
            {"kind": Kind.EDIT, "image": PICTURE},
            (
                "does not edit pictures: choose a model made for it, such as FLUX.1 Kontext, or ask for"
                " image to image"
            ),
        ),
    ],
)
def test_variants_serve_requests_that_bring_what_they_need(
    studio: Studio, variant: str, fields: dict[str, Any], problem: str | None
) -> None:
    make_checkpoint("special", variant=variant, family="sdxl")
    if problem is None:
        assert submitted(studio, checkpoint="special", **fields).checkpoint == "special"
    else:
        assert refused(studio, checkpoint="special", **fields) == f"checkpoint special {problem}"


def test_editing_models_take_as_many_pictures_as_they_can(studio: Studio) -> None:
    make_checkpoint("kontext", family="flux", variant="kontext")
    details = {"pipeline_class": "QwenImageEditPipeline"}
    make_checkpoint("qwen", family="qwen-image", variant="edit", details=details)
    kontext = submitted(
        studio, kind=Kind.EDIT, checkpoint="kontext", image=PICTURE, references=(picture(1), picture(2))
    )
    assert [each.digest for each in kontext.references] == [picture(n).digest for n in range(3)]
    assert submitted(studio, kind=Kind.EDIT, checkpoint="qwen", image=PICTURE).references == (PICTURE,)
    many = {"kind": Kind.EDIT, "checkpoint": "qwen", "references": (PICTURE, picture(1))}
    assert refused(studio, **many) == "references must be at most 1 for model qwen, not 2"


def test_parts_of_a_request_need_their_kinds_in_the_plan(studio: Studio) -> None:
    make_utilities()
    give_plan(studio.account, kinds=["txt2img"])
    assert studio.submit().pk
    for fields, kind in (
        ({"upscale": UpscaleWish()}, "upscale"),
        ({"hires": HiresWish(upscaler="realesrgan-x4plus")}, "upscale"),
        ({"faces": (FaceWish(),)}, "upscale"),
        ({"background": BackgroundWish()}, "remove_background"),
        ({"controls": (control(),)}, "controlnet"),
    ):
        with pytest.raises(KindNotInPlan, match=f"does not include {kind}"):
            studio.submit(**fields)
    for resampled in ("", "lanczos", "nearest", "latent"):
        assert studio.submit(hires=HiresWish(upscaler=resampled)).pk


SUMMARY_1024 = {"encoder_class": "CLIPVisionModelWithProjection", "picture_width": 1024, "reads": "summary"}


def eyes(name: str, *, projected: int, **fields: Any) -> CatalogEntry:
    details = {"encoder_class": "CLIPVisionModelWithProjection", "width": 1280, "projected": projected}
    known = {"kind": "preprocessor", "family": "", "variant": "image_encoder", "details": details}
    return make_adapter(name, **known, **fields)


def test_an_ip_adapter_gets_an_encoder_that_fits_it(studio: Studio) -> None:
    make_adapter("plus", kind="ip_adapter", details=SUMMARY_1024)
    eyes("larger", projected=1280, use_count=100)
    wish = IpAdapterWish(name="plus", pictures=(PICTURE,))
    assert refused(studio, ip_adapters=(wish,)) == (
        "No encoder of pictures for IP-adapter plus is installed on this server: import a model of kind"
        " preprocessor of variant image_encoder: a CLIPVisionModelWithProjection of 1024 projected values."
    )
    fitting = eyes("smaller", projected=1024)
    [used] = submitted(studio, ip_adapters=(wish,)).ip_adapters
    assert used.encoder.entry_id == fitting.pk


def test_an_ip_adapter_keeps_to_the_encoder_it_came_with_while_there_is_one(studio: Studio) -> None:
    make_adapter("plus", kind="ip_adapter", details={**SUMMARY_1024, "encoder": "own"})
    often = eyes("often", projected=1024, use_count=100)
    own = eyes("own", projected=1024)
    wish = IpAdapterWish(name="plus", pictures=(PICTURE,))
    [used] = submitted(studio, ip_adapters=(wish,)).ip_adapters
    assert used.encoder.entry_id == own.pk
    own.is_enabled = False
    own.save(update_fields=["is_enabled"])
    [used] = submitted(studio, ip_adapters=(wish,)).ip_adapters
    assert used.encoder.entry_id == often.pk


def test_a_hires_fix_is_enlarged_by_a_word_or_by_an_upscaler(studio: Studio) -> None:
    utilities = make_utilities()
    for word in ("", "Lanczos", "nearest", "LATENT"):
        hires = submitted(studio, hires=HiresWish(upscaler=word)).hires
        assert hires is not None and hires.assets == ()
        assert hires.enlarging.value == {"": "lanczos", "LATENT": "latents"}.get(word, word.lower())
    hires = submitted(studio, hires=HiresWish(upscaler="waifu2x-photo")).hires
    assert hires is not None and hires.enlarging is Enlarging.OPERATIONS
    assert [(used.role, used.entry_id) for used in hires.assets] == [("model", utilities["waifu2x-photo"].pk)]
    assert (hires.scale, hires.variant) == (2, "upconv7")
    with pytest.raises(EntryNotFound, match="4x-UltraSharp"):
        studio.submit(hires=HiresWish(upscaler="4x-UltraSharp"))


def restorers() -> dict[str, CatalogEntry]:
    """By name, the least used first."""
    names = {"gfpgan-1.4": "gfpgan", "codeformer-0.1": "codeformer", "plusplus": "restoreformer"}
    return {
        name: make_adapter(name, kind="face", family="", variant=variant) for name, variant in names.items()
    }


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("", "gfpgan-1.4"),
        ("GFPGAN", "gfpgan-1.4"),
        ("codeformer", "codeformer-0.1"),
        ("plusplus", "plusplus"),
    ],
)
def test_faces_are_restored_by_any_by_a_make_or_by_a_name(studio: Studio, model: str, expected: str) -> None:
    utilities, entries = make_utilities(), restorers()
    [used] = submitted(studio, faces=(FaceWish(model=model, weight=0.3),)).faces
    assert used.wish.weight == 0.3
    assert {asset.role: asset.entry_id for asset in used.assets} == {
        "model": entries[expected].pk,
        "detector": utilities["mediapipe-face-detection"].pk,
        "mesh": utilities["mediapipe-face-mesh"].pk,
    }


def test_what_restores_no_faces_is_refused_and_what_nobody_sees_is_left_out(studio: Studio) -> None:
    make_utilities()
    restorers()
    assert refused(studio, faces=(FaceWish(model="mediapipe-face-mesh"),)) == (
        "faces mediapipe-face-mesh restores no faces: it is for landmarks"
    )
    assert submitted(studio, faces=(FaceWish(visibility=0.0),)).faces == ()


def test_faces_of_an_upscale_are_restored_after_it(studio: Studio) -> None:
    make_utilities()
    restorers()
    upscale = UpscaleWish(upscaler="lanczos", factor=2, is_face_enhanced=True)
    resolved = submitted(studio, upscale=upscale, faces=(FaceWish(model="codeformer"),))
    assert [used.wish.is_after_upscale for used in resolved.faces] == [False, True]
    assert [used.assets[0].name for used in resolved.faces] == ["codeformer-0.1", "gfpgan-1.4"]


def test_transformers_are_neither_seamless_nor_balanced(studio: Studio) -> None:
    make_checkpoint("flux", family="flux")
    make_adapter("flux-canny", kind="controlnet", variant="canny", family="flux")
    assert refused(studio, checkpoint="flux", is_seamless=True) == (
        "is_seamless cannot be combined with the model flux (flux)"
    )
    mixed = {"kind": Kind.IMG2IMG, "image": picture(), "strength": 0.5, "mix": MixWish()}
    assert refused(studio, checkpoint="flux", **mixed) == "mix cannot be combined with the model flux (flux)"
    fields = {"kind": Kind.CONTROLNET, "controls": (control(balance=Balance.PROMPT),)}
    assert refused(studio, checkpoint="flux", **fields) == (
        "controls cannot be balanced towards the prompt for models of family flux: use a lower or higher"
        " scale instead"
    )
    make_adapter("canny", kind="controlnet", variant="canny")
    [used] = submitted(studio, **fields).controls
    assert used.balance is Balance.PROMPT


def test_a_variation_has_one_first_seed_and_counts_the_second(studio: Studio) -> None:
    wish = VariationWish(seed=2**32 - 1, strength=0.2, from_width=512, from_height=256)
    resolved = submitted(studio, seed=7, num_images=3, variation=wish)
    assert (resolved.seeds, resolved.variation_seeds) == ((7, 7, 7), (2**32 - 1, 0, 1))
    resolved = submitted(studio, seed=7, num_images=2, variation=VariationWish(seed=5))
    assert (resolved.seeds, resolved.variation_seeds) == ((7, 8), ())
    drawn = submitted(studio, variation=VariationWish(strength=0.5)).variation
    assert drawn is not None and drawn.seed is not None


def test_pipelines_of_their_own_vary_no_seed(studio: Studio) -> None:
    make_checkpoint("sana", family="sana")
    assert refused(studio, checkpoint="sana", variation=VariationWish(strength=0.5)) == (
        "variation cannot be combined with the model sana (sana)"
    )
