"""What runners do with imports: claim, beat, finish, fail, release; and what the reaper does for the dead.

Every write of a runner is conditional on the fence it was given at claim, as with generation jobs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import QuerySet

from apps.audit.refs import JsonValue, Ref
from apps.audit.services import record
from apps.catalog.choices import ImportPhase, ImportState
from apps.catalog.imports import doorbell
from apps.catalog.imports.announcing import announce_end
from apps.catalog.imports.channels import notify_changed
from apps.catalog.imports.failures import ImportFailure
from apps.catalog.imports.secrets import forget_token
from apps.catalog.imports.staging import clear_staging
from apps.catalog.models import CatalogEntry, ModelImport

# Claims after which an import whose runner always dies is given up; a retry counts from zero.
MAX_ATTEMPTS: Final = 5
REAP_BATCH: Final = 100


class LeaseLost(Exception):
    """The import is no longer this runner's: it was re-queued, ended or given to another."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write one import, as given at claim."""

    import_id: int
    fence: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """How far a running import is."""

    phase: ImportPhase
    bytes_done: int
    bytes_total: int
    """0 while unknown."""
    speed_bps: float
    files_done: int
    files_total: int


CLAIM_SQL = """
WITH picked AS MATERIALIZED (
    SELECT id FROM catalog_modelimport
     WHERE state = 'queued' AND (%(import_id)s::bigint IS NULL OR id = %(import_id)s)
     ORDER BY id LIMIT 1 FOR UPDATE SKIP LOCKED)
UPDATE catalog_modelimport AS row
   SET state = 'running', attempt = attempt + 1, fence = fence + 1, claimed_by = %(worker)s,
       started_at = COALESCE(started_at, %(now)s), lease_expires_at = %(lease)s, updated_at = %(now)s,
       phase = 'listing'
  FROM picked
 WHERE row.id = picked.id
RETURNING row.*
"""

BEAT_SQL = """
UPDATE catalog_modelimport
   SET lease_expires_at = %(lease)s, updated_at = %(now)s, phase = %(phase)s, bytes_done = %(bytes_done)s,
       bytes_total = %(bytes_total)s, speed_bps = %(speed_bps)s, files_done = %(files_done)s,
       files_total = %(files_total)s
 WHERE id = %(import_id)s AND fence = %(fence)s AND state = 'running'
RETURNING is_cancel_requested
"""


def claim_import(*, worker: str, now: datetime, import_id: int | None = None) -> ModelImport | None:
    """Take this queued import, or the oldest; None when there is none or another runner has it."""
    parameters = {"worker": worker[:64], "now": now, "lease": _lease_end(now), "import_id": import_id}
    with transaction.atomic():
        found = list(ModelImport.objects.raw(CLAIM_SQL, parameters))
        notify_changed(*(row.pk for row in found))
    return found[0] if found else None


def lease_of(row: ModelImport) -> Lease:
    """The lease that came with a claim."""
    return Lease(import_id=row.pk, fence=row.fence)


