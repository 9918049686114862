"""Queueing mail within the act that causes it, and what operators do with mail that did not go out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from django.db import transaction

from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.core.db import require_transaction
from apps.core.errors import Conflict
from apps.mails import doorbell
from apps.mails.choices import MailState
from apps.mails.models import Mail
from apps.mails.rendering import render

KEPT: Final = timedelta(days=90)
"""How long mails that went out, or were given up, stay in the list."""


def queue_mail(
    *,
    to: Sequence[str],
    template: str,
    context: Mapping[str, object],
    key: str,
    account_id: int | None,
    language: str = "en",
    now: datetime,
) -> None:
    """Put a mail into the outbox; a part: it goes out only if the caller's transaction commits.

    `template` is a file of templates/mails, rendered here, so that a mail says what was true when it
    happened. The same `key` again queues nothing. Nobody to write to queues nothing either.
    """
    require_transaction()
    if not to:
        return
    rendered = render(template, context, language=language)
    Mail.objects.bulk_create(
        [
            Mail(
                key=key,
                to=list(to),
                template=template,
                language=language,
                account_id=account_id,
                subject=rendered.subject,
                text=rendered.text,
                html=rendered.html,
                due_at=now,
                created_at=now,
            )
        ],
        # Somebody else may be queueing the same at this moment: the key's constraint decides.
        ignore_conflicts=True,
    )
    doorbell.announce()


def send_again(*, mail: Mail, actor: Ref, now: datetime) -> None:
    """Queue a mail once more that was given up or waits. Raises Conflict when it has gone out."""
    with transaction.atomic(durable=True):
        unsent = Mail.objects.filter(pk=mail.pk).exclude(state=MailState.SENT)
        if unsent.update(state=MailState.QUEUED, due_at=now, attempts=0, last_error="") != 1:
            raise Conflict(problem="This mail went out, and its text with it: have it made anew.")
        audit.record(
            "mails.mail.requeued", actor=actor, subject=mail.ref, account_id=mail.account_id, now=now
        )
        doorbell.announce()


def prune(*, now: datetime) -> int:
    """Forget mails that ended long ago; returns how many."""
    ended = Mail.objects.exclude(state=MailState.QUEUED).filter(created_at__lt=now - KEPT)
    return ended.delete()[0]
