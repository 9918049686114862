"""Installed licence files, and the latest time that this installation has seen."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q

from apps.audit.refs import Ref


class Licence(models.Model):
    """A licence file as it was installed; its signature is checked again whenever it is read."""

    number = models.CharField(max_length=60, unique=True)
    customer = models.CharField(max_length=200)
    plan = models.ForeignKey("plans.Plan", on_delete=models.PROTECT, related_name="+")
    seats = models.PositiveIntegerField(null=True)
    """Null is any number."""
    devices = models.PositiveIntegerField(null=True)
    valid_from = models.DateTimeField()
    valid_until = models.DateTimeField()
    document = models.TextField()
    """The file, byte by byte."""
    installed_at = models.DateTimeField()
    replaced_at = models.DateTimeField(null=True)
    """Since when a later licence is in its place."""
    previous_default = models.ForeignKey("plans.Plan", on_delete=models.PROTECT, null=True, related_name="+")
    """What accounts without a plan had before this licence gave them its own; null if it names accounts."""

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(valid_until__gt=F("valid_from")), name="plans_licence_time_order"
            ),
            models.UniqueConstraint(
                fields=["replaced_at"],
                condition=Q(replaced_at=None),
                nulls_distinct=False,
                name="plans_licence_one_present",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.number} ({self.customer})"

    @property
    def ref(self) -> Ref:
        """How the audit log names this licence."""
        return Ref(kind="licence", id=self.pk, label=self.number)


class LicenceClock(models.Model):
    """The latest moment at which a licence was judged: a clock that is behind it has been moved back."""

    id = models.PositiveSmallIntegerField(primary_key=True, default=1)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.CheckConstraint(condition=Q(id=1), name="plans_licence_one_clock")]

    def __str__(self) -> str:
        return f"seen {self.seen_at}"
