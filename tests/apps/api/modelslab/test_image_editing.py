"""Work on pictures: the image editing endpoints, super resolution and face swaps."""

from __future__ import annotations

import pytest

from apps.catalog.models import CatalogEntry
from apps.generation.choices import Kind
from apps.generation.wishes import MixWish
from tests.apps.api.client import ApiClient
from tests.apps.api.modelslab.workbench import made, mask, picture, refused, run
from tests.factories import make_checkpoint

EDITING = "/api/v6/image_editing"
SCENE = {"init_image": picture(128, 64)}

Utilities = dict[str, CatalogEntry]


def test_background_removal_takes_every_setting(ada: ApiClient, utilities: Utilities) -> None:
    fields = {
        "image": picture(),
        "alpha_matting": True,
        "post_process_mask": "yes",
        "only_mask": False,
        "inverse_mask": True,
        "alpha_matting_foreground_threshold": "200",
        "alpha_matting_background_threshold": 10,
        "alpha_matting_erode_size": 3,
        "seed": None,
    }

    background = made(ada.post(f"{EDITING}/removebg_mask", fields)).background

    assert background is not None
    wish = background.wish
    assert (wish.alpha_matting, wish.post_process_mask, wish.only_mask, wish.inverse_mask) == (
        True,
        True,
        False,
        True,
    )
    assert (
        wish.alpha_matting_foreground_threshold,
        wish.alpha_matting_background_threshold,
        wish.alpha_matting_erode_size,
    ) == (200, 10, 3)


def test_the_whole_answer_of_background_removal(ada: ApiClient, utilities: Utilities) -> None:
    accepted = ada.post(f"{EDITING}/removebg_mask", {"image": picture(), "track_id": "a7"}).json()
    job = run(accepted["id"])

    body = ada.post(f"{EDITING}/fetch/{job.pk}").json()

    assert body == {
        "status": "success",
        "generationTime": 0.0,
        "id": job.pk,
        "output": accepted["future_links"],
        "proxy_links": accepted["future_links"],
        "nsfw_content_detected": False,
        "webhook_status": "",
        "meta": {
            "W": 64,
            "H": 48,
            "width": 64,
            "height": 48,
            "seed": job.resolved.seed,
            "n_samples": 1,
            "model_save_format": "png",
            "base64": "no",
            "temp": "no",
            "instant_response": "no",
            "safety_checker": "no",
            "safetychecker": "no",
            "upscale": "no",
            "watermark": "no",
            "full_url": "no",
            "webhook": None,
            "track_id": "a7",
            "id": str(job.pk),
            "outdir": "out",
            "file_prefix": str(job.artifact_group),
            "nsfw_detected": False,
        },
    }


# --- outpainting ---


@pytest.mark.parametrize(
    ("given", "asked", "kept", "sides"),
    [
        ((128, 64), (256, 128), (128, 64), (64, 64, 32, 32)),
        ((128, 64), (131, 64), (128, 64), (1, 2, 0, 0)),
        # Larger than the canvas: made smaller first, so that all of it is in the result.
        ((256, 128), (128, 128), (128, 64), (0, 0, 32, 32)),
        ((100, 400), (200, 100), (25, 100), (87, 88, 0, 0)),
    ],
)
def test_the_picture_stands_in_the_middle_of_the_canvas(
    ada: ApiClient,
    given: tuple[int, int],
    asked: tuple[int, int],
    kept: tuple[int, int],
    sides: tuple[int, int, int, int],
) -> None:
    fields = {"image": picture(*given), "width": asked[0], "height": asked[1]}

    resolved = made(ada.post(f"{EDITING}/outpaint", fields))

    assert resolved.image is not None
    assert resolved.expand is not None
    assert (resolved.image.width, resolved.image.height) == kept
    grown = resolved.expand
    assert (grown.left, grown.right, grown.top, grown.bottom) == sides
    assert (resolved.width, resolved.height) == asked


def test_outpainting_has_the_documented_defaults(ada: ApiClient) -> None:
    resolved = made(ada.post(f"{EDITING}/outpaint", {"image": picture(), "seed": 0}))

    assert (resolved.width, resolved.height) == (1280, 720)
    assert (resolved.prompt, resolved.negative_prompt) == ("high quality", "low quality")
    assert resolved.expand is not None
    assert resolved.expand.overlap_px == 10


