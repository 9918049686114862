"""What answers look like where clients of one family or age read what others do not."""

from __future__ import annotations

import pytest

from apps.catalog.models import CatalogEntry
from tests.apps.api.client import PROMPT, ApiClient
from tests.apps.api.modelslab.workbench import mask, picture, run

FACES = {"init_image": picture(), "target_image": picture()}


@pytest.mark.parametrize(
    ("path", "fields", "kind"),
    [
        ("v6/images/text2img", PROMPT, float),
        ("v6/image_editing/removebg_mask", {"image": picture()}, int),
        ("v1/enterprise/image_editing/removebg_mask", {"image": picture()}, int),
        ("v6/faceswap/multiple_face_swap", FACES, int),
        ("v6/deepfake/multiple_face_swap", FACES, int),
    ],
)
def test_eta_is_a_whole_number_where_the_contract_has_one(
    ada: ApiClient, utilities: dict[str, CatalogEntry], path: str, fields: dict[str, object], kind: type
) -> None:
    accepted = ada.post(f"/api/{path}", fields).json()

    pending = ada.post(accepted["fetch_result"].removeprefix("http://testserver")).json()

    assert [type(body["eta"]) for body in (accepted, pending)] == [kind, kind]
    assert 0 < accepted["eta"] < 60


@pytest.mark.parametrize(("score", "is_found"), [(0.9, True), (0.1, False)])
def test_the_finding_is_where_clients_look(
    ada: ApiClient, utilities: dict[str, CatalogEntry], score: float, is_found: bool
) -> None:
    job_id = ada.submit(safety_checker="yes").json()["id"]
    run(job_id, notes={"nsfw": score})

    body = ada.post(f"/api/v6/images/fetch/{job_id}").json()

    assert (body["nsfw_content_detected"], body["meta"]["nsfw_detected"]) == (is_found, is_found)
    assert (body["meta"]["safety_checker"], body["meta"]["safetychecker"]) == ("yes", "yes")


def test_inpainting_needs_no_prompt(ada: ApiClient) -> None:
    fields = {"model_id": "tiny", "init_image": picture(), "mask_image": mask()}

    for path in ("v6/images/inpaint", "v7/images/inpaint"):
        assert ada.post(f"/api/{path}", fields).json()["meta"]["prompt"] == "high quality", path
