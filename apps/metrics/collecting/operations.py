"""Figures of how the appliance is run: tasks, imports, licence, certificate, backup. Four queries."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from django.conf import settings
from django.db.models import Count, Min, Q
from django_q.models import OrmQ, Schedule

from apps.catalog.choices import OPEN_IMPORT_STATES, ImportState
from apps.catalog.models import ModelImport
from apps.core.counters import gauge
from apps.metrics.collecting.figures import Figure, age_s, figure
from apps.plans.licensing import present_licence

RECENT: Final = timedelta(days=1)

BUILD: Final = gauge("darkroom_build_info", "1, with the versions that run.", "version", "python")
TASKS: Final = gauge("darkroom_tasks_queued", "Background tasks that wait for a process.")
SCHEDULE_LAG: Final = gauge(
    "darkroom_schedule_lag_seconds",
    "How late the latest recurring task is: housekeeping is gone when it grows.",
)
IMPORTS: Final = gauge(
    "darkroom_imports", "Imports of models: open ones, and those of 24 hours that failed.", "state"
)
LICENCE_END: Final = gauge(
    "darkroom_licence_end_timestamp_seconds", "When the licence ends; absent without one."
)
CERTIFICATE_END: Final = gauge(
    "darkroom_certificate_end_timestamp_seconds",
    "When the certificate that DARKROOM_TLS_CERTIFICATE names ends; absent without one.",
)
BACKUP: Final = gauge(
    "darkroom_backup_last_success_timestamp_seconds",
    "When the last backup succeeded, by DARKROOM_BACKUP_STAMP; absent while there is none.",
)
OPERATION_SERIES: Final = (
    BUILD,
    TASKS,
    SCHEDULE_LAG,
    IMPORTS,
    LICENCE_END,
    CERTIFICATE_END,
    BACKUP,
)


def collect_operations(now: datetime) -> Iterator[Figure]:
    """As of `now`."""
    yield figure(BUILD, 1.0, settings.APPLIANCE_VERSION, platform.python_version())
    yield figure(TASKS, OrmQ.objects.count())
    yield figure(SCHEDULE_LAG, age_s(Schedule.objects.aggregate(at=Min("next_run"))["at"], now=now))
    is_open = Q(state__in=OPEN_IMPORT_STATES)
    imports = ModelImport.objects.aggregate(
        open=Count("pk", filter=is_open),
        failed=Count("pk", filter=Q(state=ImportState.FAILED, finished_at__gt=now - RECENT)),
    )
    for state, count in imports.items():
        yield figure(IMPORTS, count, state)
    licence = present_licence(now=now)
    if licence is not None:
        yield figure(LICENCE_END, licence.valid_until.timestamp())
    yield from _files()


def _files() -> Iterator[Figure]:
    ends = certificate_end(settings.TLS_CERTIFICATE)
    if ends is not None:
        yield figure(CERTIFICATE_END, ends.timestamp())
    if settings.BACKUP_STAMP.is_file():
        yield figure(BACKUP, settings.BACKUP_STAMP.stat().st_mtime)


def certificate_end(path: str) -> datetime | None:
    """When the first certificate of a PEM file ends; None where there is none that can be read."""
    try:
        return x509.load_pem_x509_certificate(Path(path).read_bytes()).not_valid_after_utc if path else None
    except (OSError, ValueError):
        return None
