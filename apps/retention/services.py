"""The sweep: what has had its time goes, in batches. What a crash interrupts, the next sweep finishes.

Each batch is one transaction with its tombstone. Files are deleted before it commits, so that a crash leaves
rows that are due, and never an image that no row knows of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import transaction

from apps.artifacts.models import Artifact
from apps.artifacts.services import purge_batch
from apps.core import signing
from apps.core.db import require_transaction
from apps.generation.forgetting import date_undated, forget_jobs
from apps.generation.models import GenerationJob
from apps.retention.models import Tombstone
from apps.webhooks.services import forget_expired

BATCH: Final = 500
IDS_PURPOSE: Final = "retention.ids"


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """How much of each kind has gone."""

    images: int
    jobs: int
    """Whose texts were emptied."""
    deliveries: int
    """Of webhooks, whose bodies and answers were emptied."""


def sweep(*, now: datetime) -> Swept:
    """Purge all that is due at `now`; several may run at once."""
    while _date_batch() == BATCH:
        pass
    images = jobs = 0
    while count := _purge_images(now):
        images += count
    while count := _forget_jobs(now):
        jobs += count
    return Swept(images=images, jobs=jobs, deliveries=forget_expired(now=now))


def _date_batch() -> int:
    with transaction.atomic(durable=True):
        return date_undated(limit=BATCH)


def _purge_images(now: datetime) -> int:
    with transaction.atomic(durable=True):
        gone = purge_batch(now=now, limit=BATCH)
        if gone:
            size = sum(image.size_bytes for image in gone)
            _bury("image", gone, first_due_at=gone[0].expires_at, size_bytes=size, now=now)
    return len(gone)


def _forget_jobs(now: datetime) -> int:
    with transaction.atomic(durable=True):
        gone = forget_jobs(now=now, limit=BATCH)
        if gone:
            _bury("job", gone, first_due_at=gone[0].forget_at or now, size_bytes=0, now=now)
    return len(gone)


def _bury(
    kind: str,
    rows: Sequence[Artifact | GenerationJob],
    *,
    first_due_at: datetime,
    size_bytes: int,
    now: datetime,
) -> None:
    """Part."""
    require_transaction()
    Tombstone.objects.create(
        kind=kind,
        count=len(rows),
        size_bytes=size_bytes,
        ids_mac=ids_mac([row.pk for row in rows]),
        first_due_at=first_due_at,
        at=now,
    )


def ids_mac(ids: Sequence[int]) -> str:
    """What a tombstone says of the rows with these primary keys, in any order."""
    return signing.signature(IDS_PURPOSE, ",".join(str(each) for each in sorted(ids)))
