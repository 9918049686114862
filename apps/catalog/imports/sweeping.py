"""Removes what imports left behind when a process died at the wrong moment. Rows decide; files follow."""

from __future__ import annotations

import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import transaction

from apps.catalog.choices import OPEN_IMPORT_STATES, ImportState, Kind
from apps.catalog.files import is_used, take_store_lock
from apps.catalog.imports.secrets import forget_token, list_tokens
from apps.catalog.imports.staging import (
    clear_staging,
    list_removed,
    list_staged,
    list_uploads,
    remove_upload,
)
from apps.catalog.models import CatalogEntry, ModelImport
from gpu_runtime.weights.store import Store

# What a failed import has downloaded waits this long for its retry.
KEEP_FAILED: Final = timedelta(days=7)
KEEP_UPLOADS: Final = timedelta(days=1)
# Longer than any import takes between placing its first component and registering the entry.
STORE_GRACE: Final = timedelta(days=1)


def sweep_staging(*, now: datetime) -> int:
    """Remove files of imports that have ended, tokens of imports that are not open, forgotten uploads."""
    removed = 0
    for import_id in list_staged():
        row = ModelImport.objects.filter(pk=import_id).first()
        if row is None or _is_over(row, now=now):
            clear_staging(import_id)
            removed += 1
    for import_id in list_tokens():
        if not ModelImport.objects.filter(pk=import_id, state__in=OPEN_IMPORT_STATES).exists():
            forget_token(import_id)
            removed += 1
    for folder, changed_at in list_removed():
        if changed_at < now - KEEP_UPLOADS:
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    for upload, changed_at in list_uploads():
        is_wanted = ModelImport.objects.filter(address=upload, state__in=OPEN_IMPORT_STATES).exists()
        if not is_wanted and changed_at < now - KEEP_UPLOADS:
            remove_upload(upload)
            removed += 1
    return removed


def _is_over(row: ModelImport, *, now: datetime) -> bool:
    if row.state == ImportState.FAILED:
        return row.finished_at is not None and row.finished_at < now - KEEP_FAILED
    return row.is_terminal


def sweep_store(*, now: datetime, grace: timedelta = STORE_GRACE) -> int:
    """Remove weights that no live entry is made of and that were placed before `grace`; how many folders."""
    store = Store(Path(settings.MODEL_DIR))
    before = (now - grace).timestamp()
    with transaction.atomic(durable=True):
        take_store_lock()
        live = CatalogEntry.objects.live()
        checkpoints = set(live.filter(kind=Kind.CHECKPOINT).values_list("digest", flat=True))
        keep = set(live.exclude(kind=Kind.CHECKPOINT).values_list("digest", flat=True))
        for components in live.values_list("components", flat=True):
            keep |= {str(component["digest"]) for component in components if component.get("digest")}
        stale = [
            digest
            for digest in store.list_checkpoints()
            if digest not in checkpoints and store.checkpoint(digest).stat().st_mtime < before
        ]
        for digest in stale:
            store.remove_checkpoint(digest)
        swept = store.sweep(keep=keep, now=now.timestamp(), grace_s=grace.total_seconds())
    return len(stale) + len(swept)


def list_store() -> frozenset[str]:
    """Digests of everything in the store, to compare with later."""
    store = Store(Path(settings.MODEL_DIR))
    return frozenset([*store.list_components(), *store.list_checkpoints()])


def drop_unregistered(before: frozenset[str]) -> int:
    """What a stopped conversion has placed and nobody will register; how many folders.

    Nothing while other imports run, whose work it might be: the sweep takes it later.
    """
    if ModelImport.objects.filter(state=ImportState.RUNNING).exists():
        return 0
    store = Store(Path(settings.MODEL_DIR))
    with transaction.atomic(durable=True):
        take_store_lock()
        new = [digest for digest in list_store() if digest not in before and not is_used(digest)]
        removed = [store.remove_checkpoint(digest) for digest in new]
        removed += [store.remove_component(digest) for digest in new]
    return sum(removed)
