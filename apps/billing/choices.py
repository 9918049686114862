"""Words of billing that reach the database."""

from __future__ import annotations

from django.db import models


class Source(models.TextChoices):
    """What pays for a call, in the order in which it is tried."""

    PLAN = "plan", "plan allowance"
    DAILY_FREE = "daily_free", "daily free calls"
    PROMO = "promo", "promotional credit"
    WALLET = "wallet", "prepaid wallet"
    PAYG = "pay_as_you_go", "pay as you go"


LEDGER_SOURCES = frozenset({Source.PROMO, Source.WALLET, Source.PAYG})
"""Those that move money; calls of the others cost nothing and write no ledger entry."""
