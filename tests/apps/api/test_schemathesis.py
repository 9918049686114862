"""The document is true: whatever it allows and forbids, answers have a status that it names, and never a 5xx.

Their bodies are what it says they are.

2,000 requests in every run; `DARKROOM_SCHEMATHESIS_REQUESTS=10000` for more. They go through Django's own
client into a database. Behind it is a worker that has images at hand for whoever waits.
"""

from __future__ import annotations

import base64
import copy
import functools
import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any, TypeAlias

import jsonschema_rs
import pytest
import schemathesis
from django.core.files.uploadedfile import SimpleUploadedFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case as AnyCase

from apps.api.reference.document import openapi_document
from apps.apikeys.choices import ALL_SCOPES
from apps.catalog.models import CatalogEntry
from apps.core.http import FetchFailed
from apps.generation.models import GenerationJob
from tests.apps.api import jobs
from tests.apps.api.client import ApiClient
from tests.cast import Cast
from tests.factories import give_plan, make_key, png_bytes

Case: TypeAlias = AnyCase[Any]
REQUESTS = int(os.environ.get("DARKROOM_SCHEMATHESIS_REQUESTS", "2000"))
DOCUMENT: Any = openapi_document()
OWN_HEADERS = ("prefer", "authorization")
"""Never sent as generated: nothing would end while we wait, and nearly all would be refused without a key."""
LEFT_OUT = ("/v1/jobs/{job_id}/events", "/v1/imports/{import_id}/events", "/delete_model")
"""Ends of paths: streams are followed by tests of their own, and nothing would be left to draw with."""

PICTURE = "data:image/png;base64," + base64.b64encode(png_bytes(width=64, height=64)).decode()
KNOWN: dict[str, list[Any]] = {
    "model": ["tiny"],
    "model_id": ["tiny"],
    "prompt": ["a red fox"],
    "kind": ["txt2img", "img2img", "upscale"],
    **{name: [PICTURE] for name in ("image", "init_image", "mask", "mask_image", "control_image")},
}
"""Values that mean something here, which no generator would hit upon."""


def with_known_values() -> Any:
    """The document, with words and pictures that exist, so that some requests are accepted."""
    document = copy.deepcopy(DOCUMENT)
    for schema in document["components"]["schemas"].values():
        for name in schema.get("properties", {}).keys() & KNOWN.keys():
            schema["properties"][name] = {"enum": KNOWN[name]}
    for path in ("jobs", "estimate"):
        body = document["paths"][f"/v1/{path}"]["post"]["requestBody"]["content"]["application/json"]
        name = body["schema"]["$ref"].rsplit("/", 1)[1]
        document["components"]["schemas"][name]["required"] = ["model", "prompt"]
    return document


def operations() -> list[Any]:
    schema = schemathesis.openapi.from_dict(with_known_values())
    results: Iterator[Any] = schema.get_all_operations()
    found = [result.ok() for result in results]
    return [each for each in found if not each.path.endswith(LEFT_OUT)]


def send(client: ApiClient, case: Case) -> Any:
    """A case through Django's client, without a socket."""
    generated = dict(case.headers or {})
    headers = {name: value for name, value in generated.items() if name.lower() not in OWN_HEADERS}
    sent: dict[str, Any] = {"headers": client.headers | headers, "query_params": dict(case.query or {})}
    method = getattr(client.http, case.method.lower())
    if case.media_type is None:
        return method(case.formatted_path, **sent)
    if case.media_type == "multipart/form-data":
        return method(case.formatted_path, _parts(case.body), **sent)
    if case.media_type != "application/json":
        content = case.body if isinstance(case.body, bytes) else str(case.body).encode()
        return method(case.formatted_path, content, case.media_type, **sent)
    return method(case.formatted_path, _json(case.body), "application/json", **sent)


def _json(body: Any) -> bytes:
    return json.dumps(body, default=str).encode()


def _parts(body: Any) -> dict[str, Any]:
    """Objects as JSON, bytes as files; what no form can say is left out."""
    given = body if isinstance(body, dict) else {}
    return {name: _part(value) for name, value in given.items() if value is not None and name}


