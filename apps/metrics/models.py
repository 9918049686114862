"""What metrics are made of where the product's own rows do not say it: counts, and minutes of ended jobs."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from apps.generation.choices import TERMINAL_STATES, JobState


class Sample(models.Model):
    """One stored value: a total that processes add to, or how something stands in one process."""

    process = models.CharField(max_length=64, blank=True)
    """Whose state it is; empty for totals, and for what housekeeping measures for everybody."""
    series = models.CharField(max_length=120)
    labels = models.CharField(max_length=500)
    """Values of its labels as a JSON list, in the order of their declaration."""
    value = models.FloatField()
    updated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["process", "series", "labels"], name="metrics_sample_unique"),
        ]

    def __str__(self) -> str:
        return f"{self.series}{self.labels} {self.value:g}"


class JobMinute(models.Model):
    """Jobs of one kind, tier and end that ended in one minute after about as long a time."""

    minute = models.DateTimeField()
    kind = models.CharField(max_length=32)
    tier = models.CharField(max_length=16)
    state = models.CharField(max_length=16, choices=JobState)
    bucket = models.CharField(max_length=8)
    """Upper end of their time from acceptance to end, in seconds, as Prometheus' `le`."""
    jobs = models.PositiveIntegerField()
    images = models.PositiveIntegerField()
    """Delivered ones."""
    seconds = models.FloatField()
    """From acceptance to end, all together."""
    wait_seconds = models.FloatField()
    """From acceptance to the last claim, all together; to the end for what was never claimed."""

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["minute", "kind", "tier", "state", "bucket"], name="metrics_job_minute_unique"
            ),
            models.CheckConstraint(
                condition=Q(state__in=TERMINAL_STATES), name="metrics_job_minute_is_of_ended_jobs"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.minute:%Y-%m-%d %H:%M} {self.kind} {self.state}: {self.jobs}"


class RollupMark(models.Model):
    """How far jobs have been counted into minutes: one row."""

    counted_until = models.DateTimeField()
    """Jobs that ended by then are counted."""
    first_open_id = models.BigIntegerField(default=0)
    """Jobs before this one need not be looked at again."""

    def __str__(self) -> str:
        return f"until {self.counted_until}"
