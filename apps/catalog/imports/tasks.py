"""django-q2 entry points of imports. They take primary keys; the rows are the truth."""

from __future__ import annotations

import os
import socket
from datetime import timedelta
from typing import Final

from apps.audit.refs import Ref
from apps.catalog.choices import ImportState
from apps.catalog.imports import doorbell, lifecycle
from apps.catalog.imports.runner import run_import
from apps.catalog.imports.sweeping import sweep_staging, sweep_store
from apps.catalog.imports.watch import take_incoming
from apps.catalog.models import ModelImport
from apps.core.clock import now

HOUSEKEEPING: Final = Ref(kind="process", id=None, label="housekeeping")
# A queued import that nobody has claimed by then was not heard of, or the cluster is busy.
UNHEARD: Final = timedelta(seconds=30)


def run(import_id: int) -> str:
    """In the imports cluster: bring one import to its end. Says what became of it."""
    lifecycle.reap_expired(actor=HOUSEKEEPING, now=now())
    row = run_import(import_id=import_id, worker=this_worker())
    return "nothing to do" if row is None else str(row.state)


def reap() -> int:
    """Take back imports of silent runners, and ring for those that were not heard."""
    moment = now()
    reaped = lifecycle.reap_expired(actor=HOUSEKEEPING, now=moment)
    unheard = ModelImport.objects.filter(state=ImportState.QUEUED, updated_at__lt=moment - UNHEARD)
    doorbell.ring_if_silent(unheard.order_by("pk").values_list("pk", flat=True), now=moment)
    return reaped


def watch() -> int:
    """Take what has settled in the watched folder."""
    return take_incoming(now=now())


def sweep() -> int:
    """Remove what dead processes left behind."""
    return sweep_staging(now=now()) + sweep_store(now=now())


def this_worker() -> Ref:
    """This process, as rows and the audit log name it."""
    return Ref(kind="process", id=None, label=f"imports {socket.gethostname()[:40]}:{os.getpid()}")
