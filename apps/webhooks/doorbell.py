"""Wakes the deliverer. A hint only: due rows are the truth, and a schedule looks at them once a minute."""

from __future__ import annotations

from typing import Final

from django.db import connection, transaction
from django_q.models import OrmQ
from django_q.tasks import async_task

from apps.core.clock import now
from apps.core.db import lock_key, notify

QUEUE: Final = "default"
"""Housekeeping's."""
DELIVER_TASK: Final = "apps.webhooks.tasks.deliver"
CHANNEL: Final = "darkroom_webhook"
MAX_UNHEARD: Final = 10
"""Tasks of any kind that nobody has taken yet."""
TURN_LOCK: Final = "webhooks.turn"
"""Held by the one deliverer that takes what is due."""


def announce() -> None:
    """Something is due once the current transaction has committed."""
    notify(CHANNEL, "due")
    transaction.on_commit(ring_if_silent, robust=True)


def ring() -> None:
    """Ask housekeeping for a deliverer; one too many finds the turn taken and goes."""
    async_task(DELIVER_TASK, cluster=QUEUE)


def ring_if_silent() -> None:
    """Ring unless a deliverer is at work, or housekeeping does not listen: its queue shall not fill up."""
    if not is_at_work() and OrmQ.objects.filter(key=QUEUE, lock__lte=now()).count() < MAX_UNHEARD:
        ring()


def is_at_work() -> bool:
    """Whether some session holds the turn."""
    key = lock_key(TURN_LOCK) & (2**64 - 1)
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT EXISTS (
                SELECT 1 FROM pg_locks
                 WHERE locktype = 'advisory' AND granted AND objsubid = 1
                   AND classid = %s::bigint::oid AND objid = %s::bigint::oid
                   AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))
            """,
            [key >> 32, key & 0xFFFFFFFF],
        )
        row = cursor.fetchone()
    return bool(row[0])
