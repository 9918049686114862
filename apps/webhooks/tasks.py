"""django-q2 entry points. The rows are the truth; a task too many finds nothing to do."""

from __future__ import annotations

from apps.core.clock import now
from apps.webhooks import services
from apps.webhooks.deliverer import run_deliverer
from apps.webhooks.secrets import forget_ended_secrets


def deliver() -> int:
    """Send what is due; rung for by whoever queues a delivery, and due once a minute."""
    return run_deliverer()


def forget_expired() -> int:
    """Delete bodies with the images that they link to; due every few minutes."""
    return services.forget_expired(now=now())


def prune() -> int:
    """Delete old lines of the log and secrets past their overlap; due once an hour."""
    return services.prune_log(now=now()) + forget_ended_secrets(now=now())
