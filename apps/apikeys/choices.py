"""Closed sets that reach the database."""

from __future__ import annotations

from django.db import models


class Scope(models.TextChoices):
    """What a key may be used for."""

    IMAGES_GENERATE = "images:generate"
    JOBS_READ = "jobs:read"
    JOBS_CANCEL = "jobs:cancel"


ALL_SCOPES = tuple(Scope)
