"""Paths as clients put them together, and fetching below names that make nothing here."""

from __future__ import annotations

import pytest

from tests.apps.api.client import PROMPT, ApiClient
from tests.factories import make_adapter


@pytest.mark.parametrize(
    "path", ["/api/v6/images/text2img/", "/api//v6/images/text2img", "/api/v6//images///text2img//"]
)
def test_a_slash_too_many_is_no_other_place(ada: ApiClient, path: str) -> None:
    answer = ada.post(path, PROMPT)

    assert (answer.status_code, answer.json()["status"]) == (200, "processing")


@pytest.mark.parametrize("path", ["/api/", "/api//", "/api/v6/images/", "/api/v6/images/text2image/"])
def test_what_is_nowhere_is_a_404_in_the_dialects_shape(ada: ApiClient, path: str) -> None:
    answer = ada.post(path, PROMPT)

    assert (answer.status_code, answer["X-Darkroom-Error"]) == (404, "not_found")
    assert answer.json() == {
        "status": "error",
        "message": f"Path {path} was not found.",
        "messege": f"Path {path} was not found.",
    }


@pytest.mark.parametrize(
    "family",
    [
        "v3",
        "v4/dreambooth",
        "v5/images",
        "v5/controlnet",
        "v6",
        "v6/interior",
        "v6/video",
        "v7/images",
        "v1/enterprise",
        "v1/enterprise/interior",
        "v1/enterprise/faceswap",
        "v1/image_editing",
    ],
)
def test_any_fetch_path_resolves_any_id(ada: ApiClient, family: str) -> None:
    job_id = ada.submit().json()["id"]

    for answer in (
        ada.post(f"/api/{family}/fetch/{job_id}"),
        ada.get(f"/api/{family}/fetch/{job_id}"),
        ada.post(f"/api/{family}/fetch", {"id": job_id}),
        ada.get(f"/api/{family}/fetch?request_id={job_id}"),
        ada.post(f"/api/{family}/fetch/{job_id}/"),
    ):
        assert (answer.status_code, answer.json()["id"]) == (200, job_id)
    unknown = ada.post(f"/api/{family}/fetch/{job_id + 1}")
    assert (unknown.status_code, unknown.json()["status"]) == (404, "error")


def test_a_model_may_be_called_fetch(ada: ApiClient) -> None:
    make_adapter("fetch", kind="lora")

    for prefix in ("v6/model-search", "v7/models", "agents/v1/models"):
        assert ada.get(f"/api/{prefix}/fetch").json()["data"]["model_id"] == "fetch", prefix
