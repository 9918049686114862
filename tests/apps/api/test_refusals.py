"""Requests that are refused: the dialect's shape, the documented status, and nothing left behind."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import OperationalError

from apps.apikeys.choices import Scope
from apps.catalog.models import CatalogEntry
from apps.core.errors import MalformedBody
from apps.generation.models import GenerationJob
from tests.apps.api import jobs
from tests.apps.api.client import PROMPT, V6, V7, ApiClient
from tests.cast import Cast
from tests.factories import give_plan, make_key

MISSING = "An API key is required: send it as `key` in the body or as `Authorization: Bearer <key>`."


def assert_refused(response: Any, status: int, message: str, code: str, **extra: object) -> None:
    assert response.status_code == status
    assert response.json() == {"status": "error", "message": message, "messege": message} | extra
    assert response["Content-Type"] == "application/json"
    assert response["X-Darkroom-Error"] == code
    assert jobs.traces() == jobs.NOTHING


@pytest.mark.parametrize("path", [V6, V7, "/api/v6/images/fetch", "/api/v6/images/fetch/1"])
def test_without_a_key(anybody: ApiClient, path: str) -> None:
    response = anybody.post(path, PROMPT)

    assert_refused(response, 401, MISSING, "api_key_missing")
    assert response["WWW-Authenticate"] == 'Bearer realm="darkroom"'


@pytest.mark.parametrize(
    "key", ["dkr_aaaaaaaa_bbbb", "x", "\ud800", "a\0b", " ", 7, None, ["x"], True, "x" * 10_000]
)
def test_with_a_wrong_key(anybody: ApiClient, key: object) -> None:
    response = anybody.submit(key=key)

    assert response.status_code == 401
    assert response.json()["message"] in ("Invalid API key", MISSING)
    assert jobs.traces() == jobs.NOTHING


@pytest.mark.parametrize(
    "carrier",
    ["body", "form", "key", "Key", "X-API-Key", "Authorization", "query"],
)
def test_every_place_for_the_key(anybody: ApiClient, cast: Cast, carrier: str) -> None:
    text = cast.key_text
    if carrier == "body":
        response = anybody.submit(key=text)
    elif carrier == "form":
        response = anybody.http.post(V6, PROMPT | {"key": text})
    elif carrier == "query":
        response = anybody.submit(f"{V6}?key={text}")
    else:
        value = f"bearer {text}" if carrier == "Authorization" else text
        response = anybody.post(V6, PROMPT, **{carrier: value})

    assert response.json()["status"] == "processing"


def test_one_valid_key_among_wrong_ones_is_enough(ada: ApiClient, cast: Cast) -> None:
    assert ada.submit(key="wrong").json()["status"] == "processing"
    assert ada.post(V6, PROMPT, key="wrong", X_API_Key="wrong").json()["status"] == "processing"


def test_revoked_key(ada: ApiClient, cast: Cast) -> None:
    cast.key.revoked_at = cast.key.created_at
    cast.key.save(update_fields=["revoked_at"])

    assert_refused(ada.submit(), 401, "Invalid API key", "api_key_invalid")


def test_key_without_the_scope(anybody: ApiClient, cast: Cast) -> None:
    reader = ApiClient(make_key(cast.account, scopes=[Scope.JOBS_READ]).plaintext)

    assert_refused(reader.submit(), 403, "This API key lacks the scope images:generate.", "scope_missing")


def test_key_that_may_not_use_the_model(checkpoint: CatalogEntry, cast: Cast) -> None:
    narrow = ApiClient(make_key(cast.account, allowed_checkpoints=["other"]).plaintext)

    message = "This API key may not use the model tiny."
    assert_refused(narrow.submit(), 403, message, "checkpoint_not_allowed")


def test_kind_not_in_plan(ada: ApiClient, cast: Cast) -> None:
    give_plan(cast.account, kinds=["upscale"])

    assert_refused(ada.submit(), 403, "Your plan only-ada does not include txt2img.", "kind_not_in_plan")


def test_more_images_than_the_plan_allows(ada: ApiClient, cast: Cast) -> None:
    give_plan(cast.account, max_samples=4)

    message = "The plan only-ada allows at most 4 images in one request, not 5."
    assert_refused(ada.submit(samples=5), 403, message, "too_many_images")


def test_quota_used_up(ada: ApiClient, cast: Cast) -> None:
    give_plan(cast.account, calls_per_day=0)

    response = ada.submit()

    message = "The daily limit of 0 calls is used up; it resets at 2026-03-03T00:00:00Z."
    assert_refused(response, 429, message, "daily_quota_exhausted", retry_after=43200)
    assert response["Retry-After"] == "43200"
    assert response["X-RateLimit-Remaining"] == "0"
    assert response["X-RateLimit-Reset"] == "43200"


def test_queue_full(ada: ApiClient, cast: Cast) -> None:
    give_plan(cast.account, queue_depth=1)
    ada.submit()
    before = jobs.traces()

    response = ada.submit()

    assert (response.status_code, response["Retry-After"]) == (429, "30")
    assert response["X-RateLimit-Reset"] == "30"
    assert response.json()["retry_after"] == 30
    assert response.json()["message"] == (
        "The queue limit of 1 open requests is reached; try again in 30 seconds."
    )
    assert jobs.traces() == before


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b'{"prompt": ', "is not valid JSON: Expecting value at character 11"),
        (b'{"prompt": "\xff"}', "is not UTF-8"),
        (b"[]", "must be a JSON object"),
        (b'"text"', "must be a JSON object"),
        (b"null", "must be a JSON object"),
        (b"7", "must be a JSON object"),
        (b'{"prompt": "a", "prompt": "b"}', 'names the field "prompt" more than once'),
        (b'{"x": {"a": 1, "a": 2}}', 'names the field "a" more than once'),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "is nested too deeply"),
        (b'{"seed": ' + b"9" * 5000 + b"}", "contains a number with too many digits"),
        (b"{} trailing", "is not valid JSON: Extra data at character 3"),
        (b"<xml/>", "is not valid JSON: Expecting value at character 0"),
    ],
)
def test_unreadable_bodies(ada: ApiClient, body: bytes, problem: str) -> None:
    message = str(MalformedBody(problem=problem))

    assert_refused(ada.post(V6, body), 400, message, "malformed_body")


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "", "nonsense"])
def test_json_is_json_whatever_its_content_type(ada: ApiClient, content_type: str) -> None:
    response = ada.http.post(V6, json.dumps(PROMPT).encode(), content_type, headers=ada.headers)

    assert response.json()["status"] == "processing"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/x-www-form-urlencoded", b"prompt=a&prompt=b"),
        ("multipart/form-data", b"--y\r\nnonsense"),
        ("application/x-www-form-urlencoded; charset=utf-16", b"prompt=a"),
        ("application/x-www-form-urlencoded", b"&".join(b"f%d=1" % n for n in range(2000))),
    ],
)
def test_unreadable_forms(ada: ApiClient, content_type: str, body: bytes) -> None:
    response = ada.http.post(V6, body, content_type, headers=ada.headers)

    assert (response.status_code, response["X-Darkroom-Error"]) == (400, "malformed_body")


def test_bodies_above_the_cap_are_refused_unread(ada: ApiClient, settings: Any) -> None:
    class Unreadable:
        def read(self, size: int = -1) -> bytes:
            raise AssertionError("the body was read")

        readline = read

    response = ada.http.generic(
        "POST", V6, headers=ada.headers, CONTENT_LENGTH="50000000", **{"wsgi.input": Unreadable()}
    )

    message = "The request body is larger than the 40 MB this server accepts."
    assert_refused(response, 413, message, "body_too_large")


@pytest.mark.parametrize("method", ["get", "put", "patch", "delete", "options", "head"])
def test_wrong_method(ada: ApiClient, method: str) -> None:
    response = getattr(ada.http, method)(V6, headers=ada.headers)

    assert (response.status_code, response["Allow"]) == (405, "POST")
    if method != "head":
        message = f'Method "{method.upper()}" not allowed.'
        assert response.json() == {"status": "error", "message": message, "messege": message}


@pytest.mark.parametrize("method", ["get", "post", "put", "options"])
@pytest.mark.parametrize("path", ["/api/", "/api/v6/images/txt2img", "/api/v9/x", "/api/v6/images/fetch/1/2"])
def test_unknown_path(ada: ApiClient, method: str, path: str) -> None:
    response = getattr(ada.http, method)(path, headers=ada.headers)

    assert_refused(response, 404, f"Path {path} was not found.", "not_found")


def test_unforeseen_faults_give_the_request_id_and_nothing_else(
    ada: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(**arguments: object) -> GenerationJob:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("apps.api.modelslab.views.submit_generation", broken)

    response = ada.post(V6, PROMPT, X_Request_Id="my-id")

    assert_refused(response, 500, "Internal server error; request id my-id.", "internal_error")
    assert response["X-Request-Id"] == "my-id"


def test_database_that_does_not_answer(ada: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**arguments: object) -> GenerationJob:
        raise OperationalError("password=hunter2")

    monkeypatch.setattr("apps.api.modelslab.views.submit_generation", broken)

    message = "The service is temporarily unavailable; try again shortly."
    assert_refused(ada.submit(), 503, message, "database_unavailable", retry_after=5)


def test_any_accept_header_is_fine(ada: ApiClient) -> None:
    assert ada.post(V6, PROMPT, Accept="image/png").status_code == 200
