"""Closed sets that reach the database."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _


class Role(models.TextChoices):
    """What a member may do for an account."""

    OWNER = "owner", _("Owner")
    ADMIN = "admin", _("Admin")
    BILLING = "billing", _("Billing")
    DEVELOPER = "developer", _("Developer")
    VIEWER = "viewer", _("Viewer")


class SafetyRule(models.TextChoices):
    """What becomes of requests and images that are unsuitable for some; an account may have its own."""

    OFF = "off"
    """Images are looked at only where a request asks for it."""
    FLAG = "flag"
    """Every image is looked at, and the finding is reported."""
    BLUR = "blur"
    """Unsuitable images are blurred."""
    BLOCK = "block"
    """Unsuitable prompts are refused, unsuitable images are not delivered and not charged."""


class Language(models.TextChoices):
    """What somebody's mails and pages are written in."""

    ENGLISH = "en", "English"
    GERMAN = "de", "Deutsch"
