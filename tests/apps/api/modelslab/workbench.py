"""What the tests of the dialect share: pictures as clients send them, and a worker with the fake runtime."""

from __future__ import annotations

import base64
import io
from typing import Any

from PIL import Image

from apps.artifacts.media import EXTENSIONS
from apps.artifacts.services import NewArtifact
from apps.artifacts.store import write_image
from apps.catalog.models import CatalogEntry
from apps.core import clock
from apps.generation.adapters import entries_of
from apps.generation.lifecycle import finish_job, lease_of
from apps.generation.models import GenerationJob
from apps.generation.resolved import ResolvedRequest
from apps.generation.settler import RunningJob, result_of
from apps.generation.work_plan import work_request
from gpu_runtime.config import EngineConfig
from gpu_runtime.factory import build_engine
from gpu_runtime.messages import ImageDone, RequestDone, RequestFailed
from gpu_runtime.utility.shipped import SHIPPED
from tests.apps.api import jobs
from tests.factories import make_adapter, png_bytes

MAX_TICKS = 2000


def picture(width: int = 64, height: int = 48, colour: str = "teal") -> str:
    """A PNG as a data URL."""
    data = png_bytes(width=width, height=height, colour=colour)
    return "data:image/png;base64," + base64.b64encode(data).decode()


def mask(width: int = 64, height: int = 48) -> str:
    """White on its right half."""
    image = Image.new("L", (width, height), 0)
    image.paste(255, (width // 2, 0, width, height))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def install_utilities() -> dict[str, CatalogEntry]:
    """Rows of everything that ships with the appliance, without files."""
    return {
        each.name: make_adapter(
            each.name,
            kind=each.kind.value,
            family="",
            variant=each.variant,
            details=dict(each.details),
        )
        for each in SHIPPED
    }


def made(response: Any) -> ResolvedRequest:
    """What an accepted request came to."""
    body = response.json()
    assert body["status"] == "processing", body
    return GenerationJob.objects.get(pk=body["id"]).resolved


def refused(response: Any, status: int = 400) -> str:
    """The message of a refusal, which left nothing behind."""
    body = response.json()
    assert (response.status_code, body["status"]) == (status, "error"), body
    assert body["message"] == body["messege"]
    assert jobs.traces() == jobs.NOTHING
    return str(body["message"])


def run(job_id: int, *, notes: dict[str, Any] | None = None) -> GenerationJob:
    """Carry a queued job out with the fake runtime, and deliver it; `notes` are said of every image."""
    job = jobs.claim(GenerationJob.objects.get(pk=job_id))
    engine = build_engine(EngineConfig(runtime="fake"))
    engine.submit(work_request(job, entries_of([job])))
    running = RunningJob(lease=lease_of(job), group=job.artifact_group, attempt=job.attempt)
    images: list[NewArtifact] = []
    for _ in range(MAX_TICKS):
        for event in engine.step():
            assert not isinstance(event, RequestFailed), event
            if isinstance(event, ImageDone):
                running.notes[event.index] = {**event.notes, **(notes or {})}
                images.append(_write(job, event))
            if isinstance(event, RequestDone):
                said = {**event.notes, **({} if job.num_images else notes or {})}
                finish_job(
                    lease=lease_of(job),
                    artifacts=images,
                    timings={},
                    worker=jobs.WORKER,
                    now=clock.now(),
                    result=result_of(running, said),
                )
                return GenerationJob.objects.get(pk=job_id)
    raise AssertionError("the runtime did not get there")


def _write(job: GenerationJob, event: ImageDone) -> NewArtifact:
    extension = EXTENSIONS[event.media_type]
    file = write_image(group=job.artifact_group, index=event.index, extension=extension, data=event.data)
    return NewArtifact(
        index=event.index,
        extension=extension,
        file=file,
        width=event.width,
        height=event.height,
        seed=event.seed,
    )
