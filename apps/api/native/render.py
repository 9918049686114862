"""From a job's row to the native API's JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, TypedDict

from apps.artifacts.links import artifact_url
from apps.artifacts.models import Artifact
from apps.generation.models import GenerationJob
from apps.generation.picture_store import UNUSED_AGE
from apps.generation.safety_report import report_on
from apps.generation.wishes import StoredPicture

PHASES: Final[Mapping[str, str]] = {
    "load_s": "staged",
    "before_s": "prepare",
    "encode_s": "encode",
    "denoise_s": "steps",
    "decode_s": "decode",
    "after_s": "finish",
    "encode_image_s": "encode_image",
    "store_s": "store",
}
"""Of `GenerationJob.timings` to the words of the timeline, in the order in which time is spent."""
PUBLIC_RESULTS: Final = ("images", "notes", "caption", "deleted_at")
"""Of `GenerationJob.result`; what the safety rules found is said in `safety`."""


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


class Phase(TypedDict):
    """Where time went."""

    phase: str
    seconds: float


class Links(TypedDict):
    """Where to go from here, as paths on this server."""

    self: str
    events: str
    cancel: str | None
    """Null for what has ended."""


class JobSummary(TypedDict):
    """A job in a list; times are ISO 8601 in UTC."""

    id: int
    state: str
    kind: str
    progress: Progress
    queued_at: str
    started_at: str | None
    finished_at: str | None
    is_cancel_requested: bool
    error: Failure | None
    images: list[Image]
    track_id: str | int | None
    links: Links


class Safety(TypedDict):
    """What the account's safety rule, or the request's own wish, made of it."""

    prompt: str | None
    """`flagged`, or null where nothing was found; of nsfw_check `passed`, `flagged` or `blocked`."""
    terms: list[str]
    images: str | None
    """`passed`, `flagged`, `replaced` or `blocked`; null while there are none, or none are looked at."""
    reason: str | None


class JobBody(JobSummary):
    """A job with all that its owner may know."""

    queue_position: int
    eta_s: float
    timeline: list[Phase]
    safety: Safety | None
    """Null where nothing was looked at."""
    result: dict[str, object]
    request: dict[str, object]


class UploadBody(TypedDict):
    """A picture that was kept; `id` stands wherever a picture may."""

    id: str
    width: int
    height: int
    has_alpha: bool
    size_bytes: int
    media_type: str
    expires_at: str


def job_summary(job: GenerationJob, *, artifacts: Sequence[Artifact]) -> JobSummary:
    """A line of a list."""
    return {
        "id": job.pk,
        "state": str(job.state),
        "kind": job.kind,
        "progress": progress(job),
        "queued_at": _iso(job.queued_at),
        "started_at": _iso(job.started_at) if job.started_at else None,
        "finished_at": _iso(job.finished_at) if job.finished_at else None,
        "is_cancel_requested": job.is_cancel_requested,
        "error": {"code": job.error_code, "message": job.error_message} if job.error_code else None,
        "images": [_image(artifact) for artifact in artifacts],
        "track_id": job.track_id,
        "links": links(job),
    }


def job_path(job: GenerationJob) -> str:
    """Of one job."""
    return f"/v1/jobs/{job.pk}"


def links(job: GenerationJob) -> Links:
    """Paths alone: what stands before them is the caller's, who may be behind a proxy."""
    path = job_path(job)
    return {"self": path, "events": f"{path}/events", "cancel": None if job.is_terminal else f"{path}/cancel"}


def job_body(
    job: GenerationJob, *, artifacts: Sequence[Artifact], queue_position: int, eta_s: float
) -> JobBody:
    """Everything its owner may know of a job."""
    return {
        **job_summary(job, artifacts=artifacts),
        "queue_position": queue_position,
        "eta_s": eta_s,
        "timeline": timeline(job),
        "safety": safety(job),
        "result": {name: job.result[name] for name in PUBLIC_RESULTS if name in job.result},
        "request": dict(job.request),
    }


def timeline(job: GenerationJob) -> list[Phase]:
    """From queued to stored, as far as it has come; phases that took no time are left out."""
    spent: list[Phase] = []
    if job.claimed_at is not None:
        # The runtime has a queue of its own, behind ours.
        waited_s = (job.claimed_at - job.queued_at).total_seconds() + job.timings.get("queued_s", 0.0)
        spent.append({"phase": "queued", "seconds": round(waited_s, 4)})
    return spent + [
        {"phase": phase, "seconds": job.timings[name]}
        for name, phase in PHASES.items()
        if job.timings.get(name)
    ]


def safety(job: GenerationJob) -> Safety | None:
    """The decision and its reason, if anything was looked at."""
    report = report_on(job)
    if report is None:
        return None
    return {
        "prompt": report.prompt or None,
        "terms": list(report.terms),
        "images": report.images or None,
        "reason": report.reason or None,
    }


def upload_body(picture: StoredPicture, *, now: datetime) -> UploadBody:
    """It stays as long as nothing else needs it, and longer while an open job does."""
    return {
        "id": picture.digest,
        "width": picture.width,
        "height": picture.height,
        "has_alpha": picture.has_alpha,
        "size_bytes": picture.size_bytes,
        "media_type": picture.media_type,
        "expires_at": _iso(now + UNUSED_AGE),
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