def test_a_picture_that_fills_the_canvas_leaves_nothing_to_add(ada: ApiClient) -> None:
    fields = {"image": picture(256, 128), "width": 128, "height": 64}

    assert refused(ada.post(f"{EDITING}/outpaint", fields)) == (
        "width leaves nothing to add: the picture fills 128 x 64 already"
    )


def test_inpainting_models_come_first(ada: ApiClient) -> None:
    make_checkpoint("brush", variant="inpaint")
    fields = SCENE | {"prompt": "a fox", "mask_image": mask(128, 64)}

    assert made(ada.post(f"{EDITING}/inpaint", fields)).checkpoint == "brush"
    assert made(ada.post(f"{EDITING}/outpaint", {"image": picture()})).checkpoint == "brush"
    assert made(ada.post(f"{EDITING}/inpaint", fields | {"model_id": "tiny"})).checkpoint == "tiny"


# --- removing, finding, describing ---


@pytest.mark.parametrize("name", ["object_name", "specific_object"])
def test_a_thing_is_removed_by_its_name(ada: ApiClient, readers: Utilities, name: str) -> None:
    resolved = made(ada.post(f"{EDITING}/object_removal", SCENE | {name: "a chair"}))

    assert (resolved.kind, resolved.mask, resolved.text) == (Kind.OBJECT_REMOVAL, None, "a chair")
    [model] = resolved.reader
    assert model.name == "text-mask"


def test_a_mask_says_more_than_a_name(ada: ApiClient, utilities: Utilities) -> None:
    fields = SCENE | {"object_name": "a chair", "mask_image": mask(128, 64)}

    resolved = made(ada.post(f"{EDITING}/object_removal", fields))

    assert (resolved.text, resolved.reader) == ("", ())
    assert resolved.mask is not None


def test_removing_needs_a_mask_or_a_name(ada: ApiClient, utilities: Utilities) -> None:
    message = refused(ada.post(f"{EDITING}/object_removal", SCENE | {"object_name": " "}))

    assert message == "mask_image is required, or object_name"


@pytest.mark.parametrize(
    ("path", "fields", "what"),
    [
        ("caption", SCENE, "caption model"),
        ("mask_creator", SCENE | {"specific_object": "fox"}, "model that finds what a text names"),
        ("face_gen", {"prompt": "x", "face_image": picture()}, "IP-adapter for faces"),
        ("flux_headshot", {"prompt": "x", "face_image": picture()}, "IP-adapter for faces for flux"),
        ("qwen_edit", SCENE | {"prompt": "x"}, "model that edits pictures"),
        ("img_mixer", SCENE | {"prompt": "x"}, "model that edits several pictures"),
        ("flux_kontext_img2img", SCENE | {"prompt": "x"}, "model flux-kontext-dev"),
        (
            "fashion",
            SCENE | {"cloth_image": picture(), "cloth_type": "upper_body"},
            "model that edits several pictures",
        ),
    ],
)
def test_what_is_not_installed_is_named(
    ada: ApiClient, utilities: Utilities, path: str, fields: dict[str, object], what: str
) -> None:
    answer = ada.post(f"{EDITING}/{path}", fields)

    assert answer["X-Darkroom-Error"] == "model_not_installed"
    assert refused(answer).startswith(f"No {what} is installed on this server: import ")


@pytest.mark.parametrize(("length", "asked"), [(None, "normal"), ("short", "short"), ("long", "long")])
def test_a_caption_is_words(ada: ApiClient, readers: Utilities, length: str | None, asked: str) -> None:
    accepted = ada.post(f"{EDITING}/caption", SCENE | {"length": length}).json()
    assert accepted["future_links"] == []

    job = run(accepted["id"])

    body = ada.post(f"{EDITING}/fetch/{job.pk}").json()
    assert (job.resolved.text, body["status"], body["output"]) == (asked, "success", ["a test card"])
    assert body["proxy_links"] == []


# --- faces, garments, several pictures ---


def test_a_face_comes_in_by_an_ip_adapter(ada: ApiClient, face_adapter: CatalogEntry) -> None:
    fields = {"prompt": "a knight", "face_image": picture(), "style": "comic", "s_scale": 7.5}

    resolved = made(ada.post(f"{EDITING}/face_gen", fields))

    assert resolved.kind is Kind.TXT2IMG
    assert resolved.prompt.startswith("a knight, comic book")
    [used] = resolved.ip_adapters
    assert (used.adapter.name, used.scale) == ("ip-adapter-plus-face_sd15", 2.0)


