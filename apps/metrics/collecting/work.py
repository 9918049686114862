"""Figures of the queue, of running jobs and of GPU workers, from their rows. Four queries."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db.models import Count, Min, Q

from apps.core.counters import gauge
from apps.generation.choices import OPEN_STATES, JobState
from apps.generation.image_requests import runtime_priority
from apps.generation.models import GenerationJob, GpuWorker
from apps.generation.selectors import backlog_s
from apps.metrics.collecting.figures import Figure, age_s, figure
from gpu_runtime.messages import Priority

QUEUED: Final = gauge("darkroom_queue_jobs", "Jobs that wait for a worker, by class of work.", "class")
OLDEST: Final = gauge(
    "darkroom_queue_oldest_age_seconds", "How long the oldest queued job has waited, by class.", "class"
)
BACKLOG: Final = gauge(
    "darkroom_queue_backlog_seconds", "Work that is accepted and not done, at the live workers' speed."
)
OPEN: Final = gauge("darkroom_jobs_open", "Jobs that are queued or running, by kind.", "state", "kind")
OVERDUE: Final = gauge(
    "darkroom_jobs_overdue_leases", "Running jobs whose worker has not renewed its right to them in time."
)
WORKERS: Final = gauge(
    "darkroom_workers", "GPU workers on record, by state; silent is no sign of life.", "state"
)
UP: Final = gauge("darkroom_worker_up", "1 while a worker gives signs of life.", "worker")
SILENT: Final = gauge(
    "darkroom_worker_heartbeat_age_seconds", "Since a worker's last sign of life.", "worker"
)
STEP: Final = gauge(
    "darkroom_worker_step_seconds", "What one step of one image takes, moving average.", "worker"
)
SPEED: Final = gauge(
    "darkroom_worker_speed_tflops", "What a worker computes, 10**12 operations a second.", "worker"
)
WEIGHTS: Final = gauge("darkroom_worker_weights_bytes", "Weights on a worker's device.", "worker")
BUDGET: Final = gauge(
    "darkroom_worker_weights_budget_bytes", "Weights that a worker may keep on its device.", "worker"
)
CHECKPOINTS: Final = gauge(
    "darkroom_worker_checkpoints", "Checkpoints that a worker holds, by where.", "worker", "residency"
)
WORK_SERIES: Final = (
    QUEUED,
    OLDEST,
    BACKLOG,
    OPEN,
    OVERDUE,
    WORKERS,
    UP,
    SILENT,
    STEP,
    SPEED,
    WEIGHTS,
    BUDGET,
    CHECKPOINTS,
)
CLASSES: Final = {priority: priority.name.lower() for priority in Priority}
SILENT_STATE: Final = "silent"


def collect_work(now: datetime) -> Iterator[Figure]:
    """As of `now`."""
    yield from _open_jobs(now)
    yield figure(BACKLOG, backlog_s(now=now))
    yield from _workers(now)


def _open_jobs(now: datetime) -> Iterator[Figure]:
    rows = (
        GenerationJob.objects.filter(state__in=OPEN_STATES)
        .values("state", "kind", "priority")
        .annotate(
            n=Count("pk"),
            oldest=Min("queued_at"),
            overdue=Count("pk", filter=Q(state=JobState.RUNNING, lease_expires_at__lt=now)),
        )
        .order_by()
    )
    waiting: Counter[str] = Counter()
    oldest = dict.fromkeys(CLASSES.values(), 0.0)
    by_kind: Counter[tuple[str, str]] = Counter()
    overdue = 0
    for row in rows:
        by_kind[row["state"], row["kind"]] += row["n"]
        overdue += row["overdue"]
        if row["state"] == JobState.QUEUED:
            name = CLASSES[runtime_priority(GenerationJob(priority=row["priority"]))]
            waiting[name] += row["n"]
            oldest[name] = max(oldest[name], age_s(row["oldest"], now=now))
    for name, seconds in oldest.items():
        yield figure(QUEUED, waiting[name], name)
        yield figure(OLDEST, seconds, name)
    for (state, kind), count in sorted(by_kind.items()):
        yield figure(OPEN, count, state, kind)
    yield figure(OVERDUE, overdue)


def _workers(now: datetime) -> Iterator[Figure]:
    states: Counter[str] = Counter({"ready": 0, SILENT_STATE: 0})
    for worker in GpuWorker.objects.order_by("name"):
        is_fresh = worker.is_fresh(now=now, lease_s=settings.LEASE_S)
        # One that said that it stops is not missed.
        states[worker.state if is_fresh or worker.state == "stopped" else SILENT_STATE] += 1
        yield figure(UP, float(is_fresh), worker.name)
        yield figure(SILENT, age_s(worker.heartbeat_at, now=now), worker.name)
        if is_fresh:
            yield from _worker(worker)
    for state, count in sorted(states.items()):
        yield figure(WORKERS, count, state)


def _worker(worker: GpuWorker) -> Iterator[Figure]:
    yield figure(STEP, worker.step_ms / 1000, worker.name)
    yield figure(SPEED, worker.tflop_per_s, worker.name)
    yield figure(WEIGHTS, worker.weights_bytes, worker.name)
    yield figure(BUDGET, worker.weights_budget_bytes, worker.name)
    held = Counter(str(each["residency"]) for each in worker.weights)
    for residency in ("resident", "staged"):
        yield figure(CHECKPOINTS, held[residency], worker.name, residency)
