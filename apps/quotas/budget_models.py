"""Budgets: how much money an account or one of its keys may spend in a calendar month."""

from __future__ import annotations

from datetime import date

from django.db import models
from django.db.models import Q

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.audit.refs import Ref
from apps.webhooks.models import MAX_URL_CHARS


class Budget(models.Model):
    """One budget and what is spent of it. The spending is of `month`; in a later month it counts from 0."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    """Null: of the account as a whole."""
    limit_micro = models.BigIntegerField(help_text="Micro-USD a calendar month, in the account's time zone.")
    is_hard = models.BooleanField(
        default=True, help_text="Refuse calls beyond it; otherwise they are told of."
    )
    webhook_url = models.CharField(max_length=MAX_URL_CHARS, blank=True)
    month = models.DateField()
    spent_micro = models.BigIntegerField(default=0)
    """Held for open jobs and captured for ended ones."""
    announced_percent = models.PositiveSmallIntegerField(default=0)
    """The highest threshold of this month that was told."""
    created_at = models.DateTimeField()

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["account", "api_key"], nulls_distinct=False, name="quotas_budget_unique"
            ),
            models.CheckConstraint(condition=Q(limit_micro__gt=0), name="quotas_budget_limit_positive"),
            models.CheckConstraint(condition=Q(spent_micro__gte=0), name="quotas_budget_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.account}: {self.limit_micro} micro-USD a month"

    @property
    def ref(self) -> Ref:
        """How the audit log names this budget."""
        owner = self.account.slug if self.api_key is None else self.api_key.prefix
        return Ref(kind="budget", id=self.pk, label=f"budget of {owner}")

    def spent_in(self, month: date) -> int:
        """Micro-USD that were spent in the month that begins with `month`, if that is the latest."""
        return self.spent_micro if self.month == month else 0