def test_faces_of_flux_need_an_adapter_of_flux(ada: ApiClient, face_adapter: CatalogEntry) -> None:
    answer = ada.post(f"{EDITING}/flux_headshot", {"prompt": "x", "face_image": picture(), "seed": 1})

    assert refused(answer).startswith("No IP-adapter for faces for flux is installed")


def test_fashion_edits_two_pictures(ada: ApiClient, editor: CatalogEntry) -> None:
    fields = SCENE | {"cloth_image": picture(32, 32), "cloth_type": "upper_body", "prompt": "in a park"}

    resolved = made(ada.post(f"{EDITING}/fashion", fields))

    assert (resolved.kind, len(resolved.references)) == (Kind.EDIT, 2)
    assert "(upper body)" in resolved.prompt
    assert resolved.prompt.endswith("in a park")


def test_qwen_edit_takes_the_named_model(ada: ApiClient, editor: CatalogEntry) -> None:
    make_checkpoint("qwen-edit-2511", family="flux", variant="kontext")

    assert made(ada.post(f"{EDITING}/qwen_edit", SCENE | {"prompt": "x"})).checkpoint == "qwen-edit-2511"
    named = SCENE | {"prompt": "x", "model_id": editor.name}
    assert made(ada.post(f"{EDITING}/qwen_edit", named)).checkpoint == editor.name


def test_a_model_that_does_not_edit_is_refused(ada: ApiClient) -> None:
    message = refused(ada.post(f"{EDITING}/qwen_edit", SCENE | {"prompt": "x", "model_id": "tiny"}))

    assert message.startswith("model_id tiny does not edit pictures")


MIX = {"prompt": "a coffee machine", "image": picture(128, 64)}


def test_a_picture_is_mixed_into_the_steps(ada: ApiClient, checkpoint: CatalogEntry) -> None:
    resolved = made(ada.post(f"{EDITING}/magic_mix", MIX))

    assert (resolved.kind, resolved.checkpoint, resolved.steps) == (Kind.IMG2IMG, "tiny", 20)
    assert (resolved.mix, resolved.strength) == (MixWish(share=0.5, until=0.3), 0.5)
    assert (resolved.width, resolved.height, resolved.num_images) == (768, 768, 1)


def test_no_size_is_the_most_that_a_small_model_makes(ada: ApiClient, checkpoint: CatalogEntry) -> None:
    make_checkpoint("small", max_side_px=256, max_native_side_px=256)

    resolved = made(ada.post(f"{EDITING}/magic_mix", MIX | {"model_id": "small", "height": 128}))

    assert (resolved.width, resolved.height) == (256, 128)


def test_what_is_said_of_mixing_counts(ada: ApiClient, checkpoint: CatalogEntry) -> None:
    said = {"kmin": "0.1", "kmax": 0.9, "mix_factor": 0.25, "steps": 30, "width": 256, "height": 128}
    answer = ada.post("/api/v1/enterprise/image_editing/magic_mix", MIX | said)

    resolved = made(answer)
    assert (resolved.mix, resolved.strength) == (MixWish(share=0.25, until=0.1), 0.9)
    assert (resolved.steps, resolved.width, resolved.height) == (30, 256, 128)
    meta = answer.json()["meta"]
    assert (meta["kmin"], meta["kmax"], meta["mix_factor"]) == (0.1, 0.9, 0.25)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kmin": 0.6}, "kmin must be at most kmax, 0.5, not 0.6"),
        ({"mix_factor": 2}, "mix_factor must be a number from 0 to 1, not 2"),
        ({"image": None}, "image is required"),
        ({"model_id": "flux"}, "model_id cannot be combined with the model flux (flux)"),
    ],
)
def test_what_cannot_be_mixed(
    ada: ApiClient, checkpoint: CatalogEntry, fields: dict[str, object], message: str
) -> None:
    make_checkpoint("flux", family="flux")

    assert refused(ada.post(f"{EDITING}/magic_mix", MIX | fields)) == message


def test_mixing_needs_a_unet(ada: ApiClient) -> None:
    CatalogEntry.objects.all().update(family="flux")

    answer = ada.post(f"{EDITING}/magic_mix", MIX)

    assert (answer.status_code, answer["X-Darkroom-Error"]) == (400, "model_not_installed")
    assert "Stable Diffusion checkpoint (1.x, 2.x or XL)" in answer.json()["message"]
