"""Image to image, inpainting, editing and what goes with any image: what the caller's fields come to."""

from __future__ import annotations

import pytest

from apps.api.modelslab.styles import all_styles, find_style
from apps.catalog.models import CatalogEntry
from apps.generation.choices import Kind, Replacement, Resize
from tests.apps.api.client import PROMPT, V6, ApiClient
from tests.apps.api.modelslab.workbench import made, mask, picture, refused, run
from tests.factories import make_adapter, make_checkpoint

IMG2IMG = "/api/v6/images/img2img"
V7_IMG2IMG = "/api/v7/images/image-to-image"
INPAINT = "/api/v6/images/inpaint"
SCENE = PROMPT | {"init_image": picture(128, 64)}
MASKED = SCENE | {"mask_image": mask(128, 64)}


def test_v6_image_to_image_has_the_size_of_its_picture(ada: ApiClient) -> None:
    resolved = made(ada.post(IMG2IMG, SCENE | {"width": 512, "height": 512, "strength": "0.4"}))

    assert (resolved.kind, resolved.width, resolved.height) == (Kind.IMG2IMG, 128, 64)
    assert resolved.strength == 0.4


def test_v7_image_to_image_has_the_asked_size_and_crops(ada: ApiClient) -> None:
    resolved = made(ada.post(V7_IMG2IMG, SCENE | {"width": 512, "height": 512}))

    assert (resolved.width, resolved.height, resolved.resize) == (512, 512, Resize.CROP)


def test_strength_has_the_documented_default(ada: ApiClient) -> None:
    body = ada.post(IMG2IMG, SCENE).json()

    assert body["meta"]["strength"] == 0.7


@pytest.mark.parametrize("strength", [-0.1, 1.1, "x"])
def test_strength_out_of_range(ada: ApiClient, strength: object) -> None:
    assert refused(ada.post(IMG2IMG, SCENE | {"strength": strength})).startswith(
        "strength must be a number from 0 to 1, not "
    )


def test_image_to_image_needs_no_prompt(ada: ApiClient) -> None:
    fields = {"model_id": "tiny", "init_image": picture()}

    assert made(ada.post(IMG2IMG, fields)).prompt == "high quality"


def test_text_to_image_with_a_picture_uses_it(ada: ApiClient) -> None:
    assert made(ada.post(V6, SCENE)).kind is Kind.IMG2IMG


def test_inpainting_works_on_the_white_of_the_mask(ada: ApiClient) -> None:
    resolved = made(ada.post(INPAINT, MASKED))

    assert (resolved.kind, resolved.strength) == (Kind.INPAINT, 1.0)
    assert resolved.mask is not None


@pytest.mark.parametrize(
    ("path", "field", "advice"),
    [
        (V6, "mask_image", "send the request to inpaint"),
        (IMG2IMG, "mask_image", "send the request to inpaint"),
        (V6, "controlnet_model", "send the request to controlnet"),
        (INPAINT, "control_image", "send the request to controlnet"),
    ],
)
def test_fields_of_other_endpoints_that_mean_something_say_where_to_send_them(
    ada: ApiClient, path: str, field: str, advice: str
) -> None:
    message = refused(ada.post(path, MASKED | {field: picture()}))

    assert message.startswith(f"{field} is not offered by this version")
    assert message.endswith(advice)


def test_an_editing_model_edits_all_pictures(ada: ApiClient, editor: CatalogEntry) -> None:
    fields = SCENE | {"model_id": editor.name, "init_image_2": picture(32, 32), "strength": 0.5}
    resolved = made(ada.post(IMG2IMG, fields | {"guidance": 2.5}))

    assert (resolved.kind, len(resolved.references), resolved.guidance_scale) == (Kind.EDIT, 2, 2.5)
    assert [reference.width for reference in resolved.references] == [128, 32]


def test_kontext_is_found_without_being_named(ada: ApiClient, editor: CatalogEntry) -> None:
    resolved = made(ada.post("/api/v1/enterprise/flux_kontext_dev/img2img", SCENE | {"model_id": None}))

    assert (resolved.kind, resolved.checkpoint) == (Kind.EDIT, "flux-kontext-dev")


# --- what goes with any image ---


@pytest.mark.parametrize(
    ("value", "size"),
    [("yes", (128, 128)), (True, (128, 128)), (2, (128, 128)), ("3", (192, 192)), (4, (256, 256))],
)
def test_upscale(
    ada: ApiClient, utilities: dict[str, CatalogEntry], value: object, size: tuple[int, int]
) -> None:
    body = ada.submit(upscale=value).json()

    assert body["meta"]["upscale"] == "yes"
    job = run(body["id"])
    assert job.resolved.delivered_size == size


@pytest.mark.parametrize("value", ["no", False, 1, "1", 0, None])
def test_no_upscale(ada: ApiClient, value: object) -> None:
    assert made(ada.submit(upscale=value)).upscale is None


def test_upscale_refuses_other_factors(ada: ApiClient) -> None:
    assert refused(ada.submit(upscale=5)) == "upscale must be yes (twice), no, or 1, 2, 3, 4 or 8, not 5"


def test_upscale_without_a_model_says_what_to_import(ada: ApiClient) -> None:
    answer = ada.submit(upscale="yes")

    assert answer["X-Darkroom-Error"] == "model_not_installed"
    assert refused(answer) == (
        "No upscaler is installed on this server: import a model of kind upscaler, or register the one that"
        " ships with `deploy/manage bootstrap`."
    )


def test_highres_fix_adds_a_second_pass_at_twice_the_size(ada: ApiClient) -> None:
    body = ada.submit(highres_fix="yes").json()

    assert (body["meta"]["highres_fix"], body["meta"]["W"], body["meta"]["H"]) == ("yes", 128, 128)


