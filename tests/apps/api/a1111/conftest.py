"""Clients of the AUTOMATIC1111 dialect, and a GPU worker that is done as soon as somebody waits."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import Client
from PIL import Image

from apps.artifacts import store
from apps.artifacts.services import NewArtifact
from apps.catalog.models import CatalogEntry
from apps.core import clock
from apps.generation.adapters import entries_of
from apps.generation.infotext import texts_of
from apps.generation.lifecycle import finish_cancel, finish_job, lease_of
from apps.generation.models import GenerationJob
from apps.generation.services import cancel_job
from gpu_runtime.metadata.files import with_texts
from gpu_runtime.work import Encoding
from tests.apps.api import jobs
from tests.cast import Cast
from tests.factories import make_checkpoint

V1 = "/sdapi/v1/"
EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}

Act = Callable[[GenerationJob], object]


class A1111Client:
    """Speaks for the holder of one key, who types it as the password of HTTP Basic."""

    def __init__(self, key: str | None, *, user: str = "me") -> None:
        self.http = Client(raise_request_exception=False)
        self.headers: dict[str, str] = {}
        if key is not None:
            pair = base64.b64encode(f"{user}:{key}".encode()).decode()
            self.headers["Authorization"] = f"Basic {pair}"

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        """Paths without a slash before them are those of the main API."""
        data = body if isinstance(body, bytes | str) else json.dumps({} if body is None else body)
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post(_whole(path), data, "application/json", headers=self.headers | more)

    def get(self, path: str) -> Any:
        return self.http.get(_whole(path), headers=self.headers)

    def draw(self, **fields: Any) -> Any:
        """txt2img, of 64 pixels a side."""
        return self.post("txt2img", {"prompt": "a red fox", "width": 64, "height": 64} | fields)

    def redraw(self, **fields: Any) -> Any:
        """img2img, of 64 pixels a side."""
        sized = {"prompt": "a red fox", "width": 64, "height": 64, "init_images": [picture()]}
        return self.post("img2img", sized | fields)


def _whole(path: str) -> str:
    return path if path.startswith("/") else V1 + path


def picture(*, size: tuple[int, int] = (64, 64), colour: str = "teal") -> str:
    """A PNG of one colour, base64."""
    buffer = io.BytesIO()
    Image.new("RGB", size, colour).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def opened(text: str) -> Image.Image:
    """The picture in base64."""
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


def deliver(job: GenerationJob) -> None:
    """End a running job as its worker would: files of the asked size and type, with their texts."""
    resolved = job.resolved
    width, height = resolved.delivered_size
    media_type = resolved.output.media_type
    texts = texts_of(resolved, job.checkpoint, entries_of([job]))
    artifacts = []
    for index, seed in enumerate(resolved.seeds):
        buffer = io.BytesIO()
        Image.new("RGB", (width, height), (40 * index, 90, 160)).save(buffer, media_type[6:])
        data = buffer.getvalue()
        if media_type == "image/png":
            data = with_texts(data, texts[min(index, len(texts) - 1)], Encoding())
        extension = EXTENSIONS[media_type]
        file = store.write_image(group=job.artifact_group, index=index, extension=extension, data=data)
        artifacts.append(
            NewArtifact(index=index, extension=extension, file=file, width=width, height=height, seed=seed)
        )
    finish_job(
        lease=lease_of(job),
        artifacts=artifacts,
        timings={"total_s": 1.0},
        worker=jobs.WORKER,
        now=clock.now(),
        result={"caption": "a test card"} if job.kind == "caption" else {},
    )


def stop(job: GenerationJob) -> None:
    """End a running job as its owner's interrupt does."""
    assert job.api_key is not None
    cancel_job(job=job, actor=job.api_key.ref, now=clock.now())
    finish_cancel(lease=lease_of(job), worker=jobs.WORKER, now=clock.now())


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> Callable[[Act], None]:
    """Says what becomes of jobs while somebody waits for them; until then they are delivered."""
    chosen: list[Act] = [deliver]

    def follow(job: GenerationJob, *, timeout_s: float) -> Iterator[GenerationJob]:
        job.refresh_from_db()
        if not job.is_terminal:
            chosen[-1](jobs.claim(job))
        job.refresh_from_db()
        yield job

    monkeypatch.setattr("apps.api.a1111.jobs.follow_job", follow)
    return chosen.append


@pytest.fixture
def tiny(cast: Cast) -> CatalogEntry:
    """A model named `tiny`: 64 pixels a side natively, 25 steps."""
    return make_checkpoint("tiny", digest="0123456789abcdef" * 4)


@pytest.fixture
def ada(cast: Cast, tiny: CatalogEntry, worker: object) -> A1111Client:
    """A client with Ada's key, whose jobs are delivered at once."""
    return A1111Client(cast.key_text)


@pytest.fixture
def cleo(cast: Cast, tiny: CatalogEntry, worker: object) -> A1111Client:
    """A client with the key of Cleo, a stranger."""
    return A1111Client(cast.strangers_key_text)


def the_job() -> GenerationJob:
    """The only job there is."""
    return GenerationJob.objects.get()


def last_request() -> Any:
    """What the latest job was resolved to."""
    return GenerationJob.objects.latest("pk").resolved


def bad_field(response: Any) -> tuple[str, str]:
    """Where FastAPI's 422 points, and its text."""
    assert response.status_code == 422, response.content
    [detail] = response.json()["detail"]
    assert detail.keys() == {"loc", "msg", "type"}
    return ".".join(str(part) for part in detail["loc"][1:]), detail["msg"]


def refusal(response: Any) -> tuple[int, str]:
    """Status and detail of upstream's own shape."""
    body = response.json()
    assert body.keys() == {"error", "detail", "body", "errors"}, body
    assert (body["error"], body["body"]) == ("HTTPException", "")
    assert body["errors"] == f"{response.status_code}: {body['detail']}"
    return response.status_code, body["detail"]
