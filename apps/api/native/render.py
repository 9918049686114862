"""From a job's row to the native API's JSON."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TypedDict

from apps.artifacts.links import artifact_url
from apps.artifacts.models import Artifact
from apps.generation.models import GenerationJob


class Progress(TypedDict):
    """Denoising steps, summed over the images of the job."""

    step: int
    total: int


class Failure(TypedDict):
    """Why a job ended without images."""

    code: str
    message: str


class Image(TypedDict):
    """One finished image."""

    url: str
    width: int
    height: int
    seed: int
    media_type: str
    expires_at: str


class JobBody(TypedDict):
    """A job; times are ISO 8601 in UTC."""

    id: int
    state: str
    kind: str
    progress: Progress
    queue_position: int
    eta_s: float
    queued_at: str
    started_at: str | None
    finished_at: str | None
    is_cancel_requested: bool
    error: Failure | None
    images: list[Image]
    request: dict[str, object]
    track_id: str | int | None


def job_body(
    job: GenerationJob, *, artifacts: Sequence[Artifact], queue_position: int, eta_s: float
) -> JobBody:
    """Everything its owner may know of a job."""
    return {
        "id": job.pk,
        "state": str(job.state),
        "kind": job.kind,
        "progress": progress(job),
        "queue_position": queue_position,
        "eta_s": eta_s,
        "queued_at": _iso(job.queued_at),
        "started_at": _iso(job.started_at) if job.started_at else None,
        "finished_at": _iso(job.finished_at) if job.finished_at else None,
        "is_cancel_requested": job.is_cancel_requested,
        "error": {"code": job.error_code, "message": job.error_message} if job.error_code else None,
        "images": [_image(artifact) for artifact in artifacts],
        "request": dict(job.request),
        "track_id": job.track_id,
    }


def progress(job: GenerationJob) -> Progress:
    """How far the job is."""
    return {"step": job.progress_step, "total": job.progress_total}


def _image(artifact: Artifact) -> Image:
    return {
        "url": artifact_url(
            group=artifact.group,
            index=artifact.index,
            extension=artifact.extension,
            expires_at=artifact.expires_at,
        ),
        "width": artifact.width,
        "height": artifact.height,
        "seed": artifact.seed,
        "media_type": artifact.media_type,
        "expires_at": _iso(artifact.expires_at),
    }


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
