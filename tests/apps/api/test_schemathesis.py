"""The document is true: whatever it allows and forbids, answers have a status that it names, and never a 5xx.

2,000 requests in every run; `DARKROOM_SCHEMATHESIS_REQUESTS=10000` for more. They go through Django's own
client into a database. Behind it is a worker that has images at hand for whoever waits.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import os
from collections import Counter
from collections.abc import Iterator
from typing import Any, TypeAlias

import pytest
import schemathesis
from django.core.files.uploadedfile import SimpleUploadedFile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case as AnyCase

from apps.api.reference.document import openapi_document
from apps.core.http import FetchFailed
from apps.generation.models import GenerationJob
from tests.apps.api import jobs
from tests.apps.api.client import ApiClient
from tests.cast import Cast
from tests.factories import give_plan, png_bytes

Case: TypeAlias = AnyCase[Any]
REQUESTS = int(os.environ.get("DARKROOM_SCHEMATHESIS_REQUESTS", "2000"))
DOCUMENT: Any = openapi_document()
OWN_HEADERS = ("prefer", "authorization")
"""Never sent as generated: nothing would end while we wait, and nearly all would be refused without a key."""
NEVER_ENDS = frozenset({("GET", "/v1/jobs/{job_id}/events")})
"""Streams are followed by tests of their own."""


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
    return [each for each in found if (each.method.upper(), each.path) not in NEVER_ENDS]


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


def test_answers_are_documented(ada: ApiClient, no_network: None, worker: None, generous: None) -> None:
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
        response = send(ada, case)
        documented = DOCUMENT["paths"][case.operation.path][case.operation.method]["responses"]
        assert response.status_code < 500, (case.as_curl_command(), response.content)
        assert str(response.status_code) in documented, (case.as_curl_command(), response.content)
        seen[case.operation.path, str(response.status_code)] += 1

    answers_as_documented()

    assert len({path for path, _ in seen}) > len(DOCUMENT["paths"]) // 2
    assert {"200", "202", "400"} <= {status for _, status in seen}
