"""What was delivered and may be billed."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

import apps.billing.invoices.models  # Django looks for models here alone
import apps.billing.ledger.models
import apps.billing.prices.models  # noqa: F401
from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.audit.append_only import AppendOnlyModel, AppendOnlyQuerySet
from apps.billing.choices import LEDGER_SOURCES, Source


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
    # Defaults in the database, too: the version before, which runs beside this one, names none of these.
    kind = models.CharField(
        max_length=32, blank=True, default="", db_default="", help_text="Of generation; empty in old events."
    )
    funding = models.CharField(
        max_length=20,
        choices=Source,
        default=Source.PLAN,
        db_default=Source.PLAN,
        help_text="What paid for it.",
    )
    price_micro = models.BigIntegerField(
        default=0, db_default=0, help_text="Micro-USD, as captured; 0 for what costs nothing."
    )
    price_book_version = models.PositiveIntegerField(null=True, blank=True)
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
            models.CheckConstraint(
                condition=Q(price_micro=0) | Q(price_micro__gt=0, funding__in=sorted(LEDGER_SOURCES)),
                name="billing_usage_priced_by_funding",
            ),
        ]

    def __str__(self) -> str:
        return f"job {self.job_id}: {self.images} images"


class UsageDay(models.Model):
    """Usage events of one day added up, by what pages and exports ask for.

    A trigger on usage events keeps it, in the transaction of the event and whatever version wrote that: it
    is never behind. Nothing else writes it.
    """

    account = models.ForeignKey(Account, on_delete=models.PROTECT, related_name="+")
    day = models.DateField()
    api_key = models.ForeignKey(ApiKey, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    checkpoint = models.CharField(max_length=200)
    kind = models.CharField(max_length=32)
    funding = models.CharField(max_length=20, choices=Source)
    calls = models.BigIntegerField()
    images = models.BigIntegerField()
    pixels = models.BigIntegerField()
    price_micro = models.BigIntegerField()

    class Meta:
        constraints = [
            # Also what finds an account's days.
            models.UniqueConstraint(
                fields=["account", "day", "api_key", "checkpoint", "kind", "funding"],
                nulls_distinct=False,
                name="billing_usage_day_unique",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.account} on {self.day}: {self.calls} calls"


class PayAsYouGo(models.Model):
    """Whether an account may use now and pay later: it has a card on file, or an agreement with us."""

    account = models.OneToOneField(Account, on_delete=models.CASCADE, related_name="+")
    is_allowed = models.BooleanField(help_text="Calls that nothing else pays go on the next invoice.")
    changed_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "pay as you go"

    def __str__(self) -> str:
        return f"{self.account}: {'allowed' if self.is_allowed else 'not allowed'}"
