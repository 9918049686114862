"""Rows of stored images: recorded after their file.

A crash in between leaves a file without a row, which `sweep_unreferenced` collects. What has expired is
deleted the other way round, file before row: nobody is shown it any more, and a crash then leaves a row that
the next purge finds, not an image that is there for another hour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from uuid import UUID

from django.db import transaction

from apps.artifacts import store
from apps.artifacts.media import MEDIA_TYPES
from apps.artifacts.models import Artifact
from apps.core.db import require_transaction

# Files are written before their row's transaction; an hour is far beyond the longest of those.
UNREFERENCED_AGE = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewArtifact:
    """One image that `store.write_image` has written."""

    index: int
    extension: str
    file: store.StoredFile
    width: int
    height: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactGroup:
    """The written images of one job."""

    job_id: int
    account_id: int
    group: UUID
    artifacts: Sequence[NewArtifact]
    expires_at: datetime


def record_groups(groups: Sequence[ArtifactGroup], *, now: datetime) -> list[Artifact]:
    """Make written images retrievable; a part. Raises IntegrityError if one was recorded before."""
    require_transaction()
    return Artifact.objects.bulk_create(
        Artifact(
            job_id=group.job_id,
            account_id=group.account_id,
            group=group.group,
            index=image.index,
            media_type=MEDIA_TYPES[image.extension],
            extension=image.extension,
            size_bytes=image.file.size_bytes,
            width=image.width,
            height=image.height,
            sha256=image.file.sha256,
            seed=image.seed,
            created_at=now,
            expires_at=group.expires_at,
        )
        for group in groups
        for image in group.artifacts
    )


def record_artifacts(
    *,
    job_id: int,
    account_id: int,
    group: UUID,
    artifacts: Sequence[NewArtifact],
    now: datetime,
    expires_at: datetime,
) -> list[Artifact]:
    """`record_groups` of one job."""
    made = ArtifactGroup(
        job_id=job_id, account_id=account_id, group=group, artifacts=artifacts, expires_at=expires_at
    )
    return record_groups([made], now=now)


def discard_group(group: UUID) -> int:
    """Delete the files of a job that ended without being delivered; returns how many."""
    return store.discard_group(group)


def purge_expired(*, now: datetime, limit: int = 1000) -> int:
    """Delete up to `limit` expired images, oldest first; returns how many. May run twice at once."""
    with transaction.atomic(durable=True):
        return len(purge_batch(now=now, limit=limit))


def purge_batch(*, now: datetime, limit: int) -> list[Artifact]:
    """Part: `purge_expired`; the rows that were. Files are gone for good before their rows are."""
    require_transaction()
    due = Artifact.objects.select_for_update(skip_locked=True).filter(expires_at__lte=now)
    artifacts = list(due.order_by("expires_at")[:limit])
    store.delete_files([artifact.file_path for artifact in artifacts])
    Artifact.objects.filter(pk__in=[artifact.pk for artifact in artifacts]).delete()
    return artifacts


def sweep_unreferenced(*, now: datetime) -> int:
    """Delete files older than an hour that no row knows: what crashes left behind. Returns how many."""
    count = 0
    old = (path for path in store.list_files() if _changed_before(path, now - UNREFERENCED_AGE))
    for paths in _batches(old, size=500):
        known = _known_paths(paths)
        for path in paths:
            if path not in known:
                path.unlink(missing_ok=True)
                count += 1
    return count


def _batches(paths: Iterable[Path], *, size: int) -> Iterator[list[Path]]:
    rest = iter(paths)
    while batch := list(islice(rest, size)):
        yield batch


def _changed_before(path: Path, moment: datetime) -> bool:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, tz=UTC) < moment
    except FileNotFoundError:
        # The purge was faster.
        return False


def _known_paths(paths: Sequence[Path]) -> set[Path]:
    groups = {group for path in paths if (group := store.group_of(path)) is not None}
    return {artifact.file_path for artifact in Artifact.objects.filter(group__in=groups)}