@pytest.mark.parametrize(
    ("asked", "skipped", "said"), [(None, 0, None), (0, 0, None), (1, 0, None), ("2", 1, 2), (8, 7, 8)]
)
def test_clip_skip_counts_from_one(ada: ApiClient, asked: object, skipped: int, said: int | None) -> None:
    answer = ada.submit(clip_skip=asked)

    assert made(answer).clip_skip == skipped
    assert answer.json()["meta"].get("clip_skip") == said


def test_clip_skip_means_nothing_to_models_that_do_not_read_by_clip(ada: ApiClient) -> None:
    make_checkpoint("flux", family="flux")

    assert made(ada.submit(model_id="flux", clip_skip=2)).clip_skip == 0


def test_true_cfg_scale_is_for_flux(ada: ApiClient) -> None:
    make_checkpoint("flux", family="flux")

    assert made(ada.submit(model_id="flux", true_cfg_scale=4)).true_guidance_scale == 4.0
    assert made(ada.submit(true_cfg_scale=4)).true_guidance_scale == 1.0


@pytest.mark.parametrize("path", [V6, IMG2IMG])
def test_panorama_makes_edges_that_fit_together(ada: ApiClient, path: str) -> None:
    fields = PROMPT if path == V6 else SCENE

    answer = ada.post(path, fields | {"panorama": "yes"})

    assert made(answer).is_seamless
    assert answer.json()["meta"]["panorama"] == "yes"
    plain = ada.post(path, fields | {"panorama": "no"}).json()
    assert plain["meta"]["panorama"] == "no"


def test_panorama_is_refused_by_its_name_where_a_model_cannot(ada: ApiClient) -> None:
    make_checkpoint("flux", family="flux")

    assert refused(ada.submit(model_id="flux", panorama="yes")).startswith("panorama ")


def test_enhance_style_joins_both_prompts(ada: ApiClient) -> None:
    body = ada.submit(negative_prompt="cars", enhance_style="Anime").json()

    style = find_style("anime")
    assert style is not None
    assert body["meta"]["prompt"] == f"a red fox, {style.wanted}"
    assert body["meta"]["negative_prompt"] == f"cars, {style.avoided}"
    assert body["meta"]["enhance_style"] == "Anime"


def test_an_unknown_style_is_ignored(ada: ApiClient) -> None:
    body = ada.submit(enhance_style="no-such-style").json()

    assert body["meta"]["prompt"] == "a red fox"
    assert "enhance_style" not in body["meta"]


def test_styles_say_something() -> None:
    assert len(all_styles()) == 185
    for name, style in all_styles().items():
        assert name == name.strip().lower()
        assert 20 < len(style.wanted) < 120, name
        assert style.avoided, name


def test_an_ip_adapter_is_found_by_what_it_is(ada: ApiClient, face_adapter: CatalogEntry) -> None:
    make_adapter("some-adapter", kind="ip_adapter", variant="base")
    fields = {"ip_adapter_id": "ip-adapter_sd15", "ip_adapter_image": picture(), "ip_adapter_scale": "0.8"}

    body = ada.submit(**fields).json()

    assert (body["meta"]["ip_adapter_id"], body["meta"]["ip_adapter_scale"]) == ("some-adapter", 0.8)


def test_a_missing_ip_adapter_is_named(ada: ApiClient) -> None:
    fields = {"ip_adapter_id": "ip-adapter_sdxl", "ip_adapter_image": picture()}

    assert refused(ada.submit(**fields)) == (
        "No IP-adapter ip-adapter_sdxl is installed on this server: import it under this name, or name"
        " another with ip_adapter_id."
    )


def test_an_ip_adapter_needs_a_picture(ada: ApiClient) -> None:
    assert refused(ada.submit(ip_adapter_id="x")) == "ip_adapter_image is required with ip_adapter_id"


def test_a_picture_without_an_ip_adapter_means_nothing(ada: ApiClient) -> None:
    assert made(ada.submit(ip_adapter_image=picture(), ip_adapter_scale=0.6)).ip_adapters == ()


# --- safety ---


@pytest.mark.parametrize(
    ("said", "replacement"),
    [
        (None, Replacement.SENSITIVE_CONTENT_TEXT),
        ("blur", Replacement.BLUR),
        ("BLACK", Replacement.BLACK),
        ("pixelate", Replacement.PIXELATE),
    ],
)
def test_safety_checker(
    ada: ApiClient, utilities: dict[str, CatalogEntry], said: str | None, replacement: Replacement
) -> None:
    answer = ada.submit(safety_checker="yes", safety_checker_type=said)

    check = made(answer).check
    assert check is not None
    assert check.replacement is replacement
    meta = answer.json()["meta"]
    assert (meta["safety_checker"], meta["safety_checker_type"]) == ("yes", replacement.value)


def test_a_flagged_image_is_a_success_that_says_so(
    ada: ApiClient, utilities: dict[str, CatalogEntry]
) -> None:
    job_id = ada.submit(safety_checker="yes").json()["id"]
    run(job_id, notes={"nsfw": 0.93, "is_replaced": True})

    body = ada.post(f"/api/v6/images/fetch/{job_id}").json()

    assert (body["status"], body["nsfw_content_detected"], len(body["output"])) == ("success", True, 1)


def test_an_unknown_replacement_is_refused(ada: ApiClient) -> None:
    assert refused(ada.submit(safety_checker="yes", safety_checker_type="mosaic")).startswith(
        "safety_checker_type must be one of blur, sensitive_content_text, pixelate, black"
    )
