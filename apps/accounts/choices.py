"""Closed sets that reach the database."""

from __future__ import annotations

from django.db import models


class Role(models.TextChoices):
    """What a member may do for an account."""

    OWNER = "owner"
    ADMIN = "admin"
    BILLING = "billing"
    DEVELOPER = "developer"
    VIEWER = "viewer"
