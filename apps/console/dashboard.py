"""What the console's first page shows. Reads only; as many queries after a million jobs as after ten."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import django
from django.conf import settings
from django.db import connection
from django.db.models import Sum

from apps.artifacts.links import thumbnail_path
from apps.artifacts.models import Artifact
from apps.console.attention import Facts, Notice, notices
from apps.core.clock import quota_day
from apps.core.errors import DomainError
from apps.generation import device_figures
from apps.generation.licensed import workers_beyond_licence
from apps.generation.models import GpuWorker
from apps.metrics import measuring
from apps.metrics.collecting import keeping, messages, work
from apps.metrics.last_hour import LastHour, count_quarantined, last_hour
from apps.metrics.readings import Readings, read_all
from apps.plans.licensing import LicenceStanding, get_standing
from apps.quotas.models import DailyUsage

LAST_IMAGES: Final = 12
SHOWN_WORKERS: Final = 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """So much of a room is taken."""

    taken: float
    size: float

    @property
    def percent(self) -> int:
        """0 to 100; 0 of nothing."""
        return min(100, round(100 * self.taken / self.size)) if self.size else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One GPU worker's device as an operator needs to see it."""

    worker: GpuWorker
    is_fresh: bool
    """Whether it gave a sign of life within its lease."""
    refusal: str
    """Why it takes no jobs although it lives; empty while it does."""
    memory: Filled | None
    """None where the machine does not tell; so are the two below."""
    busy_percent: int | None
    celsius: int | None
    weights: Filled
    checkpoints: Sequence[str]
    """Those on the device."""
    staged: int
    """Checkpoints in the host's memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueClass:
    """Jobs of one class of work that wait."""

    name: str
    waiting: int
    oldest_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """What takes room."""

    disks: Mapping[str, Filled]
    images: int
    image_bytes: float
    models: int
    model_bytes: float
    database_bytes: float


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

    notices: Sequence[Notice]
    """What needs attention, worst first."""
    devices: Sequence[Device]
    queue: Sequence[QueueClass]
    running: int
    backlog_s: float
    """Work that is accepted and not done, at the live workers' speed."""
    hour: LastHour
    calls_today: int
    webhooks_waiting: int
    storage: Storage
    versions: Mapping[str, str]
    licence: LicenceStanding | None
    licence_problem: str
    """Why the installed licence is not believed; empty where it is, or where there is none."""
    thumbnails: Sequence[Thumbnail]

    @property
    def failed_percent(self) -> str:
        """Of the hour's jobs, to a tenth."""
        return f"{100 * self.hour.all.failed_share:.1f}"


def get_dashboard(*, now: datetime) -> Dashboard:
    """Everything the first page shows, as of `now`."""
    readings = read_all(now=now)
    hour = last_hour(now=now)
    facts = Facts(readings=readings, hour=hour, quarantined=count_quarantined(now=now), now=now)
    standing, problem = _licence(now)
    return Dashboard(
        notices=notices(facts),
        devices=_devices(readings, now),
        queue=[
            QueueClass(
                name=name,
                waiting=int(readings.value(work.QUEUED, name)),
                oldest_s=readings.value(work.OLDEST, name),
            )
            for name in work.CLASSES.values()
        ],
        running=int(sum(n for (state, _), n in readings.of(work.OPEN).items() if state == "running")),
        backlog_s=readings.value(work.BACKLOG),
        hour=hour,
        calls_today=_calls_today(now),
        webhooks_waiting=int(sum(readings.of(messages.DELIVERIES).values())),
        storage=_storage(readings),
        versions=_versions(),
        licence=standing,
        licence_problem=problem,
        thumbnails=[_thumbnail(artifact, now=now) for artifact in _last_images(now)],
    )


def _devices(readings: Readings, now: datetime) -> list[Device]:
    beyond = workers_beyond_licence(now=now)
    # The latest sign of life first: what was taken away years ago does not push out what works.
    workers = GpuWorker.objects.order_by("-heartbeat_at")[:SHOWN_WORKERS]
    return [
        _device(worker, readings, beyond.get(worker.name, ""), now)
        for worker in sorted(workers, key=lambda each: each.name)
    ]


def _device(worker: GpuWorker, readings: Readings, refusal: str, now: datetime) -> Device:
    size = readings.find(device_figures.SIZE, worker.name)
    busy = readings.find(device_figures.LOAD, worker.name)
    celsius = readings.find(device_figures.TEMPERATURE, worker.name)
    held = [(str(each["name"]), str(each["residency"])) for each in worker.weights]
    return Device(
        worker=worker,
        is_fresh=worker.is_fresh(now=now, lease_s=settings.LEASE_S),
        refusal=refusal,
        memory=Filled(taken=readings.value(device_figures.USED, worker.name), size=size) if size else None,
        busy_percent=None if busy is None else round(100 * busy),
        celsius=None if celsius is None else round(celsius),
        weights=Filled(taken=worker.weights_bytes, size=worker.weights_budget_bytes),
        checkpoints=[name for name, residency in held if residency == "resident"],
        staged=sum(residency == "staged" for _, residency in held),
    )


def _storage(readings: Readings) -> Storage:
    return Storage(
        disks={
            folder: Filled(taken=size - readings.value(keeping.DISK_FREE, folder), size=size)
            for (folder,), size in readings.of(keeping.DISK_SIZE).items()
        },
        images=int(readings.value(measuring.ARTIFACTS)),
        image_bytes=readings.value(measuring.ARTIFACT_BYTES),
        models=int(sum(readings.of(measuring.MODELS).values())),
        model_bytes=sum(readings.of(measuring.MODEL_BYTES).values()),
        database_bytes=readings.value(keeping.DATABASE_SIZE),
    )


def _versions() -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        postgres = str(cursor.fetchone()[0]).split()[0]
    return {
        "Darkroom": settings.APPLIANCE_VERSION,
        "PostgreSQL": postgres,
        "Python": platform.python_version(),
        "Django": django.get_version(),
    }


def _licence(now: datetime) -> tuple[LicenceStanding | None, str]:
    """The licence, and why it is not believed. A changed one must not close the page that tells of it."""
    try:
        return get_standing(now=now), ""
    except DomainError as refused:
        return None, str(refused)


def _calls_today(now: datetime) -> int:
    # Accounts of other zones are counted by the date in UTC: this is an overview, not an invoice.
    today = DailyUsage.objects.filter(day=quota_day(now, zone="UTC"))
    sums = today.aggregate(settled=Sum("settled"), reserved=Sum("reserved"))
    return (sums["settled"] or 0) + (sums["reserved"] or 0)


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
