"""From a job's row to the dialect's bodies: success, processing, still processing, failed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, NotRequired, TypedDict, cast

from django.conf import settings

from apps.api.modelslab.meta import Meta, meta_of, safety_of
from apps.api.modelslab.translation.asked import ClientOptions, Shape
from apps.artifacts.links import artifact_url
from apps.artifacts.media import BASE64_EXTENSION, EXTENSIONS
from apps.artifacts.models import Artifact
from apps.generation.choices import JobState
from apps.generation.delivering import artifact_expiry
from apps.generation.models import GenerationJob

QUEUED_MESSAGE = "The image is being generated; fetch it from fetch_result after the estimated time."
PENDING_MESSAGE = "The image is still being generated; try again later."
EXPIRED_MESSAGE = "The images of this request have expired and were deleted."
CANCELED_MESSAGE = "The request was canceled."
WHOLE_ETA: Final = (
    "image_editing",
    "faceswap",
    "deepfake",
    "face_gen",
    "flux_headshot",
    "super_resolution",
    "super-resolution",
)
"""Families whose `eta` is a whole number by contract; clients of theirs read nothing else."""
UNSUITABLE: Final = 0.5
"""Score from which an image counts as unsuitable, as the check has it."""


class SuccessBody(TypedDict):
    """The job delivered."""

    status: str
    generationTime: float
    id: int
    output: list[str]
    proxy_links: list[str]
    nsfw_content_detected: bool
    webhook_status: str
    meta: Meta


class LinkBody(TypedDict):
    """The job delivered one image, and `output` is its link."""

    status: str
    generationTime: float
    id: int
    output: str


class FindingsBody(TypedDict):
    """What a check found."""

    status: str
    id: int
    images: list[str]
    has_nsfw_concept: list[bool]


class ProcessingBody(TypedDict):
    """Accepted, not ready."""

    status: str
    id: int
    eta: float
    message: str
    messege: str
    webhook_status: str
    fetch_result: str
    output: list[str]
    future_links: list[str]
    proxy_links: list[str]
    meta: Meta


class PendingBody(TypedDict):
    """The answer to a fetch that came early."""

    status: str
    id: int
    eta: float
    message: str
    messege: str
    output: str


class FailedBody(TypedDict):
    """The job ended without images; HTTP 200, because the fetch itself succeeded."""

    status: str
    id: int
    message: str
    messege: str
    output: str
    meta: NotRequired[Meta]
    """What the safety rules decided, where they looked at anything."""


def said(message: str, **more: object) -> dict[str, object]:
    """A success that says something; both spellings of the message, because each has its readers."""
    return {"status": "success", "message": message, "messege": message, **more}


def options_of(job: GenerationJob) -> ClientOptions:
    """What the submitting request said, or the defaults for a job of another dialect or version."""
    stored: dict[str, Any] = job.client_options  # Any: JSON
    defaults: ClientOptions = {
        "family": f"{stored.get('version', 'v6')}/images",
        "shape": Shape.IMAGES,
        "base64": False,
        "temp": False,
        "instant_response": False,
        "threshold": UNSUITABLE,
        "echo": {},
    }
    return cast(ClientOptions, {**defaults, **stored})


def ended_body(job: GenerationJob, artifacts: Sequence[Artifact]) -> Mapping[str, object]:
    """For a job in its last state, with those of its images that have not expired, in order."""
    if job.state != JobState.SUCCEEDED:
        return failed_body(job)
    shape = options_of(job)["shape"]
    if shape == Shape.FINDINGS:
        return findings_body(job)
    if job.num_images and not artifacts:
        # A success without images would be taken for a broken server.
        return expired_body(job)
    if shape == Shape.LINK:
        return link_body(job, artifacts)
    return success_body(job, artifacts)


def success_body(job: GenerationJob, artifacts: Sequence[Artifact]) -> SuccessBody:
    """For a succeeded job with its stored images in order; words stand in the place of links."""
    options = options_of(job)
    links = _links(artifacts, options)
    is_unsuitable = any(score >= UNSUITABLE for score in _scores(job))
    return {
        "status": "success",
        "generationTime": round(job.runtime_s, 2),
        "id": job.pk,
        "output": links if job.num_images else _words(job),
        "proxy_links": links,
        "nsfw_content_detected": is_unsuitable,
        "webhook_status": "",
        # Some clients look for the finding in there.
        "meta": {**meta_of(job, options), "nsfw_detected": is_unsuitable},
    }


def link_body(job: GenerationJob, artifacts: Sequence[Artifact]) -> LinkBody:
    """The enterprise form of super resolution."""
    [link] = _links(artifacts, options_of(job))
    return {
        "status": "success",
        "generationTime": round(job.runtime_s, 2),
        "id": job.pk,
        "output": link,
    }


def findings_body(job: GenerationJob) -> FindingsBody:
    """One flag a picture; `images` repeats the address it came by, "" for one that came as base64."""
    options = options_of(job)
    scores = _scores(job)
    return {
        "status": "success",
        "id": job.pk,
        "images": [options["echo"].get("init_image", "")] * len(scores),
        "has_nsfw_concept": [score >= options["threshold"] for score in scores],
    }


def processing_body(job: GenerationJob, *, eta_s: float) -> ProcessingBody:
    """For an open job right after it was submitted."""
    options = options_of(job)
    links = _future_links(job, options)
    return {
        "status": "processing",
        "id": job.pk,
        "eta": _eta(options, eta_s),
        "message": QUEUED_MESSAGE,
        "messege": QUEUED_MESSAGE,
        "webhook_status": "",
        "fetch_result": f"{settings.BASE_URL}/api/{options['family']}/fetch/{job.pk}",
        "output": [],
        "future_links": links,
        "proxy_links": links,
        "meta": {**meta_of(job, options), "output": links},
    }


def pending_body(job: GenerationJob, *, eta_s: float) -> PendingBody:
    """For an open job that somebody fetches."""
    return {
        "status": "processing",
        "id": job.pk,
        "eta": _eta(options_of(job), eta_s),
        "message": PENDING_MESSAGE,
        "messege": PENDING_MESSAGE,
        "output": "",
    }


def failed_body(job: GenerationJob) -> FailedBody:
    """For a job that ended without images."""
    return _without_images(job, CANCELED_MESSAGE if job.state == JobState.CANCELED else job.error_message)


def expired_body(job: GenerationJob) -> FailedBody:
    """For a succeeded job whose images are gone."""
    return _without_images(job, EXPIRED_MESSAGE)


def links_of(job: GenerationJob, artifacts: Sequence[Artifact]) -> list[str]:
    """Links to images as the request that made them wanted them."""
    return _links(artifacts, options_of(job))


def _eta(options: ClientOptions, eta_s: float) -> float:
    """Seconds; an int where the contract has one."""
    return math.ceil(eta_s) if options["family"].rsplit("/", 1)[-1] in WHOLE_ETA else eta_s


def _without_images(job: GenerationJob, message: str) -> FailedBody:
    body: FailedBody = {
        "status": "error",
        "id": job.pk,
        "message": message,
        "messege": message,
        "output": "",
    }
    safety = safety_of(job)
    return {**body, "meta": safety} if safety else body


def _links(artifacts: Sequence[Artifact], options: ClientOptions) -> list[str]:
    return [
        artifact_url(
            group=artifact.group,
            index=artifact.index,
            extension=BASE64_EXTENSION if options["base64"] else artifact.extension,
            expires_at=artifact.expires_at,
        )
        for artifact in artifacts
    ]


def _future_links(job: GenerationJob, options: ClientOptions) -> list[str]:
    extension = BASE64_EXTENSION if options["base64"] else EXTENSIONS[job.resolved.output.media_type]
    expires_at = artifact_expiry(job)
    return [
        artifact_url(group=job.artifact_group, index=index, extension=extension, expires_at=expires_at)
        for index in range(job.num_images)
    ]


def _words(job: GenerationJob) -> list[str]:
    return [str(job.result["caption"])] if job.result.get("caption") else []


def _scores(job: GenerationJob) -> list[float]:
    """What the check said of each image, or of the picture that was brought; empty without a check."""
    result: dict[str, Any] = job.result  # Any: JSON
    notes = [*result.get("images", []), result.get("notes", {})]
    return [float(note["nsfw"]) for note in notes if "nsfw" in note]
