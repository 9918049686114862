"""Wakes the sender. A hint only: due rows are the truth, and a schedule looks at them once a minute."""

from __future__ import annotations

from typing import Final

from django.conf import settings
from django.db import transaction
from django_q.models import OrmQ
from django_q.tasks import async_task

from apps.core.clock import now

QUEUE: Final = "default"
"""Housekeeping's."""
SEND_TASK: Final = "apps.mails.tasks.send_due"
MAX_UNHEARD: Final = 10
"""Tasks of any kind that nobody has taken yet."""


def announce() -> None:
    """A mail is due once the current transaction has committed."""
    if settings.SMTP_URL:
        transaction.on_commit(_ring, robust=True)


def _ring() -> None:
    # Where housekeeping does not run, its queue shall not fill up.
    if OrmQ.objects.filter(key=QUEUE, lock__lte=now()).count() < MAX_UNHEARD:
        async_task(SEND_TASK, cluster=QUEUE)
