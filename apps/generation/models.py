"""Rows of the generation contract: jobs, workers, and the idempotency records of their callers."""

from __future__ import annotations

import uuid
from datetime import datetime

from django.db import models
from django.db.models import F, Q

from apps.audit.refs import Ref
from apps.billing.choices import Source
from apps.generation.choices import OPEN_STATES, TERMINAL_STATES, JobState, Kind
from apps.generation.resolved import ResolvedRequest


class GenerationJob(models.Model):
    """The row that carries a request through its states. It is the truth; tasks and messages are hints."""

    account = models.ForeignKey("accounts.Account", on_delete=models.PROTECT, related_name="+")
    api_key = models.ForeignKey("apikeys.ApiKey", on_delete=models.PROTECT, null=True, related_name="+")
    checkpoint = models.ForeignKey(
        "catalog.CatalogEntry", on_delete=models.PROTECT, null=True, related_name="+"
    )
    """Null for kinds that denoise nothing."""
    kind = models.CharField(max_length=32, choices=Kind.choices)
    request = models.JSONField()
    client_options = models.JSONField(default=dict)
    track_id = models.JSONField(null=True)
    webhook = models.JSONField(null=True)
    """Where its end is told: `wishes.Target` of apps/webhooks as JSON."""
    num_images = models.PositiveSmallIntegerField()
    artifact_group = models.UUIDField(default=uuid.uuid4, unique=True)

    state = models.CharField(max_length=16, choices=JobState.choices, default=JobState.QUEUED)
    attempt = models.PositiveIntegerField(default=0)
    crashes = models.PositiveSmallIntegerField(default=0)
    fence = models.PositiveIntegerField(default=0)
    claimed_by = models.CharField(max_length=64, blank=True)
    lease_expires_at = models.DateTimeField(null=True)
    priority = models.SmallIntegerField(default=0)
    weight = models.FloatField(default=1.0)
    work_tflop = models.FloatField(default=0.0, db_default=0.0)
    """Estimated work of all its steps, 10**12 operations; 0 in rows of versions that did not estimate it."""
    queue_tag = models.FloatField(default=0.0, db_default=0.0)
    """Its place in the queue of its priority, lowest first; see `queueing.py`."""
    max_parallel = models.PositiveIntegerField(null=True)
    """How many of its account's jobs may run at once, by the plan; null is any number."""
    key_max_parallel = models.PositiveIntegerField(null=True)
    """How many of its key's jobs may run at once, as the key says; null is any number."""
    request_id = models.CharField(max_length=64, blank=True, default="", db_default="")
    """Of the HTTP request that asked for it: log lines, audit events and the webhook of its end name it."""
    keep_days = models.PositiveIntegerField(null=True)
    """How long its images are kept, as the account chose; null is as long as this installation keeps any."""
    forget_at = models.DateTimeField(null=True)
    """When its texts are emptied, with the end of its links; null until the sweep has dated it."""
    is_forgotten = models.BooleanField(default=False, db_default=False)
    """Whether its texts have been emptied; see `forgetting.py`."""
    is_cancel_requested = models.BooleanField(default=False)

    progress_step = models.PositiveIntegerField(default=0)
    progress_total = models.PositiveIntegerField(default=0)
    quota_day = models.DateField()
    funding = models.CharField(max_length=20, choices=Source, default=Source.PLAN, db_default=Source.PLAN)
    """What pays for it; decided when it was accepted, like the price."""
    price_micro = models.BigIntegerField(default=0, db_default=0)
    """Micro-USD, held while it is open; 0 for what costs nothing."""
    price_book_version = models.PositiveIntegerField(null=True)
    """Of the price book that its price is by; null where none was asked."""
    funding_period = models.DateField(null=True)
    """Of the allowance that pays: a month's first day, or a day; null where no allowance is counted."""
    queued_at = models.DateTimeField()
    deadline_at = models.DateTimeField()
    claimed_at = models.DateTimeField(null=True)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    timings = models.JSONField(default=dict)
    result = models.JSONField(default=dict, db_default={})
    """What was found out beside the images: "images" (notes of each), "notes", "caption", "safety"."""
    error_code = models.CharField(max_length=64, blank=True)
    error_message = models.TextField(blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                name="job_terminal_has_finished_at",
                condition=Q(state__in=OPEN_STATES, finished_at__isnull=True)
                | Q(state__in=TERMINAL_STATES, finished_at__isnull=False),
            ),
            models.CheckConstraint(
                name="job_running_has_lease",
                condition=~Q(state=JobState.RUNNING)
                | (Q(lease_expires_at__isnull=False) & ~Q(claimed_by="")),
            ),
        ]
        indexes = [
            # What the pump claims, in its order; small because finished jobs leave it.
            models.Index(
                F("priority").desc(),
                "queue_tag",
                "id",
                name="job_claim_by_share",
                condition=Q(state=JobState.QUEUED),
            ),
            # Where an account's next job goes in the queue.
            models.Index(
                "account", "queue_tag", name="job_queued_by_account", condition=Q(state=JobState.QUEUED)
            ),
            # What the reaper looks at.
            models.Index("lease_expires_at", name="job_running_lease", condition=Q(state=JobState.RUNNING)),
            # Queue depth of one account.
            models.Index("account", name="job_open_by_account", condition=Q(state__in=OPEN_STATES)),
            models.Index("account", F("id").desc(), name="job_by_account"),
            # What the retention sweep looks at, undated ones included.
            models.Index("forget_at", name="job_to_forget", condition=Q(is_forgotten=False)),
        ]

    def __str__(self) -> str:
        return f"job {self.pk}"

    @property
    def ref(self) -> Ref:
        return Ref(kind="generation_job", id=self.pk, label=f"{self.kind} {self.pk}")

    @property
    def is_terminal(self) -> bool:
        return self.state in TERMINAL_STATES

    @property
    def resolved(self) -> ResolvedRequest:
        """The stored request. Raises TypeError, ValueError or KeyError for what this version cannot read."""
        return ResolvedRequest.from_json(self.request)

    @property
    def runtime_s(self) -> float:
        """Seconds from claim to end; 0 while unclaimed."""
        if self.claimed_at is None or self.finished_at is None:
            return 0.0
        return (self.finished_at - self.claimed_at).total_seconds()


