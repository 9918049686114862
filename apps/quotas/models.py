"""Calls counted by day."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey


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
