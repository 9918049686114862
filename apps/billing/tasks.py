"""Entry points for the housekeeping cluster."""

from __future__ import annotations

from apps.billing.invoices import overdue
from apps.billing.ledger import services
from apps.core import clock


def expire_grants() -> int:
    """Take back what is left of promotional credit that has expired; due every ten minutes.

    Expired credit pays for nothing whenever this runs: it only tidies the books.
    """
    return services.expire_grants(clock.now())


def follow_invoices() -> int:
    """Plans of accounts with overdue invoices begin their days of grace, those that have paid go on."""
    return overdue.follow_all(clock.now())
