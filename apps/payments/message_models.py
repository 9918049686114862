"""Rows of messages: what Stripe tells us, what we tell its meters, and whether the two sides agree."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.payments.choices import EventState, SendState
from apps.payments.money_models import Sendable


class StripeEvent(models.Model):
    """One message from Stripe, kept as it came before anything of it is believed."""

    event_id = models.CharField(max_length=255, blank=True)
    """As the body says: anybody may say anything, hence unique only among those that are genuine."""
    type = models.CharField(max_length=100, blank=True)
    object_id = models.CharField(max_length=255, blank=True)
    body = models.BinaryField()
    signature = models.TextField(blank=True)
    state = models.CharField(max_length=10, choices=EventState, default=EventState.RECEIVED)
    is_genuine = models.BooleanField(default=False)
    attempts = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField(null=True)
    note = models.CharField(max_length=300, blank=True)
    """Why it was refused, ignored or failed."""
    received_at = models.DateTimeField()
    handled_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["event_id"], condition=Q(is_genuine=True), name="payments_event_once"
            ),
        ]
        indexes = [
            models.Index("due_at", name="payments_events_due", condition=Q(state=EventState.WAITING)),
            models.Index(F("received_at").desc(), name="payments_events_recent"),
        ]

    def __str__(self) -> str:
        return f"{self.type or 'unreadable'} {self.event_id}"

    @property
    def ref(self) -> Ref:
        """How the audit log names this message."""
        return Ref(kind="stripe_event", id=self.pk, label=str(self))


class MeterBatch(Sendable):
    """Pay-as-you-go usage of one account, told to Stripe's meter as one event.

    `minute` is the event's time and nobody else's: whether it was counted can be read from Stripe for ever,
    where the event's identifier is forgotten after a day.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    minute = models.DateTimeField()
    value_micro = models.PositiveBigIntegerField()

    class Meta:
        verbose_name_plural = "meter batches"
        constraints = [
            models.UniqueConstraint(fields=["account", "minute"], name="payments_batch_minute"),
        ]
        indexes = [
            models.Index("due_at", name="payments_batches_due", condition=Q(state=SendState.WAITING)),
        ]

    def __str__(self) -> str:
        return self.identifier

    @property
    def identifier(self) -> str:
        """Of the meter event; the same at each attempt."""
        return f"darkroom-{self.key}"


class MeteredUsage(models.Model):
    """Which batch a usage event is in. That there is one row for each makes billing twice impossible."""

    usage_event_id = models.BigIntegerField(primary_key=True)
    batch = models.ForeignKey(MeterBatch, on_delete=models.PROTECT, related_name="+")

    def __str__(self) -> str:
        return f"usage {self.usage_event_id} in batch {self.batch_id}"


class ReconcileReport(models.Model):
    """Whether our books and Stripe's agreed about one day."""

    day = models.DateField(help_text="In UTC.")
    made_at = models.DateTimeField()
    lines = models.JSONField(help_text="For each kind of money: ours, Stripe's, and what differs.")
    difference_micro = models.BigIntegerField(help_text="All differences together, as positive amounts.")

    class Meta:
        ordering = ["-made_at"]
        indexes = [models.Index("day", F("made_at").desc(), name="payments_reports")]

    def __str__(self) -> str:
        return f"{self.day}: {self.difference_micro}"
