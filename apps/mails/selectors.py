"""Reads of the outbox."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.conf import settings
from django.db.models import Count, Q

from apps.mails.choices import MailState
from apps.mails.models import Mail


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """Mail that an operator should know of."""

    waiting: int
    """Queued, due or not."""
    dead: int
    """Given up."""
    has_server: bool
    """Whether a mail server is set."""


def count_stuck() -> Stuck:
    """What has not gone out; one query."""
    counts = Mail.objects.aggregate(
        waiting=Count("pk", filter=Q(state=MailState.QUEUED)),
        dead=Count("pk", filter=Q(state=MailState.DEAD)),
    )
    return Stuck(waiting=counts["waiting"], dead=counts["dead"], has_server=bool(settings.SMTP_URL))


def count_mails(
    *, template: str, since: datetime, account_id: int | None = None, to: str | None = None
) -> int:
    """Mails of a kind that were queued after `since`, whether they have gone out or not."""
    found = Mail.objects.filter(template=template, created_at__gt=since)
    if account_id is not None:
        found = found.filter(account_id=account_id)
    if to is not None:
        found = found.filter(to__contains=[to])
    return found.count()
