"""Tells the imports cluster that there is work. Rows are the truth; a ring too many finds nothing to do."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from django_q.models import OrmQ
from django_q.tasks import async_task

QUEUE: Final = "imports"
RUN_TASK: Final = "apps.catalog.imports.tasks.run"


def ring(*import_ids: int) -> None:
    """Ask for these imports to be run; part of the current transaction, if there is one."""
    for import_id in import_ids:
        async_task(RUN_TASK, import_id, cluster=QUEUE)


def ring_if_silent(import_ids: Iterable[int], *, now: datetime) -> int:
    """Ring for what waits although no ring is waiting to be heard; how many.

    A ring that was taken says nothing: whoever took it may have died since.
    """
    waiting = list(import_ids)
    if not waiting or OrmQ.objects.filter(key=QUEUE, lock__lte=now).exists():
        return 0
    ring(*waiting)
    return len(waiting)
