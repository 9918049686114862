"""Words of plans that reach the database."""

from __future__ import annotations

from django.db import models


class SubscriptionSource(models.TextChoices):
    """Who says when a subscription begins, renews and ends."""

    STRIPE = "stripe", "Stripe"
    MANUAL = "manual", "Invoice"
    LICENCE = "licence", "Licence file"


class SubscriptionState(models.TextChoices):
    """Where a subscription stands."""

    TRIALING = "trialing"
    ACTIVE = "active"
    PAST_DUE = "past_due"
    """A payment failed; the plan goes on for the days of grace."""
    PAUSED = "paused"
    CANCELED = "canceled"


GIVING_STATES = frozenset({SubscriptionState.TRIALING, SubscriptionState.ACTIVE, SubscriptionState.PAST_DUE})
"""In which an account has the plan, with past_due for the days of grace alone."""
OPEN_STATES = GIVING_STATES | {SubscriptionState.PAUSED}


class CouponKind(models.TextChoices):
    """What a coupon is worth."""

    PERCENT = "percent", "percent off the plan"
    AMOUNT = "amount", "micro-USD off the plan"
    CREDIT = "credit", "micro-USD of credit"


class LicenceState(models.TextChoices):
    """What an installed licence is worth now."""

    WAITING = "waiting"
    VALID = "valid"
    GRACE = "grace"
    """Expired a short while ago: everything goes on, and the console warns."""
    EXPIRED = "expired"
    REPLACED = "replaced"
