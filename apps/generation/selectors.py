"""Reads of jobs and workers that the API and the console need."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db.models import Case, Count, Exists, F, FloatField, Max, Q, QuerySet, Sum, When
from django.db.models.functions import Cast, Coalesce, Greatest, Least

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.artifacts.models import Artifact
from apps.core.errors import NotFound
from apps.generation.choices import OPEN_STATES, JobState
from apps.generation.models import DedicatedDevice, GenerationJob, GpuWorker, JobPreview
from gpu_runtime.batching.queue_forecast import shared_finish_s

# Largest id PostgreSQL's bigint holds; a longer number cannot name a job.
MAX_ID = 2**63 - 1
# Digits of MAX_ID: int() refuses texts of thousands of digits with a ValueError of its own.
MAX_ID_DIGITS = 19
# Time of a row-step assumed before any worker has measured one.
UNMEASURED_STEP_S = 0.1
# Fixed cost of a job besides its steps: encoding, decoding, storing.
JOB_OVERHEAD_S = 0.3

# What is left of open jobs. Progress may run past the total: passes may have a step more than was counted.
WORK_LEFT: Final = Coalesce(
    Sum(
        F("work_tflop")
        * (1.0 - Least(1.0, Cast("progress_step", FloatField()) / Greatest("progress_total", 1)))
    ),
    0.0,
)
STEPS_LEFT: Final = Coalesce(Sum(Greatest(F("progress_total") - F("progress_step"), 0)), 0)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenJobs:
    """How many jobs wait or run, and how many of those run: of an account, and of one of its keys."""

    open: int
    running: int
    keys_open: int
    keys_running: int


def count_open_jobs(*, account: Account, api_key: ApiKey) -> OpenJobs:
    """What queue depths and limits of parallel jobs are about; one query."""
    is_running, is_keys = Q(state=JobState.RUNNING), Q(api_key=api_key)
    counts = GenerationJob.objects.filter(account=account, state__in=OPEN_STATES).aggregate(
        open=Count("pk"),
        running=Count("pk", filter=is_running),
        keys_open=Count("pk", filter=is_keys),
        keys_running=Count("pk", filter=is_running & is_keys),
    )
    return OpenJobs(**counts)


def list_artifacts(job: GenerationJob) -> QuerySet[Artifact]:
    """The job's stored images in order of their index."""
    return Artifact.objects.filter(job_id=job.pk).order_by("index")


def find_preview(job: GenerationJob) -> JobPreview | None:
    """What a running job looks like so far; None before the first step, and for jobs that asked for none."""
    return JobPreview.objects.filter(job=job).first() if job.state == JobState.RUNNING else None


def fresh_workers(*, now: datetime) -> QuerySet[GpuWorker]:
    """Workers that gave a sign of life within one lease and take jobs."""
    alive_since = now - timedelta(seconds=settings.LEASE_S)
    return GpuWorker.objects.filter(heartbeat_at__gt=alive_since, state="ready")


def estimate_s(*, job: GenerationJob, now: datetime) -> float:
    """Seconds until this job is likely done, from what the live workers measured and the work beside it.

    The work that is done until then: what goes before it in its account, what has a higher priority, and of
    each other account as much as its share allows meanwhile. Without any worker it assumes one that has
    measured nothing.
    """
    if job.is_terminal:
        return 0.0
    speed = _speed(_workers_of(job, now))
    open_work = _open_work(job)
    above_s = sum(speed.seconds(left) for left in open_work if left.is_above)
    beside = [left for left in open_work if not left.is_above]
    own_s = sum(speed.seconds(left) for left in beside if left.account_id == job.account_id)
    others = [(speed.seconds(left), left.weight) for left in beside if left.account_id != job.account_id]
    return round(JOB_OVERHEAD_S + above_s + shared_finish_s(own_s, job.weight, others), 2)


def estimate_new_s(*, job: GenerationJob, now: datetime) -> float:
    """The same for a row that was never saved, as if it were queued now behind everything of its account."""
    job.pk = MAX_ID
    queued_s = estimate_s(job=job, now=now)
    own = _Left(tflop=job.work_tflop, row_steps=job.progress_total)
    return round(queued_s + _speed(_workers_of(job, now)).seconds(own), 2)


