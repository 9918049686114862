"""Pictures in requests: every way clients send them, and refusals that name the client's own field."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from apps.catalog.models import CatalogEntry
from apps.generation.models import GenerationJob
from apps.generation.picture_store import picture_bytes
from tests.apps.api import jobs
from tests.apps.api.client import PROMPT, ApiClient
from tests.apps.api.modelslab.workbench import made, mask, picture, refused
from tests.factories import png_bytes

IMG2IMG = "/api/v6/images/img2img"
INPAINT = "/api/v6/images/inpaint"


@pytest.mark.parametrize("name", ["init_image", "init_image_1", "image"])
def test_a_picture_goes_by_each_of_its_names(ada: ApiClient, name: str) -> None:
    image = made(ada.post(IMG2IMG, PROMPT | {name: picture(80, 64)})).image

    assert image is not None
    assert (image.width, image.height) == (80, 64)


def test_data_urls_raw_base64_and_lists_of_one_are_the_same(ada: ApiClient) -> None:
    raw = base64.b64encode(png_bytes(width=64, height=64)).decode()
    given = [raw, f"data:image/png;base64,{raw}", [raw], raw.rstrip("=")]

    images = {made(ada.post(IMG2IMG, PROMPT | {"init_image": each})).image for each in given}

    [image] = images
    assert image is not None
    assert Image.open(io.BytesIO(picture_bytes(image.digest))).size == (64, 64)


def test_a_link_to_an_earlier_image_is_read_from_the_store(ada: ApiClient) -> None:
    job_id = ada.submit().json()["id"]
    jobs.run_all()
    link = ada.post(f"/api/v6/images/fetch/{job_id}").json()["output"][0]

    body = ada.post(IMG2IMG, PROMPT | {"init_image": link}).json()

    assert body["meta"]["init_image"] == link
    image = GenerationJob.objects.get(pk=body["id"]).resolved.image
    assert image is not None
    assert (image.width, image.height) == (8, 8)


def test_meta_repeats_addresses_but_never_base64(ada: ApiClient) -> None:
    body = ada.post(IMG2IMG, PROMPT | {"init_image": picture()}).json()

    assert "init_image" not in body["meta"]


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("http://127.0.0.1/secret.png", "init_image could not be fetched: "),
        ("ftp://example.com/a.png", "init_image must be an http or https address, a data URL or base64"),
        ("not base64!", "init_image is neither an address nor base64"),
        (base64.b64encode(b"GIF89a").decode(), "init_image "),
        (base64.b64encode(b"%PDF-1.7 hello").decode(), "init_image "),
        (5, "init_image must be an address or base64, not int"),
        ({"url": "x"}, "init_image must be an address or base64, not dict"),
        ([], "init_image must be one picture, or a list of at most 10"),
        (["x"] * 11, "init_image must be one picture, or a list of at most 10"),
    ],
)
def test_unusable_pictures_are_refused_by_the_clients_name(
    ada: ApiClient, given: object, problem: str
) -> None:
    assert refused(ada.post(IMG2IMG, PROMPT | {"init_image": given})).startswith(problem)


def test_the_mask_is_named_when_the_mask_is_wrong(ada: ApiClient) -> None:
    fields = PROMPT | {"init_image": picture(), "mask_image": "http://10.0.0.7/mask.png"}

    assert refused(ada.post(INPAINT, fields)).startswith("mask_image could not be fetched: ")


def test_of_several_the_wrong_one_is_named(ada: ApiClient, editor: CatalogEntry) -> None:
    fields = {"prompt": "x", "model_id": editor.name, "init_image": [picture(), "no picture!"]}

    assert refused(ada.post("/api/v6/image_editing/qwen_edit", fields)).startswith("init_image")


def test_a_fetch_that_fails_names_the_place_in_the_list(ada: ApiClient, editor: CatalogEntry) -> None:
    fields = {"prompt": "x", "model_id": editor.name, "init_image": [picture(), "http://127.0.0.1/b.png"]}

    message = refused(ada.post("/api/v6/image_editing/qwen_edit", fields))

    assert message.startswith("init_image[1] could not be fetched: ")


def test_pictures_are_not_fetched_for_a_request_that_is_wrong_anyway(ada: ApiClient) -> None:
    fields = PROMPT | {"init_image": "http://127.0.0.1/a.png", "seed": "x"}

    assert refused(ada.post(IMG2IMG, fields)).startswith("seed must be")


def test_several_pictures_are_for_models_that_edit(ada: ApiClient) -> None:
    fields = PROMPT | {"init_image": [picture(), picture()]}

    assert refused(ada.post(IMG2IMG, fields)) == (
        "init_image must be one picture for model tiny, not 2: several are for models that edit pictures"
    )


def test_a_mask_may_be_raw_base64(ada: ApiClient) -> None:
    resolved = made(ada.post(INPAINT, PROMPT | {"init_image": picture(), "mask_image": mask()}))

    assert resolved.mask is not None
    assert not resolved.mask.has_alpha


def test_an_expired_link_of_ours_says_so(ada: ApiClient) -> None:
    fields = PROMPT | {"init_image": "http://testserver/media/1000000.xyz/generations/a-0.png"}

    assert "expired" in refused(ada.post(IMG2IMG, fields))
