"""Whose uploads a job can name."""

from __future__ import annotations

import pytest

from apps.generation.models import GenerationJob
from tests.apps.api.native.conftest import DATA_URL, NativeClient


@pytest.mark.parametrize("prefix", ["", "upload:"])
def test_a_stranger_cannot_name_an_upload(ada: NativeClient, cleo: NativeClient, prefix: str) -> None:
    # She may know the picture's digest, since anybody who has the picture can compute it.
    upload = prefix + ada.post("/v1/uploads", {"image": DATA_URL}).json()["id"]
    job = {"kind": "img2img", "image": upload}

    refused = cleo.create(**job)

    assert refused.status_code == 400
    assert "names an upload that is not there any more" in refused.content.decode()
    assert not GenerationJob.objects.exists()
    assert ada.create(**job).status_code == 202


def test_estimates_do_not_tell_of_a_strangers_uploads(ada: NativeClient, cleo: NativeClient) -> None:
    upload = ada.post("/v1/uploads", {"image": DATA_URL}).json()["id"]
    job = {"model": "tiny", "prompt": "a red fox", "kind": "img2img", "image": upload}
    assert cleo.post("/v1/estimate", job).status_code == 400
    assert ada.post("/v1/estimate", job).status_code == 200
