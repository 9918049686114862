"""States and kinds of generation jobs, and the named subsets the code reasons with."""

from __future__ import annotations

from django.db import models


class JobState(models.TextChoices):
    """Where a job stands. Every accepted job reaches exactly one of TERMINAL_STATES."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    QUARANTINED = "quarantined"
    """Its worker crashed too often while running it."""
    EXPIRED = "expired"
    """It waited past its deadline."""


OPEN_STATES = (JobState.QUEUED, JobState.RUNNING)
TERMINAL_STATES = (
    JobState.SUCCEEDED,
    JobState.FAILED,
    JobState.CANCELED,
    JobState.QUARANTINED,
    JobState.EXPIRED,
)


class Kind(models.TextChoices):
    """What is asked for. Plans name the kinds they include."""

    TXT2IMG = "txt2img"
