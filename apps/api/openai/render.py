"""Bodies of answers, made from the job's row and its files alone: whoever asks again gets the same bytes."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Final, TypedDict, cast

from apps.api.openai.fields import B64_JSON, TRANSPARENT, URL
from apps.api.openai.models import LEGACY_NAMES
from apps.api.openai.translation import Asked
from apps.artifacts.links import artifact_url
from apps.artifacts.models import Artifact
from apps.generation.models import GenerationJob
from apps.generation.resolved import ResolvedRequest
from apps.generation.safety_report import report_on

FORMATS: Final = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}
SEVERITIES: Final = ((0.75, "high"), (0.5, "medium"), (0.25, "low"), (0.0, "safe"))
"""From which score on which word; what is unsuitable is at least medium."""
CHARS_A_TOKEN: Final = 4
PATCH_PX: Final = 32
"""Side of the square that counts as one token."""


class Options(TypedDict):
    """What rendering needs to know of the request again; stored with the job."""

    dialect: str
    endpoint: str
    response_format: str
    quality: str
    background: str
    revised_prompt: str
    safety_identifier: str


class Filtered(TypedDict):
    """Whether something was hidden, and how unsuitable it is: `safe`, `low`, `medium` or `high`."""

    filtered: bool
    severity: str


class Image(TypedDict, total=False):
    """One image of an answer. What filters found is called as on Azure, for OpenAI says nothing of them."""

    b64_json: str
    url: str
    revised_prompt: str
    content_filter_results: dict[str, Filtered]
    prompt_filter_results: dict[str, Filtered]


class InputTokens(TypedDict):
    """What came in."""

    text_tokens: int
    image_tokens: int


class Usage(TypedDict):
    """Figures for dashboards; nothing is charged by them."""

    input_tokens: int
    input_tokens_details: InputTokens
    output_tokens: int
    output_tokens_details: InputTokens
    total_tokens: int


def options_for(asked: Asked) -> Options:
    """What of a request its answer will need."""
    is_legacy = LEGACY_NAMES.fullmatch(asked.model) is not None
    return {
        "dialect": "openai",
        "endpoint": asked.endpoint,
        "response_format": asked.get("response_format", URL if is_legacy else B64_JSON),
        "quality": asked.quality.name,
        "background": TRANSPARENT if asked.get("background", "") == TRANSPARENT else "opaque",
        "revised_prompt": asked.revised_prompt,
        "safety_identifier": asked.get("safety_identifier", "") or asked.get("user", ""),
    }


def options_of(job: GenerationJob) -> Options:
    """What was kept with the job."""
    return cast(Options, job.client_options)


def images_body(job: GenerationJob, artifacts: Sequence[Artifact]) -> dict[str, object]:
    """The answer to a request that succeeded. Raises FileNotFoundError when a file has expired."""
    options = options_of(job)
    body: dict[str, object] = {
        "created": created_at(job),
        "data": [_image(artifact, options) | filters(job, artifact) for artifact in artifacts],
        **facts(job),
        "usage": usage(job.resolved, images=artifacts),
    }
    if options["safety_identifier"]:
        body["safety_identifier"] = options["safety_identifier"]
    return body


def created_at(job: GenerationJob) -> int:
    """Unix seconds of the job's end, while it runs of its acceptance."""
    return int((job.finished_at or job.queued_at).timestamp())


def facts(job: GenerationJob) -> dict[str, str]:
    """What answers and events say of the images."""
    options, resolved = options_of(job), job.resolved
    width, height = resolved.delivered_size
    return {
        "background": options["background"],
        "output_format": FORMATS[resolved.output.media_type],
        "quality": options["quality"],
        "size": f"{width}x{height}",
    }


def filters(job: GenerationJob, artifact: Artifact) -> Image:
    """What the safety rules found in one image, and in the prompt; empty where nothing was looked at."""
    report = report_on(job)
    found: Image = {}
    if report is not None and artifact.index < len(report.findings):
        finding = report.findings[artifact.index]
        severity = next(word for limit, word in SEVERITIES if finding.score >= limit)
        found["content_filter_results"] = {"sexual": {"filtered": finding.is_replaced, "severity": severity}}
    if report is not None and report.prompt:
        found["prompt_filter_results"] = {"sexual": {"filtered": False, "severity": "medium"}}
    return found


def _image(artifact: Artifact, options: Options) -> Image:
    image: Image = {"url": _link(artifact)} if options["response_format"] == URL else encoded(artifact)
    if options["revised_prompt"]:
        image["revised_prompt"] = options["revised_prompt"]
    return image


def _link(artifact: Artifact) -> str:
    return artifact_url(
        group=artifact.group,
        index=artifact.index,
        extension=artifact.extension,
        expires_at=artifact.expires_at,
    )


def encoded(artifact: Artifact) -> Image:
    """The file as base64. Raises FileNotFoundError when it has expired."""
    return {"b64_json": base64.b64encode(artifact.file_path.read_bytes()).decode("ascii")}


def usage(resolved: ResolvedRequest, *, images: Iterable[Artifact], counts_input: bool = True) -> Usage:
    """A token for each four characters of prompt, and for each square of 32 pixels of a picture."""
    text = image = 0
    if counts_input:
        text = _parts(len(resolved.prompt), CHARS_A_TOKEN)
        mask = resolved.mask.digest if resolved.mask else ""
        brought = [picture for digest, picture in resolved.pictures.items() if digest != mask]
        image = sum(_patches(picture.width, picture.height) for picture in brought)
    output = sum(_patches(artifact.width, artifact.height) for artifact in images)
    return {
        "input_tokens": text + image,
        "input_tokens_details": {"text_tokens": text, "image_tokens": image},
        "output_tokens": output,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": output},
        "total_tokens": text + image + output,
    }


def _patches(width: int, height: int) -> int:
    return _parts(width, PATCH_PX) * _parts(height, PATCH_PX)


def _parts(whole: int, part: int) -> int:
    return -(-whole // part)
