"""Closed sets that reach the database."""

from __future__ import annotations

from django.db import models


class DeliveryState(models.TextChoices):
    """Where a delivery stands."""

    WAITING = "waiting"
    """For `due_at`."""
    SENDING = "sending"
    """An attempt is under way."""
    DELIVERED = "delivered"
    """The endpoint answered 2xx."""
    FAILED = "failed"
    """Given up; a replay begins anew."""


OPEN_STATES = (DeliveryState.WAITING, DeliveryState.SENDING)
ENDED_STATES = (DeliveryState.DELIVERED, DeliveryState.FAILED)
