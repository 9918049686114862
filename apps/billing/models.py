"""What was delivered and may be billed."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.audit.append_only import AppendOnlyModel, AppendOnlyQuerySet


class UsageEvent(AppendOnlyModel):
    """One succeeded job. That `job_id` is unique is what makes charging twice impossible."""

    job_id = models.BigIntegerField(unique=True)
    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    api_key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    day = models.DateField(help_text="The quota day of the call, in the account's time zone.")
    calls = models.PositiveIntegerField()
    images = models.PositiveIntegerField()
    pixels = models.PositiveBigIntegerField(help_text="Of all images together.")
    checkpoint = models.CharField(max_length=200, help_text="Its name at the time.")
    at = models.DateTimeField()

    objects = AppendOnlyQuerySet["UsageEvent"].as_manager()

    class Meta:
        indexes = [
            # Usage of one account over days: invoices, the console, and the proof that daily usage adds up.
            models.Index(fields=["account", "day"], name="billing_usage_by_account_day"),
        ]
        constraints = [
            # Captions and checks are calls without images.
            models.CheckConstraint(condition=Q(calls__gte=1), name="billing_usage_not_empty"),
        ]

    def __str__(self) -> str:
        return f"job {self.job_id}: {self.images} images"
