"""Which model serves a request that names none; and webhooks, whose requests are any."""

from __future__ import annotations

from typing import Any

import pytest

from tests.apps.api.client import V7, ApiClient
from tests.apps.api.modelslab.workbench import made, refused
from tests.factories import make_checkpoint


def test_realtime_takes_a_fast_model(ada: ApiClient) -> None:
    make_checkpoint("slow", use_count=900)
    make_checkpoint("quick", family="sdxl", variant="turbo", use_count=1)

    assert made(ada.post("/api/v6/realtime/text2img", {"prompt": "a fox"})).checkpoint == "quick"
    assert made(ada.post("/api/v3/text2img", {"prompt": "a fox", "model_id": "slow"})).checkpoint == "quick"


def test_realtime_takes_the_operators_model(ada: ApiClient, settings: Any) -> None:
    make_checkpoint("quick", variant="turbo")
    settings.REALTIME_MODEL = "tiny"

    assert made(ada.post("/api/v6/realtime/text2img", {"prompt": "a fox"})).checkpoint == "tiny"


def test_realtime_without_a_fast_model_takes_what_is_used_most(ada: ApiClient) -> None:
    make_checkpoint("popular", use_count=9)
    make_checkpoint("inpainting", variant="inpaint", use_count=99)

    assert made(ada.post("/api/v6/realtime/text2img", {"prompt": "a fox"})).checkpoint == "popular"


def test_a_server_of_one_family_takes_a_model_of_it(ada: ApiClient) -> None:
    make_checkpoint("some-flux", family="flux")

    assert made(ada.post("/api/v1/enterprise/flux/text2img", {"prompt": "x"})).checkpoint == "some-flux"
    message = refused_now(ada.post("/api/v1/enterprise/z_image_turbo/text2img", {"prompt": "x"}))
    assert message == "Model not found: z-image-turbo"


def refused_now(response: Any) -> str:
    """Of a client that has made something before."""
    assert response.status_code == 400
    return str(response.json()["message"])


def test_fields_in_the_query_string_count(ada: ApiClient) -> None:
    answer = ada.post("/api/v3/text2img?prompt=a+fox&seed=7", {"seed": 8})

    assert (made(answer).prompt, made(answer).seed) == ("a fox", 8)


def test_v7_fetch_result_stays_in_its_family(ada: ApiClient) -> None:
    assert "/api/v7/images/fetch/" in ada.submit(V7).json()["fetch_result"]


# --- webhooks ---


def test_a_webhook_is_kept_with_the_job(ada: ApiClient, settings: Any) -> None:
    body = ada.submit(webhook="https://example.com/hook", track_id=7).json()

    assert (body["meta"]["webhook"], body["meta"]["track_id"]) == ("https://example.com/hook", 7)


@pytest.mark.parametrize("name", ["webhook", "webhook_url"])
def test_an_unusable_webhook_is_refused_by_the_clients_name(ada: ApiClient, name: str) -> None:
    assert refused(ada.submit(**{name: "ftp://example.com"})).startswith(f"{name} must be a URL")
    assert refused(ada.submit(**{name: "https://127.0.0.1/hook"})).startswith(f"{name} cannot be used")
