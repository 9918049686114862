"""Closed sets of payments that reach the database."""

from __future__ import annotations

from django.db import models


class CheckoutKind(models.TextChoices):
    """What a customer was sent to Stripe for."""

    PLAN = "plan", "plan"
    TOP_UP = "top_up", "wallet top-up"
    CARD = "card", "card for pay as you go"


class CheckoutState(models.TextChoices):
    """Of one visit to Stripe's page."""

    STARTING = "starting", "starting"
    OPEN = "open", "open"
    COMPLETE = "complete", "complete"
    EXPIRED = "expired", "expired"


UNFINISHED_CHECKOUTS = frozenset({CheckoutState.STARTING, CheckoutState.OPEN})


class PaymentKind(models.TextChoices):
    """What money came for."""

    TOP_UP = "top_up", "wallet top-up"
    AUTO_TOP_UP = "auto_top_up", "automatic top-up"
    SUBSCRIPTION = "subscription", "subscription"
    USAGE = "usage", "usage, paid as it goes"


TOP_UPS = frozenset({PaymentKind.TOP_UP, PaymentKind.AUTO_TOP_UP})


class SendState(models.TextChoices):
    """Of something that Stripe is to be told. The row is the truth: what waits is sent when it is due."""

    WAITING = "waiting", "waiting"
    SENT = "sent", "sent"
    REFUSED = "refused", "refused"


class EventState(models.TextChoices):
    """Of one message from Stripe."""

    RECEIVED = "received", "received"
    """Kept as it came; not yet believed."""
    REFUSED = "refused", "refused"
    """Not from Stripe, too old, or of another mode."""
    WAITING = "waiting", "waiting"
    """Genuine, and to be handled."""
    HANDLED = "handled", "handled"
    IGNORED = "ignored", "ignored"
    """Genuine and of no consequence here."""
    FAILED = "failed", "failed"
    """Tried as often as it makes sense; an operator looks at it."""
