"""Closed sets that reach the database."""

from __future__ import annotations

from django.db import models


class MailState(models.TextChoices):
    """Where a mail is on its way."""

    QUEUED = "queued"
    """Due now or later; stays here while no mail server is set."""
    SENT = "sent"
    """The mail server took it. Its text is gone: links in it are as good as passwords."""
    DEAD = "dead"
    """Given up after the last attempt; an operator may queue it again."""
