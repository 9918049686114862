"""django-q2 entry points. The rows are the truth; a task too many finds nothing to do."""

from __future__ import annotations

from apps.core.clock import now
from apps.mails import sending, services


def send_due() -> int:
    """Send what is due; rung for by whoever queues a mail, and due once a minute."""
    return sending.send_due(now=now())


def prune() -> int:
    """Forget old mails; due once an hour."""
    return services.prune(now=now())
