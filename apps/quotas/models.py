"""Calls counted by day and by month, what plans give, and budgets of money."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.quotas.budget_models import Budget

__all__ = ["Allowance", "Budget", "DailyKeyUsage", "DailyUsage", "MonthlyKeyUsage", "MonthlyUsage"]


class DailyUsage(models.Model):
    """One account's calls on one day of its own time zone.

    A call is reserved while its job is open and settled when it succeeds; both count against the limit.
    """

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    reserved = models.BigIntegerField(default=0)
    settled = models.BigIntegerField(default=0)

    class Meta:
        verbose_name_plural = "daily usage"
        constraints = [
            models.UniqueConstraint(fields=["account", "day"], name="quotas_usage_unique"),
            models.CheckConstraint(condition=Q(reserved__gte=0), name="quotas_usage_reserved_not_negative"),
            models.CheckConstraint(condition=Q(settled__gte=0), name="quotas_usage_settled_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.account} on {self.day}: {self.settled} settled, {self.reserved} reserved"


class MonthlyUsage(models.Model):
    """Accepted calls of one calendar month, for accounts whose plan limits them or has a rule of fair use.

    Others have no rows: their submits are one statement shorter. The sum of the month's days is the truth.
    """

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    month = models.DateField(help_text="Its first day, in the account's time zone.")
    calls = models.BigIntegerField(default=0)

    class Meta:
        verbose_name_plural = "monthly usage"
        constraints = [
            models.UniqueConstraint(fields=["account", "month"], name="quotas_month_unique"),
            models.CheckConstraint(condition=Q(calls__gte=0), name="quotas_month_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.account} in {self.month:%Y-%m}: {self.calls}"


class DailyKeyUsage(models.Model):
    """Calls of one day made with a key that has a cap of its own; keys without a cap have no rows."""

    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="+")
    day = models.DateField()
    calls = models.BigIntegerField(default=0)

    class Meta:
        verbose_name_plural = "daily key usage"
        constraints = [
            models.UniqueConstraint(fields=["api_key", "day"], name="quotas_key_usage_unique"),
            models.CheckConstraint(condition=Q(calls__gte=0), name="quotas_key_usage_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.api_key} on {self.day}: {self.calls}"


class MonthlyKeyUsage(models.Model):
    """Calls of one month made with a key that has a monthly cap; keys without one have no rows."""

    api_key = models.ForeignKey(ApiKey, on_delete=models.CASCADE, related_name="+")
    month = models.DateField()
    calls = models.BigIntegerField(default=0)

    class Meta:
        verbose_name_plural = "monthly key usage"
        constraints = [
            models.UniqueConstraint(fields=["api_key", "month"], name="quotas_key_month_unique"),
            models.CheckConstraint(condition=Q(calls__gte=0), name="quotas_key_month_not_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.api_key} in {self.month:%Y-%m}: {self.calls}"


class Allowance(models.Model):
    """Calls that cost nothing, of one month (the plan's) or one day (the free ones), that have been taken."""

    account = models.ForeignKey(Account, on_delete=models.CASCADE, related_name="+")
    source = models.CharField(max_length=20)
    """`plan` or `daily_free`."""
    period = models.DateField()
    """The day, or the first day of the plan's period: see `periods.allowance_period`."""
    reserved = models.BigIntegerField(default=0)
    settled = models.BigIntegerField(default=0)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["account", "source", "period"], name="quotas_allowance_unique"),
            models.CheckConstraint(condition=Q(reserved__gte=0), name="quotas_allowance_reserved"),
            models.CheckConstraint(condition=Q(settled__gte=0), name="quotas_allowance_settled"),
        ]

    def __str__(self) -> str:
        taken = f"{self.settled} settled, {self.reserved} reserved"
        return f"{self.account}, {self.source} of {self.period}: {taken}"