class JobPreview(models.Model):
    """What a running job looks like so far; overwritten, and gone when the job ends."""

    job = models.OneToOneField(
        GenerationJob, on_delete=models.CASCADE, primary_key=True, related_name="preview"
    )
    index = models.PositiveSmallIntegerField()
    """Which of its images."""
    step = models.PositiveIntegerField()
    """Steps of that image that are done."""
    data = models.BinaryField()
    """A JPEG file of at most 256 pixels a side."""

    def __str__(self) -> str:
        return f"preview of job {self.job_id}"


class GpuWorker(models.Model):
    """One pump slot: what it is and when it last gave a sign of life."""

    name = models.CharField(max_length=64, unique=True)
    host = models.CharField(max_length=255)
    pid = models.PositiveIntegerField()
    state = models.CharField(
        max_length=16,
        choices=[(word, word) for word in ("starting", "ready", "draining", "stopped")],
        default="starting",
    )
    runtime = models.CharField(max_length=16, blank=True)
    device = models.CharField(max_length=32, blank=True)
    device_name = models.CharField(max_length=128, blank=True)
    reason = models.TextField(blank=True)
    resident = models.JSONField(default=list)
    weights = models.JSONField(default=list, db_default=[])
    """Every checkpoint above cold: name, family, residency, size_bytes, is_pinned, idle_s."""
    weights_bytes = models.PositiveBigIntegerField(default=0, db_default=0)
    """Weights on the device, shared components counted once."""
    weights_budget_bytes = models.PositiveBigIntegerField(default=0, db_default=0)
    step_ms = models.FloatField(default=0.0)
    """Moving average of one row-step."""
    tflop_per_s = models.FloatField(default=0.0, db_default=0.0)
    """Moving average of what it computes, by `GenerationJob.work_tflop`; ETAs are made of it."""
    started_at = models.DateTimeField()
    heartbeat_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name

    @property
    def ref(self) -> Ref:
        return Ref(kind="gpu_worker", id=self.pk, label=self.name)

    def is_fresh(self, *, now: datetime, lease_s: float) -> bool:
        """Whether its last heartbeat is younger than a lease."""
        return (now - self.heartbeat_at).total_seconds() < lease_s


class DedicatedDevice(models.Model):
    """A device that is kept for one account: it runs nobody else's jobs, and theirs run nowhere else."""

    worker = models.OneToOneField(
        GpuWorker, on_delete=models.PROTECT, related_name="+", help_text="The device's worker."
    )
    account = models.ForeignKey("accounts.Account", on_delete=models.CASCADE, related_name="+")
    created_at = models.DateTimeField(editable=False)

    def __str__(self) -> str:
        return f"{self.worker} for {self.account}"

    @property
    def ref(self) -> Ref:
        """How the audit log names it."""
        return Ref(kind="dedicated_device", id=self.pk, label=self.worker.name)


class IdempotencyRecord(models.Model):
    """One Idempotency-Key of one account: the job it made and the response that every repeat gets."""

    account = models.ForeignKey("accounts.Account", on_delete=models.CASCADE, related_name="+")
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    """SHA-256 over method, path and body."""
    job = models.ForeignKey(GenerationJob, on_delete=models.CASCADE, null=True, related_name="+")
    """Null only inside the transaction that accepts the job: the key is taken first."""
    response_status = models.PositiveSmallIntegerField(null=True)
    response_content_type = models.CharField(max_length=128, blank=True)
    response_body = models.BinaryField(null=True)
    created_at = models.DateTimeField(db_index=True)

    class Meta:
        constraints = [models.UniqueConstraint("account", "key", name="idempotency_key_once_per_account")]

    def __str__(self) -> str:
        return self.key
