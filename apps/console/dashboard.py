"""What the console's first page shows. Reads only; six short queries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import Count, Sum

from apps.artifacts.links import thumbnail_path
from apps.artifacts.models import Artifact
from apps.core.clock import quota_day
from apps.generation.choices import OPEN_STATES, JobState
from apps.generation.licensed import workers_beyond_licence
from apps.generation.models import GenerationJob, GpuWorker
from apps.quotas.models import DailyUsage

LAST_IMAGES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerLine:
    """One GPU worker as an operator needs to see it."""

    worker: GpuWorker
    is_fresh: bool
    """Whether it gave a sign of life within its lease."""
    refusal: str
    """Why it takes no jobs although it lives; empty while it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """One recent image."""

    path: str
    job_id: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """The first page's contents."""

    workers: list[WorkerLine]
    open_jobs: dict[str, int]
    """Jobs by open state, zeros included."""
    recent_ends: dict[str, int]
    """How the newest thousand jobs ended, zeros left out."""
    calls_today: int
    thumbnails: list[Thumbnail]


def get_dashboard(*, now: datetime) -> Dashboard:
    """Everything the first page shows, as of `now`."""
    # Accounts of other zones are counted by the date in UTC: this is an overview, not an invoice.
    today = DailyUsage.objects.filter(day=quota_day(now, zone="UTC"))
    sums = today.aggregate(settled=Sum("settled"), reserved=Sum("reserved"))
    beyond = workers_beyond_licence(now=now)
    return Dashboard(
        workers=[
            WorkerLine(
                worker=worker,
                is_fresh=worker.is_fresh(now=now, lease_s=settings.LEASE_S),
                refusal=beyond.get(worker.name, ""),
            )
            for worker in GpuWorker.objects.order_by("name")
        ],
        open_jobs=_open_jobs(),
        recent_ends=_recent_ends(),
        calls_today=(sums["settled"] or 0) + (sums["reserved"] or 0),
        thumbnails=[_thumbnail(artifact, now=now) for artifact in _last_images(now)],
    )


def _open_jobs() -> dict[str, int]:
    counts = GenerationJob.objects.filter(state__in=OPEN_STATES).values_list("state").annotate(n=Count("id"))
    found = dict(counts.order_by())
    return {state.value: found.get(state.value, 0) for state in OPEN_STATES}


def _recent_ends() -> dict[str, int]:
    # A bounded look, so that the page is as fast after a million jobs as after ten.
    newest = GenerationJob.objects.order_by("-id").values_list("state", flat=True)[:1000]
    states = list(newest)
    ends = [state for state in JobState if state not in OPEN_STATES]
    return {state.value: states.count(state.value) for state in ends if state.value in states}


def _last_images(now: datetime) -> list[Artifact]:
    return list(Artifact.objects.filter(expires_at__gt=now).order_by("-id")[:LAST_IMAGES])


def _thumbnail(artifact: Artifact, *, now: datetime) -> Thumbnail:
    return Thumbnail(
        path=thumbnail_path(
            group=artifact.group, index=artifact.index, extension=artifact.extension, now=now
        ),
        job_id=artifact.job_id,
        width=artifact.width,
        height=artifact.height,
    )
