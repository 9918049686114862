"""Figures of what is kept: the database, the disk, the audit log, what should be gone. Four queries."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import connection
from django.db.models import Count, Min

from apps.artifacts.models import Artifact
from apps.core.counters import gauge
from apps.metrics.collecting.figures import Figure, age_s, figure
from apps.metrics.models import RollupMark

RETENTION_LAG: Final = gauge(
    "darkroom_retention_lag_seconds", "How long the oldest image that should be deleted has been due."
)
RETENTION_DUE: Final = gauge(
    "darkroom_retention_due_images", "Images that should be deleted and are not yet."
)
DATABASE_SIZE: Final = gauge("darkroom_database_size_bytes", "Size of the database on disk.")
CONNECTIONS: Final = gauge(
    "darkroom_database_connections", "Connections to the database server, of all its databases."
)
CONNECTION_LIMIT: Final = gauge("darkroom_database_connections_limit", "Connections that the server permits.")
TRANSACTION_AGE: Final = gauge(
    "darkroom_database_transaction_age_seconds", "Age of the oldest transaction; old ones keep dead rows."
)
DISK_FREE: Final = gauge("darkroom_disk_free_bytes", "Free space where a folder of ours lies.", "folder")
DISK_SIZE: Final = gauge(
    "darkroom_disk_size_bytes", "Size of the disk where a folder of ours lies.", "folder"
)
SEALED: Final = gauge(
    "darkroom_audit_sealed_events", "Events in the audit log's hash chain; its head's number."
)
SEAL_LAG: Final = gauge(
    "darkroom_audit_seal_lag_seconds", "Age of the oldest event that the hash chain does not hold yet."
)
ROLLUP_LAG: Final = gauge(
    "darkroom_rollup_lag_seconds", "How far the counts of ended jobs are behind; about a minute by design."
)
KEEPING_SERIES: Final = (
    RETENTION_LAG,
    RETENTION_DUE,
    DATABASE_SIZE,
    CONNECTIONS,
    CONNECTION_LIMIT,
    TRANSACTION_AGE,
    DISK_FREE,
    DISK_SIZE,
    SEALED,
    SEAL_LAG,
    ROLLUP_LAG,
)
DATABASE: Final = """
SELECT pg_database_size(current_database()),
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
       current_setting('max_connections')::int,
       (SELECT COALESCE(max(EXTRACT(epoch FROM clock_timestamp() - xact_start)), 0)::float8
          FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid())
"""
AUDIT: Final = """
SELECT COALESCE(head.seq, 0), (SELECT min(at) FROM audit_auditevent WHERE id > COALESCE(head.event_id, 0))
  FROM (SELECT max(seq) AS seq, (array_agg(event_id ORDER BY seq DESC))[1] AS event_id
          FROM (SELECT seq, event_id FROM audit_auditlink ORDER BY seq DESC LIMIT 1) AS last) AS head
"""


def collect_keeping(now: datetime) -> Iterator[Figure]:
    """As of `now`."""
    due = Artifact.objects.filter(expires_at__lte=now).aggregate(n=Count("pk"), first=Min("expires_at"))
    yield figure(RETENTION_LAG, age_s(due["first"], now=now))
    yield figure(RETENTION_DUE, due["n"])
    with connection.cursor() as cursor:
        cursor.execute(DATABASE)
        values = cursor.fetchone()
        for series, value in zip(
            (DATABASE_SIZE, CONNECTIONS, CONNECTION_LIMIT, TRANSACTION_AGE), values, strict=True
        ):
            yield figure(series, float(value))
        cursor.execute(AUDIT)
        sealed, unsealed_since = cursor.fetchone()
    yield figure(SEALED, sealed)
    yield figure(SEAL_LAG, age_s(unsealed_since, now=now))
    mark = RollupMark.objects.filter(pk=1).first()
    yield figure(ROLLUP_LAG, age_s(mark.counted_until if mark else None, now=now))
    for name, folder in (("home", settings.HOME_DIR), ("models", settings.MODEL_DIR)):
        usage = shutil.disk_usage(_existing(folder))
        yield figure(DISK_FREE, usage.free, name)
        yield figure(DISK_SIZE, usage.total, name)


def _existing(folder: Path) -> Path:
    """The folder, or the one that it will be made in."""
    return next(each for each in (folder, *folder.parents) if each.exists())
