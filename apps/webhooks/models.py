"""Rows of webhooks: what is to be delivered, each try, what is known of endpoints, and signing secrets."""

from __future__ import annotations

from datetime import datetime

from django.db import models
from django.db.models import F, Q

from apps.accounts.models import Account
from apps.audit.refs import Ref
from apps.webhooks.choices import ENDED_STATES, OPEN_STATES, DeliveryState

MAX_URL_CHARS = 2048


class Delivery(models.Model):
    """One event to one address. The row is the truth: whatever is due is sent, by whoever looks next."""

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    event_id = models.CharField(max_length=40, unique=True)
    """The `webhook-id`: the same for each attempt and replay, so that receivers can tell repeats."""
    event = models.CharField(max_length=40)
    """What happened, e.g. `job.succeeded`."""
    job_id = models.BigIntegerField(null=True)
    """Null for tests, and for ends of imports."""
    import_id = models.BigIntegerField(null=True)
    """Of the import that ended. A retried one ends again, and is told of again."""
    request_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    """Of the HTTP request whose job it tells of; sent along, so that receivers can name it."""
    dialect = models.CharField(max_length=20)
    """Who renders the body; a name in settings.WEBHOOK_BODIES."""
    url = models.CharField(max_length=MAX_URL_CHARS)
    address = models.CharField(max_length=MAX_URL_CHARS)
    """The endpoint: `url` without its query."""
    body = models.BinaryField(null=True)
    """Made at the first attempt and the same for those that follow; null before, and once it has expired."""

    state = models.CharField(max_length=10, choices=DeliveryState, default=DeliveryState.WAITING)
    due_at = models.DateTimeField()
    is_forced = models.BooleanField(default=False)
    """Asked for by hand: goes to an endpoint that is paused or disabled, too."""
    attempts = models.PositiveSmallIntegerField(default=0)
    """Since the beginning, or since the last replay."""
    fence = models.PositiveIntegerField(default=0)
    """Counts claims: a deliverer that was taken for dead cannot write about a later attempt."""
    claimed_by = models.CharField(max_length=40, blank=True)
    last_status = models.PositiveSmallIntegerField(null=True)
    last_error = models.CharField(max_length=300, blank=True)
    created_at = models.DateTimeField()
    begun_at = models.DateTimeField()
    """When the retry schedule began: at creation, or with the last replay."""
    ended_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField()
    """When the body is forgotten: with the images that it links to."""
    is_forgotten = models.BooleanField(default=False)
    """Whether the body and the answers to it have been deleted."""

    class Meta:
        verbose_name_plural = "deliveries"
        constraints = [
            # An end of a job is told once, whoever ends it.
            models.UniqueConstraint(
                fields=["job_id"], condition=Q(job_id__isnull=False), name="webhooks_delivery_once_per_job"
            ),
            models.CheckConstraint(
                name="webhooks_delivery_ended_has_time",
                condition=Q(state__in=OPEN_STATES, ended_at__isnull=True)
                | Q(state__in=ENDED_STATES, ended_at__isnull=False),
            ),
            models.CheckConstraint(
                name="webhooks_delivery_sending_has_owner",
                condition=~Q(state=DeliveryState.SENDING) | ~Q(claimed_by=""),
            ),
        ]
        indexes = [
            # What the deliverer takes; small, because what has ended leaves it.
            models.Index("due_at", "id", name="webhooks_due", condition=Q(state=DeliveryState.WAITING)),
            models.Index("claimed_by", name="webhooks_under_way", condition=Q(state=DeliveryState.SENDING)),
            models.Index("account", F("id").desc(), name="webhooks_by_account"),
            models.Index("expires_at", name="webhooks_to_forget", condition=Q(is_forgotten=False)),
            models.Index("ended_at", name="webhooks_ended"),
        ]

    def __str__(self) -> str:
        return self.event_id

    @property
    def ref(self) -> Ref:
        """How the audit log names this delivery."""
        return Ref(kind="webhook_delivery", id=self.pk, label=self.event_id)

    @property
    def is_ended(self) -> bool:
        return self.state in ENDED_STATES


class Attempt(models.Model):
    """One HTTP try of a delivery."""

    delivery = models.ForeignKey(Delivery, on_delete=models.CASCADE, related_name="tries")
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    status = models.PositiveSmallIntegerField(null=True)
    """Null when there was no answer."""
    error = models.CharField(max_length=300, blank=True)
    """Why it does not count as delivered; empty for a success."""
    answer = models.TextField(blank=True)
    """How the answer's body begins."""

    class Meta:
        ordering = ["id"]

    def __str__(self) -> str:
        return f"attempt of {self.delivery_id}: {self.status or self.error}"


class Endpoint(models.Model):
    """What attempts have taught about an address. No row: nothing but good."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    address = models.CharField(max_length=MAX_URL_CHARS)
    failures = models.PositiveIntegerField(default=0)
    """Attempts that failed since the last success."""
    trips = models.PositiveIntegerField(default=0)
    """Pauses since the last success."""
    paused_until = models.DateTimeField(null=True)
    disabled_at = models.DateTimeField(null=True)
    """Since when nothing is sent any more; it answered 410."""
    last_error = models.CharField(max_length=300, blank=True)
    updated_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "address"], name="webhooks_endpoint_unique"),
        ]

    def __str__(self) -> str:
        return self.address

    @property
    def ref(self) -> Ref:
        """How the audit log names this endpoint."""
        return Ref(kind="webhook_endpoint", id=self.pk, label=self.address)

    def is_paused(self, *, now: datetime) -> bool:
        """Whether attempts wait until `paused_until`."""
        return self.paused_until is not None and self.paused_until > now


class SigningSecret(models.Model):
    """A secret of an account, without the secret: that is derived from the nonce and the appliance's key."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    nonce = models.CharField(max_length=64)
    hint = models.CharField(max_length=8)
    """How the secret ends."""
    created_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True)
    """Signs until then; null for the present one."""

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account"], condition=Q(ends_at__isnull=True), name="webhooks_secret_one_present"
            ),
        ]

    def __str__(self) -> str:
        return f"...{self.hint}"