def _part(value: Any) -> Any:
    if isinstance(value, bytes):
        return SimpleUploadedFile("file.png", io.BytesIO(value).read(), "image/png")
    return value if isinstance(value, str) else json.dumps(value, default=str)


@functools.cache
def validator_of(path: str, method: str, status: str) -> Any:
    """Of a JSON body; None for what has none."""
    answer = DOCUMENT["paths"][path][method]["responses"][status]
    if "$ref" in answer:
        answer = DOCUMENT["components"]["responses"][answer["$ref"].rsplit("/", 1)[1]]
    for media_type, content in answer.get("content", {}).items():
        if "json" in media_type:
            return jsonschema_rs.validator_for({**content["schema"], "components": DOCUMENT["components"]})
    return None


def problems_of(response: Any, path: str, method: str) -> list[str]:
    """What of a body is not as the document says."""
    validator = validator_of(path, method, str(response.status_code))
    # An image of a stream is no JSON, and neither is a stream.
    if validator is None or "json" not in response.headers["Content-Type"]:
        return []
    content = b"".join(response.streaming_content) if response.streaming else response.content
    return [error.message[:300] for error in validator.iter_errors(json.loads(content))]


def is_meant(response: Any, path: str) -> bool:
    """Whether a 5xx is a refusal: no worker is ready here, and stable-diffusion-webui answers 500 to pictures
    that it cannot read and models that it does not have. What nobody foresaw has a code of its own.
    """
    is_webui = path.startswith(("/sdapi/", "/controlnet/")) and response.status_code == 500
    return path == "/readyz" or (is_webui and response.headers.get("X-Darkroom-Error") != "internal_error")


@pytest.fixture
def everything(cast: Cast, checkpoint: CatalogEntry) -> ApiClient:
    """A client that may do whatever there is."""
    return ApiClient(make_key(cast.account, scopes=list(ALL_SCOPES)).plaintext)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Addresses that are made up lead nowhere."""

    def fetch(url: str, **options: Any) -> Any:
        raise FetchFailed("nothing is there")

    monkeypatch.setattr("apps.generation.picture_sources.fetch", fetch)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """Delivers what is waited for. What others left in the queue before it fails, which costs less."""

    def follow(job: GenerationJob, *, timeout_s: float) -> Iterator[GenerationJob]:
        job.refresh_from_db()
        while not job.is_terminal:
            claimed = jobs.claim()
            _ = jobs.finish(claimed) if claimed.pk >= job.pk else jobs.fail(claimed)
            job.refresh_from_db()
        yield job

    for waiter in ("apps.api.openai.outcomes", "apps.api.a1111.jobs"):
        monkeypatch.setattr(f"{waiter}.follow_job", follow)


@pytest.fixture
def generous(cast: Cast) -> None:
    """A plan that lets everything through, so that more than the quota's refusal is seen."""
    give_plan(cast.account, calls_per_day=10**6, queue_depth=10**6)


def test_answers_are_documented(
    everything: ApiClient, no_network: None, worker: None, generous: None
) -> None:
    # Half of them are what the document allows, and half what it does not.
    strategies = [
        each.as_strategy(generation_mode=mode)
        for each in operations()
        for mode in schemathesis.GenerationMode
    ]
    seen: Counter[tuple[str, str]] = Counter()

    @settings(
        max_examples=REQUESTS,
        deadline=None,
        # The same cases in every run.
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(strategies))
    def answers_as_documented(case: Case) -> None:
        path, method = case.operation.path, case.operation.method
        response = send(everything, case)
        status = str(response.status_code)
        told = case.as_curl_command()
        assert status < "500" or is_meant(response, path), (told, response.content)
        assert status in DOCUMENT["paths"][path][method]["responses"], (told, status, response.content)
        assert problems_of(response, path, method) == [], (told, response.content)
        seen[path, status] += 1

    answers_as_documented()

    assert len({path for path, _ in seen}) > len(DOCUMENT["paths"]) // 2
    assert {"200", "202", "400"} <= {status for _, status in seen}
