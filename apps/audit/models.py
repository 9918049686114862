"""The audit log and the hash chain over it: both only ever grow."""

from __future__ import annotations

from typing import Any

from django.db import models

from apps.audit.append_only import AppendOnlyModel, AppendOnlyQuerySet


class AuditEvent(AppendOnlyModel):
    """One thing that somebody did. It has no foreign keys, since it outlives what it speaks of."""

    at = models.DateTimeField()
    name = models.CharField(max_length=100, help_text="Dotted, past tense, e.g. apikeys.key.revoked.")
    actor_kind = models.CharField(max_length=40)
    actor_id = models.CharField(max_length=64, blank=True)
    actor_label = models.CharField(max_length=200)
    subject_kind = models.CharField(max_length=40)
    subject_id = models.CharField(max_length=64, blank=True)
    subject_label = models.CharField(max_length=200)
    account_id = models.BigIntegerField(null=True, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    data = models.JSONField(default=dict, blank=True)

    objects = AppendOnlyQuerySet["AuditEvent"].as_manager()

    class Meta:
        indexes = [
            # The console reads one account's events, newest first.
            models.Index(fields=["account_id", "-id"], name="audit_event_by_account"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.subject_label}"

    def as_evidence(self) -> dict[str, Any]:
        """Everything the hash chain vouches for; its canonical JSON must never change shape."""
        return {
            "id": self.pk,
            "at": self.at.isoformat(),
            "name": self.name,
            "actor": [self.actor_kind, self.actor_id, self.actor_label],
            "subject": [self.subject_kind, self.subject_id, self.subject_label],
            "account_id": self.account_id,
            "request_id": self.request_id,
            "data": self.data,
        }


class AuditLink(AppendOnlyModel):
    """One event's place in the hash chain. Made afterwards: submits never queue behind its head."""

    seq = models.BigIntegerField(primary_key=True)
    event = models.OneToOneField(AuditEvent, on_delete=models.PROTECT, related_name="link")
    hash = models.CharField(max_length=64, help_text="sha256 over the previous hash and the event, as hex.")

    objects = AppendOnlyQuerySet["AuditLink"].as_manager()

    class Meta:
        constraints = [
            models.CheckConstraint(condition=models.Q(seq__gte=1), name="audit_link_seq_from_one"),
        ]

    def __str__(self) -> str:
        return f"{self.seq}: {self.hash}"
