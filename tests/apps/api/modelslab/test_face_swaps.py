"""Face swaps: the face of `target_image` goes into `init_image`."""

from __future__ import annotations

from typing import Any

import pytest

from apps.catalog.models import CatalogEntry
from apps.generation.choices import FaceChoice
from apps.generation.models import GenerationJob
from tests.apps.api.client import ApiClient
from tests.apps.api.modelslab.workbench import made, picture, run
from tests.cast import Cast
from tests.factories import give_plan

SWAP = "/api/v6/faceswap/single_face_swap"
SCENE = {"init_image": picture(128, 64)}
FACES = SCENE | {"target_image": picture(32, 32)}

Utilities = dict[str, CatalogEntry]


@pytest.mark.parametrize(
    ("path", "fields", "which"),
    [
        (SWAP, {}, FaceChoice.LARGEST),
        (SWAP, {"reference_image": picture(16, 16)}, FaceChoice.REFERENCE),
        ("/api/v6/deepfake/specific_face_swap", {}, FaceChoice.LARGEST),
        ("/api/v6/faceswap/multiple_face_swap", {}, FaceChoice.ALL),
        ("/api/v1/enterprise/deepfake/multiple_face_swap", {}, FaceChoice.ALL),
    ],
)
def test_the_face_of_the_target_goes_into_the_scene(
    ada: ApiClient, utilities: Utilities, path: str, fields: dict[str, object], which: FaceChoice
) -> None:
    resolved = made(ada.post(path, FACES | {"watermark": True} | fields))

    assert resolved.image is not None
    assert resolved.face_swap is not None
    assert (resolved.image.width, resolved.face_swap.wish.source.width) == (128, 32)
    assert resolved.face_swap.wish.which is which


def test_swapped_faces_are_jpeg(ada: ApiClient, utilities: Utilities) -> None:
    accepted = ada.post(SWAP, FACES).json()
    assert accepted["meta"]["model_save_format"] == "jpg"
    assert accepted["future_links"][0].endswith("-0.jpg")

    run(accepted["id"])

    assert ada.get(accepted["future_links"][0])["Content-Type"] == "image/jpeg"


def test_base64_of_swapped_faces(ada: ApiClient, utilities: Utilities) -> None:
    accepted = ada.post(SWAP, FACES | {"base64": True}).json()

    assert accepted["future_links"][0].endswith("-0.base64")


# --- for all of them ---


def test_a_plan_without_the_kind_refuses(ada: ApiClient, cast: Cast, utilities: Utilities) -> None:
    give_plan(cast.account, kinds=["txt2img"])

    answer = ada.post(SWAP, FACES)

    assert (answer.status_code, answer["X-Darkroom-Error"]) == (403, "kind_not_in_plan")
    assert GenerationJob.objects.count() == 0


def test_strangers_do_not_see_the_result(ada: ApiClient, cleo: Any, utilities: Utilities) -> None:
    job_id = ada.post(SWAP, FACES).json()["id"]

    assert cleo.post(f"/api/v6/faceswap/fetch/{job_id}").status_code == 404
