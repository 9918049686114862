"""From a job's row to the dialect's bodies: success, processing, still processing, failed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, cast

from django.conf import settings

from apps.api.modelslab.fields import ClientOptions
from apps.api.modelslab.schedulers import words_of
from apps.artifacts.links import artifact_url
from apps.artifacts.media import BASE64_EXTENSION
from apps.artifacts.models import Artifact
from apps.generation.choices import JobState
from apps.generation.lifecycle import artifact_expiry
from apps.generation.models import GenerationJob

# What the pump stores; a link given out before the image exists has to guess right.
FUTURE_EXTENSION = "png"
QUEUED_MESSAGE = "The image is being generated; fetch it from fetch_result after the estimated time."
PENDING_MESSAGE = "The image is still being generated; try again later."
EXPIRED_MESSAGE = "The images of this request have expired and were deleted."
CANCELED_MESSAGE = "The request was canceled."

Meta = dict[str, object]
"""An open set of keys by contract (section 4.6): clients read some, unknown ones are harmless."""


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


def options_of(job: GenerationJob) -> ClientOptions:
    """What the submitting request said, or the defaults for a job of another dialect."""
    defaults: ClientOptions = {"version": "v6", "base64": False, "temp": False, "instant_response": False}
    return cast(ClientOptions, {**defaults, **job.client_options})


def success_body(job: GenerationJob, artifacts: Sequence[Artifact]) -> SuccessBody:
    """For a succeeded job with its stored images in order."""
    options = options_of(job)
    links = [
        artifact_url(
            group=artifact.group,
            index=artifact.index,
            extension=BASE64_EXTENSION if options["base64"] else artifact.extension,
            expires_at=artifact.expires_at,
        )
        for artifact in artifacts
    ]
    return {
        "status": "success",
        "generationTime": round(job.runtime_s, 2),
        "id": job.pk,
        "output": links,
        "proxy_links": links,
        "nsfw_content_detected": False,
        "webhook_status": "",
        "meta": _meta(job, options),
    }


def processing_body(job: GenerationJob, *, eta_s: float) -> ProcessingBody:
    """For an open job right after it was submitted."""
    options = options_of(job)
    links = _future_links(job, options)
    return {
        "status": "processing",
        "id": job.pk,
        "eta": eta_s,
        "message": QUEUED_MESSAGE,
        "messege": QUEUED_MESSAGE,
        "webhook_status": "",
        "fetch_result": f"{settings.BASE_URL}/api/{options['version']}/images/fetch/{job.pk}",
        "output": [],
        "future_links": links,
        "proxy_links": links,
        "meta": {**_meta(job, options), "output": links},
    }


def pending_body(job: GenerationJob, *, eta_s: float) -> PendingBody:
    """For an open job that somebody fetches."""
    return {
        "status": "processing",
        "id": job.pk,
        "eta": eta_s,
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


def _without_images(job: GenerationJob, message: str) -> FailedBody:
    return {"status": "error", "id": job.pk, "message": message, "messege": message, "output": ""}


def _future_links(job: GenerationJob, options: ClientOptions) -> list[str]:
    extension = BASE64_EXTENSION if options["base64"] else FUTURE_EXTENSION
    expires_at = artifact_expiry(job)
    return [
        artifact_url(group=job.artifact_group, index=index, extension=extension, expires_at=expires_at)
        for index in range(job.num_images)
    ]


def _flag(value: bool) -> str:
    return "yes" if value else "no"


def _meta(job: GenerationJob, options: ClientOptions) -> Meta:
    """The effective parameters: what was done, not what was asked for."""
    resolved = job.resolved
    words, adapters = words_of(resolved.sampler, resolved.schedule), resolved.adapters
    embeddings = ",".join(used.name for used in adapters.embeddings)
    return {
        **({"embeddings_model": embeddings} if embeddings else {}),
        "prompt": resolved.prompt,
        "negative_prompt": resolved.negative_prompt,
        "model_id": resolved.checkpoint,
        "W": resolved.width,
        "H": resolved.height,
        "width": resolved.width,
        "height": resolved.height,
        "seed": resolved.seed,
        "steps": resolved.steps,
        "guidance_scale": resolved.guidance_scale,
        "n_samples": resolved.num_images,
        "scheduler": words.scheduler,
        "use_karras_sigmas": _flag(words.use_karras_sigmas),
        "algorithm_type": words.algorithm_type,
        "base64": _flag(options["base64"]),
        "temp": _flag(options["temp"]),
        "instant_response": _flag(options["instant_response"]),
        "enhance_prompt": "no",
        "safety_checker": "no",
        "tomesd": "no",
        "upscale": "no",
        "highres_fix": "no",
        "panorama": "no",
        "self_attention": "no",
        "multi_lingual": "no",
        "watermark": "no",
        "full_url": "no",
        "vae": adapters.vae.name if adapters.vae else None,
        "lora_model": ",".join(lora.name for lora in adapters.loras) or None,
        "lora_strength": ",".join(f"{lora.scale:g}" for lora in adapters.loras) or None,
        "webhook": None,
        "track_id": job.track_id,
        "id": str(job.pk),
        "outdir": "out",
        "file_prefix": str(job.artifact_group),
    }
