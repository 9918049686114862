"""Sends what is due, each mail at least once. Of several senders, one claims a row by moving its due time."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from email.utils import parseaddr
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from apps.core import clock
from apps.mails.choices import MailState
from apps.mails.errors import MailNotConfigured
from apps.mails.models import Mail
from apps.mails.smtp import SmtpServer, parse_smtp_url, send

logger = logging.getLogger(__name__)

BATCH: Final = 200
"""Mails of one run; what is left is for the next, so that a slow server does not outlast the task's time."""
LEASE: Final = timedelta(minutes=5)
"""After which an attempt that did not say how it ended counts as lost; longer than the server's timeout."""


def send_due(*, now: datetime, limit: int = BATCH) -> int:
    """Try up to `limit` due mails; returns how many the server took. Without a server nothing is tried."""
    if not settings.SMTP_URL:
        return 0
    server = parse_smtp_url(settings.SMTP_URL)
    sent = 0
    for _ in range(limit):
        mail = _claim(now=now)
        if mail is None:
            break
        sent += _attempt(mail, server)
    return sent


def send_test(*, address: str) -> None:
    """Send a short mail to `address` right now, past the outbox. Raises MailNotConfigured, and OSError."""
    if not settings.SMTP_URL:
        raise MailNotConfigured
    send(
        parse_smtp_url(settings.SMTP_URL),
        sender=settings.MAIL_FROM,
        to=[address],
        subject="Darkroom: test",
        text="This appliance can send mail.\n",
        html="",
        message_id=_message_id("test", int(clock.now().timestamp())),
    )


def _claim(*, now: datetime) -> Mail | None:
    with transaction.atomic(durable=True):
        due = Mail.objects.select_for_update(skip_locked=True)
        mail = due.filter(state=MailState.QUEUED, due_at__lte=now).order_by("due_at", "pk").first()
        if mail is not None:
            mail.due_at, mail.attempts = now + LEASE, mail.attempts + 1
            mail.save(update_fields=["due_at", "attempts"])
    return mail


def _attempt(mail: Mail, server: SmtpServer) -> bool:
    try:
        send(
            server,
            sender=settings.MAIL_FROM,
            to=mail.to,
            subject=mail.subject,
            text=mail.text,
            html=mail.html,
            message_id=_message_id("mail", mail.pk),
        )
    except (OSError, ValueError) as error:
        # ValueError: Django refuses headers with line breaks, smtplib addresses it cannot write.
        logger.warning("mail %s (%s) was not taken: %s", mail.pk, mail.template, error)
        _failed(mail, error, now=clock.now())
        return False
    _mine(mail).update(state=MailState.SENT, sent_at=clock.now(), text="", html="", last_error="")
    return True


def _failed(mail: Mail, error: Exception, *, now: datetime) -> None:
    waits = settings.MAIL_RETRY_S
    is_last = mail.attempts > len(waits)
    wait = timedelta(seconds=0 if is_last else waits[mail.attempts - 1])
    state = MailState.DEAD if is_last else MailState.QUEUED
    reason = f"{type(error).__name__}: {error}"[:1000]
    _mine(mail).update(state=state, due_at=now + wait, last_error=reason)


def _mine(mail: Mail) -> QuerySet[Mail]:
    # Whoever lost the lease in the meantime has nothing to say about the mail any more.
    return Mail.objects.filter(pk=mail.pk, attempts=mail.attempts, state=MailState.QUEUED)


def _message_id(kind: str, number: int) -> str:
    """The same for every attempt at one mail, so that a mailbox may drop the second."""
    domain = parseaddr(settings.MAIL_FROM)[1].rpartition("@")[2] or "localhost"
    return f"<darkroom-{kind}-{number}@{domain}>"