def backlog_s(*, now: datetime) -> float:
    """Seconds of work that is accepted and not done, shared between the live workers."""
    left = GenerationJob.objects.filter(state__in=OPEN_STATES).aggregate(work=WORK_LEFT, steps=STEPS_LEFT)
    return round(
        _speed(fresh_workers(now=now)).seconds(_Left(tflop=left["work"], row_steps=left["steps"])), 2
    )


def count_open(*, account: Account) -> int:
    """How many of the account's jobs are queued or running."""
    return GenerationJob.objects.filter(account=account, state__in=OPEN_STATES).count()


def queue_position(job: GenerationJob) -> int:
    """How many queued jobs are claimed first; 0 for the next one and for jobs that are not queued."""
    if job.state != JobState.QUEUED:
        return 0
    return GenerationJob.objects.filter(_goes_before(job), _competing(job), state=JobState.QUEUED).count()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Left:
    """What is left to do of some jobs, of one account where it matters whose they are."""

    tflop: float
    row_steps: int
    account_id: int = 0
    weight: float = 1.0
    is_above: bool = False
    """Whether it is queued with a higher priority than the job in question."""


@dataclass(frozen=True, slots=True)
class _Speed:
    """Of some live workers together."""

    tflop_per_s: float
    """0 when none has measured anything."""
    workers: int

    def seconds(self, left: _Left) -> float:
        """How long they take for it."""
        if self.tflop_per_s:
            return left.tflop / self.tflop_per_s
        return left.row_steps * UNMEASURED_STEP_S / self.workers


def _workers_of(job: GenerationJob, now: datetime) -> QuerySet[GpuWorker]:
    """Live workers that may claim it: those kept for its account, or else those that are kept for nobody."""
    kept = DedicatedDevice.objects.all()
    is_shared = ~Q(pk__in=kept.values("worker")) & ~Exists(kept.filter(account_id=job.account_id))
    is_own = Q(pk__in=kept.filter(account_id=job.account_id).values("worker"))
    return fresh_workers(now=now).filter(is_own | is_shared)


def _competing(job: GenerationJob) -> Q:
    """Jobs that run where it may run."""
    kept = DedicatedDevice.objects.all()
    is_shared = ~Q(account_id__in=kept.values("account"))
    return Q(account_id=job.account_id) | is_shared & ~Q(Exists(kept.filter(account_id=job.account_id)))


def _speed(workers: QuerySet[GpuWorker]) -> _Speed:
    """Workers that have measured nothing are taken for as fast as the others are on average."""
    measured = list(workers.values_list("tflop_per_s", flat=True))
    known = [speed for speed in measured if speed]
    together = sum(known) / len(known) * len(measured) if known else 0.0
    return _Speed(tflop_per_s=together, workers=max(1, len(measured)))


def _goes_before(job: GenerationJob) -> Q:
    """Jobs that are claimed before a queued one."""
    earlier = Q(queue_tag__lt=job.queue_tag) | Q(queue_tag=job.queue_tag, pk__lt=job.pk)
    return Q(priority__gt=job.priority) | (Q(priority=job.priority) & earlier)


def _open_work(job: GenerationJob) -> list[_Left]:
    """What each account has above the job and beside it; of its own what is claimed first, itself included.

    Running jobs are beside it whatever their priority: they have the device.
    """
    above = Q(state=JobState.QUEUED, priority__gt=job.priority)
    beside = Q(state=JobState.RUNNING) | Q(state=JobState.QUEUED, priority=job.priority)
    is_own_later = Q(account_id=job.account_id, state=JobState.QUEUED) & ~_goes_before(job) & ~Q(pk=job.pk)
    rows = (
        GenerationJob.objects.filter(above | beside)
        .filter(_competing(job))
        .exclude(is_own_later)
        .annotate(is_above=Case(When(above, then=True), default=False))
        .values("account_id", "is_above")
        .annotate(most=Max("weight"), work=WORK_LEFT, steps=STEPS_LEFT)
    )
    return [
        _Left(
            tflop=row["work"],
            row_steps=row["steps"],
            account_id=row["account_id"],
            weight=row["most"],
            is_above=row["is_above"],
        )
        for row in rows
    ]
