"""Extras, png-info and interrogate: what is done with pictures alone."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from apps.generation.choices import Kind
from apps.generation.models import GenerationJob
from tests.apps.api.a1111.conftest import A1111Client, bad_field, last_request, opened, picture, refusal
from tests.factories import make_adapter


@pytest.fixture(autouse=True)
def upscaler(ada: A1111Client) -> None:
    """Real-ESRGAN, which ships."""
    make_adapter("realesrgan-x4plus", kind="upscaler", family="", variant="rrdbnet", details={"scale": 4})


def test_a_picture_twice_as_large(ada: A1111Client) -> None:
    body = ada.post("extra-single-image", {"image": picture(), "upscaler_1": "R-ESRGAN 4x+"}).json()

    assert body.keys() == {"html_info", "image"}
    assert opened(body["image"]).size == (128, 128)
    resolved = last_request()
    assert (resolved.kind, resolved.upscale.assets[0].name) == (Kind.UPSCALE, "realesrgan-x4plus")


@pytest.mark.parametrize(("crops", "size"), [(True, (96, 64)), (False, (96, 96))])
def test_a_size_of_other_proportions(ada: A1111Client, crops: bool, size: tuple[int, int]) -> None:
    sides = {"resize_mode": 1, "upscaling_resize_w": 96, "upscaling_resize_h": 64, "upscaling_crop": crops}

    body = ada.post("extra-single-image", {"image": picture(), "upscaler_1": "Lanczos"} | sides).json()

    assert opened(body["image"]).size == size
    image = last_request().image
    assert (image.width, image.height) == ((64, 43) if crops else (64, 64))


def test_nothing_is_done_without_an_upscaler(ada: A1111Client) -> None:
    body = ada.post("extra-single-image", {"image": picture()}).json()

    assert opened(body["image"]).size == (64, 64)
    assert not GenerationJob.objects.exists()


def test_mending_faces_without_a_model(ada: A1111Client) -> None:
    response = ada.post("extra-single-image", {"image": picture(), "codeformer_visibility": 1})

    assert refusal(response)[0] == 400
    assert response["X-Darkroom-Error"] == "model_not_installed"


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"gfpgan_visibility": 1.5}, "gfpgan_visibility"),
        ({"extras_upscaler_2_visibility": 0.5, "upscaler_2": "Lanczos"}, "extras_upscaler_2_visibility"),
        ({"upscaling_resize": 99}, "upscaling_resize"),
        ({"image": None}, "image"),
        ({"image": 5}, "image"),
    ],
)
def test_wrong_extras(ada: A1111Client, fields: dict[str, Any], field: str) -> None:
    sent = {"image": picture(), "upscaler_1": "Lanczos"} | fields

    assert bad_field(ada.post("extra-single-image", sent))[0] == field


def test_an_unknown_upscaler(ada: A1111Client) -> None:
    answer = ada.post("extra-single-image", {"image": picture(), "upscaler_1": "LDSR"})

    assert refusal(answer) == (400, "Invalid upscaler: LDSR")


def test_a_batch(ada: A1111Client) -> None:
    items = [{"data": picture(size=(64, 64)), "name": "a"}, {"data": picture(size=(80, 64)), "name": "b"}]

    body = ada.post("extra-batch-images", {"imageList": items, "upscaler_1": "Lanczos"}).json()

    assert body["html_info"] == ""
    assert [opened(image).size for image in body["images"]] == [(128, 128), (160, 128)]


@pytest.mark.parametrize(
    ("value", "field"),
    [(None, "imageList"), ([], "imageList"), (["x"], "imageList.0"), ([{"name": "a"}], "imageList.0.data")],
)
def test_a_wrong_batch(ada: A1111Client, value: Any, field: str) -> None:
    assert bad_field(ada.post("extra-batch-images", {"imageList": value}))[0] == field


def test_a_result_says_what_was_asked(ada: A1111Client) -> None:
    make_adapter("ink")
    asked = {"prompt": "a red fox <lora:ink:0.8>", "negative_prompt": "fog, (rain:1.2)", "seed": 7}
    image = ada.draw(**asked, steps=20, sampler_name="DPM++ 2M").json()["images"][0]

    body = ada.post("png-info", {"image": f"data:image/png;base64,{image}"}).json()

    assert body["items"] == {"parameters": body["info"]}
    assert body["info"].startswith("a red fox <lora:ink:0.8>\nNegative prompt: fog, (rain:1.2)\nSteps: 20, ")
    expected = {
        "Prompt": asked["prompt"],
        "Negative prompt": asked["negative_prompt"],
        "Steps": "20",
        "Sampler": "DPM++ 2M",
        "Schedule type": "Karras",
        "CFG scale": "7",
        "Seed": "7",
        "Size-1": "64",
        "Size-2": "64",
        "Model": "tiny",
    }
    assert body["parameters"].items() >= expected.items()
    # And a request that says nothing but this text is the same request.
    ada.post("txt2img", {"infotext": body["info"]})
    first, second = (job.resolved for job in GenerationJob.objects.order_by("pk"))
    assert first == second


def test_a_picture_that_says_nothing(ada: A1111Client) -> None:
    assert ada.post("png-info", {"image": picture()}).json() == {"info": "", "items": {}, "parameters": {}}


@pytest.mark.parametrize("text", ["!", "https://example.com/a.png"])
def test_what_is_no_picture(ada: A1111Client, text: str) -> None:
    assert refusal(ada.post("png-info", {"image": text}))[0] == 500


def test_what_cannot_be_decoded_says_nothing(ada: A1111Client) -> None:
    text = base64.b64encode(b"not a picture").decode()

    assert ada.post("png-info", {"image": text}).json()["info"] == ""


def test_a_caption(ada: A1111Client) -> None:
    make_adapter("blip", kind="preprocessor", variant="caption", family="")

    assert ada.post("interrogate", {"image": picture(), "model": "clip"}).json() == {"caption": "a test card"}


@pytest.mark.parametrize(
    ("fields", "detail"),
    [({"image": ""}, "Image not found"), ({"model": "deepdanbooru"}, "Model not found")],
)
def test_captions_that_cannot_be(ada: A1111Client, fields: dict[str, str], detail: str) -> None:
    assert refusal(ada.post("interrogate", {"image": picture()} | fields)) == (404, detail)


def test_captions_without_a_model(ada: A1111Client) -> None:
    response = ada.post("interrogate", {"image": picture()})

    assert (refusal(response)[0], response["X-Darkroom-Error"]) == (400, "model_not_installed")
