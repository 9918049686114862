"""Super resolution of v3, v6 and enterprise."""

from __future__ import annotations

import pytest

from apps.catalog.models import CatalogEntry
from tests.apps.api.client import ApiClient
from tests.apps.api.modelslab.workbench import made, picture, refused, run
from tests.factories import make_adapter

EDITING = "/api/v6/image_editing"
SCENE = {"init_image": picture(128, 64)}

Utilities = dict[str, CatalogEntry]


@pytest.mark.parametrize(
    ("model_id", "chosen"),
    [
        (None, "realesrgan-x4plus"),
        ("RealESRGAN_x4plus", "realesrgan-x4plus"),
        ("RealESRGAN_x4plus_anime_6B", "realesr-animevideov3"),
        ("RealESRGAN_x2plus", "waifu2x-photo"),
        ("realesr-general-x4v3", "realesrgan-x4plus"),
        ("ultra_resolution", "realesrgan-x4plus"),
        ("waifu2x-art", "waifu2x-art"),
    ],
)
def test_their_upscalers_have_stand_ins(
    ada: ApiClient, utilities: Utilities, model_id: str | None, chosen: str
) -> None:
    answer = ada.post(f"{EDITING}/super_resolution", SCENE | {"model_id": model_id})

    assert answer.json()["meta"]["model_id"] == chosen


def test_an_upscaler_of_the_very_name_comes_first(ada: ApiClient, utilities: Utilities) -> None:
    make_adapter("ultra_resolution", kind="upscaler", family="", variant="rrdbnet", details={"scale": 4})

    answer = ada.post(f"{EDITING}/super_resolution", SCENE | {"model_id": "ultra_resolution"})

    assert answer.json()["meta"]["model_id"] == "ultra_resolution"


@pytest.mark.parametrize(
    ("path", "scale", "size"),
    [
        (f"{EDITING}/super_resolution", None, (384, 192)),
        (f"{EDITING}/super_resolution", "4", (512, 256)),
        (f"{EDITING}/super_resolution", 5, (640, 320)),
        ("/api/v1/enterprise/super_resolution/make", None, (256, 128)),
        ("/api/v3/super_resolution", 1, (128, 64)),
    ],
)
def test_scales(
    ada: ApiClient, utilities: Utilities, path: str, scale: object, size: tuple[int, int]
) -> None:
    assert made(ada.post(path, {"url": picture(128, 64), "scale": scale})).delivered_size == size


def test_enterprise_super_resolution_answers_with_one_link(ada: ApiClient, utilities: Utilities) -> None:
    fields = {"url": picture(), "scale": 2}
    accepted = ada.post("/api/v1/enterprise/super_resolution", fields).json()
    run(accepted["id"])

    body = ada.post("/api/v1/enterprise/fetch", {"request_id": accepted["id"]}).json()

    assert body == {
        "status": "success",
        "generationTime": 0.0,
        "id": accepted["id"],
        "output": accepted["future_links"][0],
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"scale": 9}, "scale must be a whole number from 1 to 8, not 9"),
        ({"model_id": "nobodys"}, "Model not found: nobodys"),
        ({"face_enhance": True}, "No face restoration model is installed on this server: import a model"),
    ],
)
def test_refusals_of_super_resolution(
    ada: ApiClient, utilities: Utilities, fields: dict[str, object], message: str
) -> None:
    assert refused(ada.post(f"{EDITING}/super_resolution", SCENE | fields)).startswith(message)


def test_too_large_a_result_names_the_scale(ada: ApiClient, utilities: Utilities) -> None:
    fields = {"init_image": picture(1200, 8), "scale": 8}

    message = refused(ada.post(f"{EDITING}/super_resolution", fields))

    assert message.startswith("scale would make 9600 x 64 of 1200 x 8")
