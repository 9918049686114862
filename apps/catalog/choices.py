"""Closed sets that reach the database."""

from __future__ import annotations

from django.db import models


class Visibility(models.TextChoices):
    """Who may use a checkpoint."""

    PUBLIC = "public"
    """Every account of this appliance."""
    PRIVATE = "private"
    """Its owner alone."""
