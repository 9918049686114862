"""Words of the ledger that reach the database."""

from __future__ import annotations

from django.db import models


class Place(models.TextChoices):
    """Where money can be. A tenant's places keep their balance, the system's are sums of lines."""

    WALLET = "wallet", "prepaid wallet"
    PROMO = "promo", "promotional credit"
    HELD = "held", "held for open jobs"
    RECEIVABLE = "receivable", "delivered, not yet invoiced"
    INVOICED = "invoiced", "invoiced, not yet paid"
    DISPUTED = "disputed", "taken back by a bank after it was spent"
    CASH = "cash", "money received and paid back"
    REVENUE = "revenue", "revenue"
    GRANTS = "grants", "promotional credit given away"
    REFUNDS = "refunds", "refunds, adjustments and losses"
    TAX = "tax", "tax collected"
    FEES = "fees", "fees of payment providers"
    ROUNDING = "rounding", "rounding to whole cents"

    def is_limited_by(self, change_micro: int) -> bool:
        """Whether adding `change_micro` brings a tenant's balance nearer to zero, which it may not cross."""
        if self in DEBT_PLACES:
            return change_micro > 0
        return self in TENANT_PLACES and change_micro < 0


# One of each an account, made when it is first needed; promotional credit has one a grant.
SINGLE_TENANT_PLACES = (Place.WALLET, Place.HELD, Place.RECEIVABLE, Place.INVOICED, Place.DISPUTED)
TENANT_PLACES = (*SINGLE_TENANT_PLACES, Place.PROMO)
SYSTEM_PLACES = tuple(place for place in Place if place not in TENANT_PLACES)
# What an account owes us is negative: their balance may not rise above zero, all others' not fall below.
DEBT_PLACES = (Place.RECEIVABLE, Place.INVOICED, Place.DISPUTED)


class EntryName(models.TextChoices):
    """What an entry is about."""

    HOLD = "hold", "held for a job"
    CAPTURE = "capture", "job delivered"
    RELEASE = "release", "job ended without images"
    TOP_UP = "top_up", "top-up"
    TOP_UP_REFUNDED = "top_up_refunded", "top-up paid back"
    GRANT = "grant", "promotional credit"
    GRANT_EXPIRED = "grant_expired", "promotional credit expired"
    ADJUSTMENT = "adjustment", "adjustment"
    INVOICED = "invoiced", "usage invoiced"
    INVOICE_VOIDED = "invoice_voided", "invoice taken back"
    INVOICE_PAID = "invoice_paid", "invoice paid"
    PAYMENT = "payment", "payment"
    PAYMENT_REFUNDED = "payment_refunded", "payment refunded"
    DISPUTE = "dispute", "payment disputed"
    DISPUTE_WON = "dispute_won", "dispute decided for us"
    DISPUTE_FEE = "dispute_fee", "fee of a dispute"
    TEST_MODE = "test_mode", "money of the test mode taken out"


class HoldState(models.TextChoices):
    """`open -> captured | released`, once."""

    OPEN = "open"
    CAPTURED = "captured"
    RELEASED = "released"
