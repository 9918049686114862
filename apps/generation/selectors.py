"""Reads of jobs and workers that the API and the console need."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import QuerySet, Sum

from apps.accounts.models import Account
from apps.artifacts.models import Artifact
from apps.core.errors import NotFound
from apps.generation.choices import OPEN_STATES, JobState
from apps.generation.models import GenerationJob, GpuWorker

# Largest id PostgreSQL's bigint holds; a longer number cannot name a job.
MAX_ID = 2**63 - 1
# Digits of MAX_ID: int() refuses texts of thousands of digits with a ValueError of its own.
MAX_ID_DIGITS = 19
# Step time assumed before any worker has measured one, in milliseconds a row.
UNMEASURED_STEP_MS = 100.0
# Fixed cost of a job besides its steps: encoding, decoding, storing.
JOB_OVERHEAD_S = 0.3


def access_job(*, account: Account, job_id: str | int) -> GenerationJob:
    """The account's job with this public id, in any spelling clients send.

    Raises NotFound, the same for an id that is unknown, malformed or another account's.
    """
    text = str(job_id)
    if text.isascii() and text.isdigit() and len(text) <= MAX_ID_DIGITS and int(text) <= MAX_ID:
        job = GenerationJob.objects.filter(account=account, pk=int(text)).first()
        if job is not None:
            return job
    raise NotFound(what="Request", id=text[:64])


def list_artifacts(job: GenerationJob) -> QuerySet[Artifact]:
    """The job's stored images in order of their index."""
    return Artifact.objects.filter(job_id=job.pk).order_by("index")


def fresh_workers(*, now: datetime) -> QuerySet[GpuWorker]:
    """Workers that gave a sign of life within one lease and take jobs."""
    alive_since = now - timedelta(seconds=settings.LEASE_S)
    return GpuWorker.objects.filter(heartbeat_at__gt=alive_since, state="ready")


def estimate_s(*, job: GenerationJob, now: datetime) -> float:
    """Seconds until this job is likely done, from measured step times and the work ahead of it.

    Counts the row-steps of every open job that goes first, shared between the live workers. Without
    any worker it assumes one that has measured nothing.
    """
    if job.is_terminal:
        return 0.0
    ahead = GenerationJob.objects.filter(state__in=OPEN_STATES, pk__lte=job.pk).aggregate(
        total=Sum("progress_total"), done=Sum("progress_step")
    )
    row_steps = max(0, (ahead["total"] or job.progress_total) - (ahead["done"] or 0))
    return round(JOB_OVERHEAD_S + row_steps / _steps_per_s(now), 2)


def backlog_s(*, now: datetime) -> float:
    """Seconds of work that is accepted and not done, shared between the live workers."""
    work = GenerationJob.objects.filter(state__in=OPEN_STATES).aggregate(
        total=Sum("progress_total"), done=Sum("progress_step")
    )
    return round(((work["total"] or 0) - (work["done"] or 0)) / _steps_per_s(now), 2)


def _steps_per_s(now: datetime) -> float:
    """Row-steps of all live workers together; of one that has measured nothing when there is none."""
    measured_ms = fresh_workers(now=now).values_list("step_ms", flat=True)
    speeds = [step_ms or UNMEASURED_STEP_MS for step_ms in measured_ms]
    return sum(1000.0 / speed for speed in speeds) or 1000.0 / UNMEASURED_STEP_MS


def queue_position(job: GenerationJob) -> int:
    """How many queued jobs go first; 0 for the next one and for jobs that are not queued."""
    if job.state != JobState.QUEUED:
        return 0
    return (
        GenerationJob.objects.filter(state=JobState.QUEUED, priority=job.priority, pk__lt=job.pk).count()
        + GenerationJob.objects.filter(state=JobState.QUEUED, priority__gt=job.priority).count()
    )
