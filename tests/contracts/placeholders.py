"""Placeholders in the ModelsLab exchanges: what of an answer varies, and how it is written down."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from apps.artifacts.links import artifact_url
from apps.artifacts.models import Artifact
from apps.generation.delivering import artifact_expiry
from apps.generation.models import GenerationJob
from apps.generation.sharing import NO_JOB

LINK_WORDS: Final = {"png": "", "jpg": " as JPEG", "base64": " as text"}
NUMBERS: Final = ("id", "request_id")
"""Names under which the job's id stands as a number."""
MASKS: Final = (
    (re.compile(r"/media/[0-9]+\.[A-Za-z0-9_-]{22}/[a-z]+/[0-9a-f-]{36}-[0-9]+"), "/media/<signed>"),
    (re.compile(r"request id [0-9a-z_]+"), "request id <request id>"),
)
"""What is drawn at random and belongs to no job."""


def facts_of(job: GenerationJob | None) -> dict[str, str]:
    """Placeholder -> what stands for it."""
    if job is None:
        return {}
    links = {
        f"<link {index}{LINK_WORDS[extension]}>": artifact_url(
            group=job.artifact_group, index=index, extension=extension, expires_at=artifact_expiry(job)
        )
        for index in range(job.num_images)
        for extension in ("png", "jpg", "base64")
    }
    facts = {"<id>": str(job.pk), "<id text>": str(job.pk), "<group>": str(job.artifact_group)}
    return links | facts


def uploads() -> dict[str, str]:
    """Of pictures that were uploaded, which have no job."""
    shared = Artifact.objects.filter(job_id=NO_JOB).last()
    return {} if shared is None else {"<upload>": str(shared.pk)}


def take_out(value: Any, known: Mapping[str, str], name: str = "") -> Any:
    """An answer as it is recorded; `name` is the key that the value stands under. `fill_in` undoes it."""
    if isinstance(value, Mapping):
        return {key: take_out(item, known, key) for key, item in value.items()}
    if isinstance(value, list):
        return [take_out(item, known, name) for item in value]
    if name in NUMBERS and str(value) == known.get("<id>"):
        return "<id text>" if isinstance(value, str) else "<id>"
    if name in NUMBERS and str(value) == known.get("<upload>"):
        return "<upload>"
    if not isinstance(value, str):
        return value
    # A link holds the group, so links come first.
    for placeholder in sorted(
        known.keys() - {"<id>", "<id text>", "<upload>"}, key=lambda each: -len(known[each])
    ):
        value = value.replace(known[placeholder], placeholder)
    if "<id>" in known:
        value = re.sub(rf"(/fetch/|\bRequest ){known['<id>']}\b", r"\1<id text>", value)
    return masked(value)


def masked(value: Any) -> Any:
    """The same without what is drawn at random."""
    if isinstance(value, Mapping):
        return {key: masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [masked(item) for item in value]
    if isinstance(value, str):
        for pattern, words in MASKS:
            value = pattern.sub(words, value)
    return value
