"""GET /v1/models in OpenAI's form for their libraries; and which model a name of theirs means."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from apps.apikeys.choices import Scope
from apps.config.env import env_pairs
from tests.apps.api.openai.conftest import OpenAIClient, error_of, the_job
from tests.cast import Cast
from tests.factories import make_adapter, make_checkpoint, make_key

NOON = 1_772_452_800
TINY = {"id": "tiny", "object": "model", "created": NOON, "owned_by": "darkroom"}


@pytest.mark.parametrize(
    "headers",
    [
        {"User-Agent": "OpenAI/Python 3.54.0"},
        {"User-Agent": "AsyncOpenAI/Python 3.54.0"},
        {"User-Agent": "OpenAI/JS 6.1.0"},
        {"User-Agent": "Mozilla/5.0", "X-Stainless-Lang": "js"},
        {"User-Agent": "curl/8", "OpenAI-Organization": "org-1"},
    ],
)
def test_their_libraries_are_known_by_their_headers(ada: OpenAIClient, headers: dict[str, str]) -> None:
    assert ada.get("/v1/models", **headers).json() == {"object": "list", "data": [TINY]}
    assert ada.get("/v1/models/tiny", **headers).json() == TINY


@pytest.mark.parametrize("agent", ["curl/8.5", "python-requests/2.32", "Mozilla/5.0 (like OpenAI/1)", ""])
def test_everybody_else_gets_the_native_form(ada: OpenAIClient, agent: str) -> None:
    body = ada.get("/v1/models", **{"User-Agent": agent}).json()

    assert (body.keys(), body["items"][0]["name"]) == ({"items", "next_cursor"}, "tiny")
    assert ada.get("/v1/models/tiny", **{"User-Agent": agent}).json()["name"] == "tiny"
    assert "kind" in ada.get("/v1/models/facets", **{"User-Agent": agent}).json()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/files", "/v1/responses/resp_1/cancel"])
def test_what_is_not_there_is_told_in_the_askers_form(ada: OpenAIClient, path: str) -> None:
    assert error_of(ada.post(path, {})) == (
        404,
        {
            "message": f"Invalid URL (POST {path})",
            "type": "invalid_request_error",
            "param": None,
            "code": "unknown_url",
        },
    )
    native = ada.http.post(path, headers={"User-Agent": "curl/8.5"})
    assert (native.status_code, native["Content-Type"]) == (404, "application/problem+json")


def test_the_native_form_still_takes_changes(ada: OpenAIClient) -> None:
    response = ada.http.delete("/v1/models/tiny", headers=ada.headers | {"User-Agent": "curl/8"})

    assert response["Content-Type"] == "application/problem+json"
    assert response.status_code == 403


def test_below_a_path_of_its_own_everybody_gets_theirs(ada: OpenAIClient) -> None:
    body = ada.get("/openai/v1/models", **{"User-Agent": "curl/8.5"}).json()

    assert body == {"object": "list", "data": [TINY]}
    assert ada.get("/openai/v1/models/tiny", **{"User-Agent": "curl/8.5"}).json() == TINY


@pytest.mark.parametrize("base", ["/v1", "/openai/v1"])
def test_a_slash_at_the_end_is_as_good_as_none(ada: OpenAIClient, base: str) -> None:
    assert ada.get(f"{base}/models/").json() == {"object": "list", "data": [TINY]}
    assert ada.get(f"{base}/models/tiny/").json() == TINY


@pytest.mark.parametrize("base", ["/v1", "/openai/v1"])
@pytest.mark.parametrize("written", ["acme/tiny-v2", "acme%2Ftiny-v2"])
def test_names_with_slashes_as_the_libraries_send_them(ada: OpenAIClient, base: str, written: str) -> None:
    make_checkpoint("tiny-v2", aliases=["acme/tiny-v2"])

    assert ada.get(f"{base}/models/{written}").json()["id"] == "acme/tiny-v2"


def test_a_path_with_more_slashes_stays_the_native_apis_for_others(ada: OpenAIClient) -> None:
    response = ada.http.post("/v1/models/tiny/reload", headers=ada.headers | {"User-Agent": "curl/8"})

    assert (response.status_code, response.json()["code"]) == (403, "scope_missing")


def test_the_list_has_checkpoints_and_the_operators_names(ada: OpenAIClient, settings: Any) -> None:
    make_checkpoint("much-used", use_count=9, provider="acme")
    make_adapter("ink")
    settings.OPENAI_MODELS = {"dall-e-3": "tiny", "gpt-image-1": "missing", "default": "tiny"}

    listed = ada.get("/v1/models").json()["data"]

    assert [(model["id"], model["owned_by"]) for model in listed] == [
        ("much-used", "acme"),
        ("tiny", "darkroom"),
        ("dall-e-3", "darkroom"),
    ]


def test_cleo_sees_none_of_adas_models(cast: Cast, cleo: OpenAIClient) -> None:
    make_checkpoint("secret", visibility="private", owner=cast.account)

    assert [model["id"] for model in cleo.get("/v1/models").json()["data"]] == ["tiny"]
    assert error_of(cleo.get("/v1/models/secret")) == (
        404,
        {
            "message": "The model 'secret' does not exist or you do not have access to it.",
            "type": "invalid_request_error",
            "param": "model",
            "code": "model_not_found",
        },
    )


def test_a_key_that_may_not_look(cast: Cast, ada: OpenAIClient) -> None:
    key = make_key(cast.account, scopes=(Scope.IMAGES_GENERATE,)).plaintext

    assert error_of(OpenAIClient(key).get("/v1/models"))[1]["code"] == "scope_missing"
    assert error_of(OpenAIClient(None).get("/v1/models"))[1]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("mapped", "name", "meant"),
    [
        ({}, "tiny", "tiny"),
        ({}, "dall-e-3", "popular"),
        ({}, "gpt-image-1", "popular"),
        ({}, "chatgpt-image-latest", "popular"),
        ({}, None, "popular"),
        ({"default": "tiny"}, None, "tiny"),
        ({"default": "tiny"}, "dall-e-2", "tiny"),
        ({"dall-e-2": "popular", "default": "tiny"}, "dall-e-2", "popular"),
        ({"dall-e-2": "nick"}, "dall-e-2", "popular"),
        ({"mine": "tiny"}, "mine", "tiny"),
    ],
)
def test_which_model_a_name_means(
    ada: OpenAIClient, settings: Any, mapped: dict[str, str], name: str | None, meant: str
) -> None:
    make_checkpoint("popular", use_count=5, aliases=["nick"])
    make_checkpoint("inpainter", use_count=99, variant="inpaint")
    settings.OPENAI_MODELS = mapped

    assert ada.generate(model=name).status_code == 200
    assert the_job().resolved.checkpoint == meant


def test_a_mapped_model_that_is_not_there(ada: OpenAIClient, settings: Any) -> None:
    settings.OPENAI_MODELS = {"dall-e-3": "missing"}

    status, error = error_of(ada.generate(model="dall-e-3"))

    assert (status, error["message"], error["code"]) == (404, "Model not found: missing.", "model_not_found")


def test_no_model_at_all(ada: OpenAIClient, tiny: Any) -> None:
    tiny.delete()

    assert error_of(ada.generate(model="dall-e-3"))[1]["code"] == "model_not_found"


@pytest.fixture(autouse=True)
def names_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are read here are none of the product's."""
    monkeypatch.setattr("apps.config.env.names_read", set())


def test_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_PAIRS", " a=b , c=d,")
    assert env_pairs("TEST_PAIRS", "") == {"a": "b", "c": "d"}


@pytest.mark.parametrize("value", ["a", "a=", "=b", "a=b,a=c"])
def test_a_malformed_setting_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TEST_PAIRS", value)
    with pytest.raises(ImproperlyConfigured, match="TEST_PAIRS must be name=value"):
        env_pairs("TEST_PAIRS", "")
