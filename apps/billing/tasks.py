"""Entry points for the housekeeping cluster."""

from __future__ import annotations

from apps.billing.ledger import services
from apps.core import clock


def expire_grants() -> int:
    """Take back what is left of promotional credit that has expired; due every ten minutes.

    Expired credit pays for nothing whenever this runs: it only tidies the books.
    """
    return services.expire_grants(clock.now())