def beat(*, lease: Lease, snapshot: Snapshot, now: datetime, is_news: bool = True) -> bool:
    """Extend the lease and write how far it is; whether its owner wants it stopped. Raises LeaseLost.

    Followers are woken only for news.
    """
    parameters: dict[str, Any] = {  # Any: values of a query
        "lease": _lease_end(now),
        "now": now,
        "import_id": lease.import_id,
        "fence": lease.fence,
        "phase": snapshot.phase.value,
        "bytes_done": snapshot.bytes_done,
        "bytes_total": snapshot.bytes_total,
        "speed_bps": snapshot.speed_bps,
        "files_done": snapshot.files_done,
        "files_total": snapshot.files_total,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(BEAT_SQL, parameters)
        found = cursor.fetchone()
        if is_news:
            notify_changed(lease.import_id)
    if found is None:
        raise LeaseLost(f"import {lease.import_id} at fence {lease.fence}")
    return bool(found[0])


def note_identified(*, lease: Lease, name: str, identified: dict[str, JsonValue], now: datetime) -> None:
    """Write what is known of the model before it is registered. Raises LeaseLost."""
    changed = _held(lease).update(requested_name=name, identified=identified, updated_at=now)
    if changed != 1:
        raise LeaseLost(f"import {lease.import_id} at fence {lease.fence}")


def finish_import(
    *, lease: Lease, register: Callable[[], CatalogEntry], worker: Ref, now: datetime
) -> CatalogEntry:
    """The model is there: entry, audit and the import's state in one transaction.

    `register` is a part: it adds or finds the entry. Raises what it raises, and LeaseLost, having
    written nothing.
    """
    with transaction.atomic(durable=True):
        row = _lock(lease)
        entry = register()
        row.entry = entry
        row.requested_name = entry.name
        _close(row, ImportState.SUCCEEDED, now)
        data: dict[str, JsonValue] = {"entry": entry.name, "digest": entry.digest, "attempt": row.attempt}
        _record("succeeded", row, worker, now, data)
    _tidy(lease.import_id)
    return entry


def fail_import(*, lease: Lease, failure: ImportFailure, worker: Ref, now: datetime) -> None:
    """It cannot be completed. What was downloaded stays for a retry. Raises LeaseLost."""
    with transaction.atomic(durable=True):
        row = _lock(lease)
        _close(row, ImportState.FAILED, now, failure)
        _record("failed", row, worker, now, {"error": failure.code})
    forget_token(lease.import_id)


def finish_cancel(*, lease: Lease, worker: Ref, now: datetime) -> None:
    """The runner stopped at the owner's wish; nothing stays behind. Raises LeaseLost."""
    with transaction.atomic(durable=True):
        row = _lock(lease)
        _close(row, ImportState.CANCELED, now)
        _record("canceled", row, worker, now)
    _tidy(lease.import_id)


def release_import(*, lease: Lease, worker: Ref, now: datetime) -> None:
    """Hand an import back unfinished, because its runner must end. Raises LeaseLost."""
    with transaction.atomic(durable=True):
        _recover(_lock(lease), worker, now)


def reap_expired(*, actor: Ref, now: datetime) -> int:
    """Take back imports whose runner has fallen silent; how many."""
    with transaction.atomic(durable=True):
        dead = list(
            ModelImport.objects.select_for_update(skip_locked=True)
            .filter(state=ImportState.RUNNING, lease_expires_at__lt=now)
            .order_by("pk")[:REAP_BATCH]
        )
        for row in dead:
            _recover(row, actor, now)
    for row in dead:
        if row.state == ImportState.CANCELED:
            _tidy(row.pk)
        elif row.is_terminal:
            forget_token(row.pk)
    return len(dead)


def _recover(row: ModelImport, actor: Ref, now: datetime) -> None:
    """Part: canceled if so wanted, given up after too many attempts, else queued again."""
    if row.is_cancel_requested:
        _close(row, ImportState.CANCELED, now)
        _record("canceled", row, actor, now)
    elif row.attempt >= MAX_ATTEMPTS:
        failure = ImportFailure(
            "import_interrupted",
            f"The import's process ended {row.attempt} times without a result; the server's log says why."
            " A retry continues with what was downloaded.",
        )
        _close(row, ImportState.FAILED, now, failure)
        _record("failed", row, actor, now, {"error": failure.code})
    else:
        row.state, row.claimed_by, row.lease_expires_at = ImportState.QUEUED, "", None
        row.speed_bps, row.updated_at = 0.0, now
        row.save(update_fields=["state", "claimed_by", "lease_expires_at", "speed_bps", "updated_at"])
        doorbell.ring(row.pk)
        _record("requeued", row, actor, now, {"attempt": row.attempt})


def _lock(lease: Lease) -> ModelImport:
    """Part: the row while the lease is good. Raises LeaseLost."""
    row = _held(lease).select_for_update().first()
    if row is None:
        raise LeaseLost(f"import {lease.import_id} at fence {lease.fence}")
    return row


def _held(lease: Lease) -> QuerySet[ModelImport]:
    return ModelImport.objects.filter(pk=lease.import_id, fence=lease.fence, state=ImportState.RUNNING)


def _close(row: ModelImport, state: ImportState, now: datetime, failure: ImportFailure | None = None) -> None:
    """Part: end a row that this transaction has locked."""
    row.state, row.finished_at, row.updated_at = state, now, now
    row.lease_expires_at, row.speed_bps = None, 0.0
    row.error_code = failure.code if failure else ""
    row.error_message = failure.message if failure else ""
    row.save()
    announce_end(row, now)


def _record(
    what: str, row: ModelImport, actor: Ref, now: datetime, data: dict[str, JsonValue] | None = None
) -> None:
    record(
        f"catalog.import.{what}",
        actor=actor,
        subject=row.ref,
        account_id=row.account_id,
        data=data or {},
        now=now,
    )
    notify_changed(row.pk)


def _tidy(import_id: int) -> None:
    """After the row: a crash in between leaves files that the sweep finds by their ended row."""
    forget_token(import_id)
    clear_staging(import_id)


def _lease_end(now: datetime) -> datetime:
    return now + timedelta(seconds=settings.LEASE_S)
