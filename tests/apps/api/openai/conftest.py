"""Clients of the OpenAI dialect, and a GPU worker that is done as soon as somebody waits."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from PIL import Image

from apps.artifacts import store
from apps.artifacts.services import NewArtifact
from apps.catalog.models import CatalogEntry
from apps.core import clock
from apps.generation.lifecycle import finish_job, lease_of
from apps.generation.models import GenerationJob
from tests.apps.api import jobs
from tests.cast import Cast
from tests.factories import make_checkpoint

GENERATE = "/v1/images/generations"
EDIT = "/v1/images/edits"
VARY = "/v1/images/variations"
EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}

Act = Callable[[GenerationJob], object]


class OpenAIClient:
    """Speaks for the holder of one key; sends what their library sends."""

    def __init__(self, key: str | None) -> None:
        self.http = Client(raise_request_exception=False)
        self.headers = {"User-Agent": "OpenAI/Python 3.54.0"}
        if key is not None:
            self.headers["Authorization"] = f"Bearer {key}"

    def generate(self, headers: dict[str, str] | None = None, **fields: Any) -> Any:
        return self.post(GENERATE, {"prompt": "a red fox", "model": "tiny"} | fields, headers)

    def post(self, path: str, body: Any, headers: dict[str, str] | None = None) -> Any:
        data = body if isinstance(body, bytes | str) else json.dumps(body)
        return self.http.post(path, data, "application/json", headers=self.headers | (headers or {}))

    def edit(self, headers: dict[str, str] | None = None, **parts: Any) -> Any:
        return self.form(EDIT, {"prompt": "a red fox", "model": "tiny"} | parts, headers)

    def vary(self, **parts: Any) -> Any:
        return self.form(VARY, {"model": "tiny"} | parts)

    def form(self, path: str, parts: dict[str, Any], headers: dict[str, str] | None = None) -> Any:
        """Multipart; bytes become files."""
        return self.http.post(
            path,
            {name: _part(name, value) for name, value in parts.items()},
            headers=self.headers | (headers or {}),
        )

    def get(self, path: str, **headers: str) -> Any:
        return self.http.get(path, headers=self.headers | headers)


def _part(name: str, value: Any) -> Any:
    if isinstance(value, list):
        return [_part(name, item) for item in value]
    if isinstance(value, bytes):
        return SimpleUploadedFile(f"{name.strip('[]')}.png", value, "image/png")
    return str(value).lower() if isinstance(value, bool) else value


def picture(
    *, size: tuple[int, int] = (64, 64), colour: str = "teal", hole: tuple[int, int, int, int] | None = None
) -> bytes:
    """A PNG of one colour; `hole` (left, top, right, bottom) is transparent."""
    image = Image.new("RGB" if hole is None else "RGBA", size, colour)
    if hole is not None:
        image.paste((0, 0, 0, 0), hole)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def deliver(job: GenerationJob) -> GenerationJob:
    """End a running job as its worker would: files of the size and type that were asked for."""
    resolved = job.resolved
    width, height = resolved.delivered_size
    extension = EXTENSIONS[resolved.output.media_type]
    artifacts = []
    for index, seed in enumerate(resolved.seeds):
        buffer = io.BytesIO()
        Image.new("RGB", (width, height), (40 * index, 90, 160)).save(buffer, resolved.output.media_type[6:])
        file = store.write_image(
            group=job.artifact_group, index=index, extension=extension, data=buffer.getvalue()
        )
        artifacts.append(
            NewArtifact(index=index, extension=extension, file=file, width=width, height=height, seed=seed)
        )
    finish_job(
        lease=lease_of(job),
        artifacts=artifacts,
        timings={"total_s": 1.0},
        worker=jobs.WORKER,
        now=clock.now(),
    )
    return GenerationJob.objects.get(pk=job.pk)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[Act], None]:
    """Says what becomes of jobs while somebody waits for them; until then they are delivered."""
    chosen: list[Act] = [deliver]

    def follow(job: GenerationJob, *, timeout_s: float) -> Iterator[GenerationJob]:
        if not job.is_terminal:
            chosen[-1](jobs.claim(job))
        job.refresh_from_db()
        yield job

    monkeypatch.setattr("apps.api.openai.outcomes.follow_job", follow)
    return chosen.append


@pytest.fixture
def tiny(cast: Cast) -> CatalogEntry:
    """A model named `tiny`: 64 pixels a side natively, 25 steps."""
    return make_checkpoint("tiny")


@pytest.fixture
def ada(cast: Cast, tiny: CatalogEntry, worker: object) -> OpenAIClient:
    """A client with Ada's key, whose jobs are delivered at once."""
    return OpenAIClient(cast.key_text)


@pytest.fixture
def cleo(cast: Cast, tiny: CatalogEntry, worker: object) -> OpenAIClient:
    """A client with the key of Cleo, a stranger."""
    return OpenAIClient(cast.strangers_key_text)


def the_job() -> GenerationJob:
    """The only job there is."""
    return GenerationJob.objects.get()


def error_of(response: Any) -> tuple[int, dict[str, Any]]:
    """Status and what stands under "error", which is all there is."""
    body = response.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"message", "type", "param", "code"}
    assert response["X-Request-Id"].startswith("req_")
    return response.status_code, body["error"]
