"""The outbox: what is to be mailed, as it was rendered when it happened."""

from __future__ import annotations

from django.db import models

from apps.audit.refs import Ref
from apps.mails.choices import MailState


class Mail(models.Model):
    """One mail to one or more people, sent at least once."""

    key = models.CharField(
        max_length=200, unique=True, help_text="What happened; the same twice is one mail."
    )
    to = models.JSONField(help_text="Addresses.")
    template = models.CharField(max_length=60)
    language = models.CharField(max_length=10)
    account_id = models.BigIntegerField(null=True, help_text="Whose account it concerns, if one's.")
    subject = models.CharField(max_length=200)
    text = models.TextField(blank=True, help_text="Emptied once it is sent.")
    html = models.TextField(blank=True)
    state = models.CharField(max_length=10, choices=MailState, default=MailState.QUEUED)
    attempts = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(
        help_text="When to try next; while an attempt runs, when it counts as lost."
    )
    last_error = models.TextField(blank=True)
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-created_at", "-pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=MailState.values), name="mails_mail_state_known"
            ),
            models.CheckConstraint(
                condition=models.Q(state=MailState.SENT, sent_at__isnull=False, text="", html="")
                | (~models.Q(state=MailState.SENT) & models.Q(sent_at__isnull=True)),
                name="mails_mail_sent_is_emptied",
            ),
        ]
        indexes = [
            # What the sender asks for, a thousand old mails or a million.
            models.Index(fields=["due_at"], condition=models.Q(state="queued"), name="mails_mail_due"),
        ]

    def __str__(self) -> str:
        return f"{self.subject} ({self.state})"

    @property
    def ref(self) -> Ref:
        """How the audit log names this mail."""
        return Ref(kind="mail", id=self.pk, label=self.template)
