"""Jobs as the log shows them: in words, with their pictures, and as JSON without secrets."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.api.native.events import describe
from apps.api.native.render import timeline
from apps.artifacts.links import thumbnail_path
from apps.artifacts.models import Artifact
from apps.core import clock
from apps.generation.choices import JobState, Kind
from apps.generation.models import GenerationJob
from apps.generation.selectors import list_artifacts
from apps.portal.jobs.filters import STATE_LABELS
from apps.portal.playground.words import KINDS

THUMBNAILS: Final = 4
HIDDEN: Final = "•••"
SECRET_NAMES: Final = ("key", "token", "secret", "password", "authorization", "signature")
"""Parts of names whose values are nobody's business."""
URL_NAMES: Final = ("url", "webhook", "address")
PHASES: Final[Mapping[str, Promise]] = {
    "queued": _("Waiting"),
    "staged": _("Loading the model"),
    "prepare": _("Preparing"),
    "encode": _("Reading the prompt"),
    "steps": _("Steps"),
    "decode": _("Decoding"),
    "finish": _("Finishing touches"),
    "encode_image": _("Writing the file"),
    "store": _("Storing"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One finished image."""

    url: str
    """On this server, without a host: a page may be read under another name than the API."""
    width: int
    height: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """Where time went."""

    label: str | Promise
    seconds: float
    total: float
    """Of all phases, seconds; what a bar of this one is a part of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownJob:
    """A line of the log."""

    job: GenerationJob
    state_label: str | Promise
    tone: str
    """Of its mark: good, bad, warn, accent or ""."""
    kind_label: str | Promise
    prompt: str
    model: str
    pictures: Sequence[Picture]

    @property
    def seconds(self) -> float | None:
        """From the queue to the end; None for an open one."""
        if self.job.finished_at is None:
            return None
        return (self.job.finished_at - self.job.queued_at).total_seconds()

    @property
    def percent(self) -> int:
        total = self.job.progress_total
        return round(100 * self.job.progress_step / total) if total else 0


_TONES: Final[Mapping[str, str]] = {
    JobState.SUCCEEDED: "good",
    JobState.FAILED: "bad",
    JobState.QUARANTINED: "bad",
    JobState.EXPIRED: "warn",
    JobState.RUNNING: "accent",
}


def shown_jobs(jobs: Sequence[GenerationJob]) -> list[ShownJob]:
    """With the first few pictures of each; one query for all of them."""
    pictures: defaultdict[int, list[Picture]] = defaultdict(list)
    rows = Artifact.objects.filter(job_id__in=[job.pk for job in jobs], index__lt=THUMBNAILS)
    for artifact in rows.order_by("job_id", "index"):
        pictures[artifact.job_id].append(_picture(artifact))
    return [_shown(job, pictures[job.pk]) for job in jobs]


def shown_job(job: GenerationJob) -> ShownJob:
    """With all of its pictures."""
    return _shown(job, [_picture(artifact) for artifact in list_artifacts(job)])


def phases_of(job: GenerationJob) -> list[Phase]:
    """From queued to stored, as far as it has come."""
    spent = timeline(job)
    total = sum(each["seconds"] for each in spent)
    return [
        Phase(label=PHASES.get(each["phase"], each["phase"]), seconds=each["seconds"], total=total)
        for each in spent
    ]


def request_json(job: GenerationJob) -> str:
    """What was asked for, as it was understood, without secrets."""
    asked = {"request": job.request, "client_options": job.client_options, "track_id": job.track_id}
    asked["webhook"] = job.webhook
    return _pretty({name: value for name, value in asked.items() if value not in (None, {}, "")})


def response_json(job: GenerationJob) -> str:
    """What the API answers about it, without what was asked for."""
    body = {name: value for name, value in describe(job).items() if name != "request"}
    return _pretty(body, is_link_shown=True)


def _shown(job: GenerationJob, pictures: Sequence[Picture]) -> ShownJob:
    label, _hint = KINDS.get(Kind(job.kind), (job.kind, "")) if job.kind in Kind.values else (job.kind, "")
    return ShownJob(
        job=job,
        state_label=STATE_LABELS[JobState(job.state)],
        tone=_TONES.get(job.state, ""),
        kind_label=label,
        prompt=str(job.request.get("prompt") or job.result.get("caption") or ""),
        model=job.checkpoint.name if job.checkpoint else "",
        pictures=pictures,
    )


def _picture(artifact: Artifact) -> Picture:
    return Picture(
        url=thumbnail_path(
            group=artifact.group, index=artifact.index, extension=artifact.extension, now=clock.now()
        ),
        width=artifact.width,
        height=artifact.height,
        seed=artifact.seed,
    )


def _pretty(value: Any, *, is_link_shown: bool = False) -> str:  # Any: JSON
    return json.dumps(redacted(value, is_link_shown=is_link_shown), indent=2, ensure_ascii=False, default=str)


def redacted(value: Any, *, is_link_shown: bool = False) -> Any:
    """JSON without the values of secret names, and without passwords and queries of addresses."""
    if isinstance(value, dict):
        return {
            name: HIDDEN
            if _is_secret(name, each)
            else _without_query(each)
            if not is_link_shown and name in URL_NAMES and isinstance(each, str)
            else redacted(each, is_link_shown=is_link_shown)
            for name, each in value.items()
        }
    if isinstance(value, list | tuple):
        return [redacted(each, is_link_shown=is_link_shown) for each in value]
    return value


def _is_secret(name: str, value: Any) -> bool:
    return isinstance(value, str) and any(part in name.lower() for part in SECRET_NAMES)


def _without_query(address: str) -> str:
    try:
        parts = urlsplit(address)
    except ValueError:
        return HIDDEN
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, HIDDEN if parts.query else "", ""))
