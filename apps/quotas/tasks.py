"""django-q2 entry points of housekeeping."""

from __future__ import annotations

from apps.core.clock import now
from apps.quotas import announcing, months


def announce_thresholds() -> int:
    """Tell of budgets that have passed a threshold."""
    return announcing.announce_thresholds(now())


def reconcile_months() -> int:
    """Bring counters of the month back to the sum of its days."""
    return months.reconcile_months(now=now())
