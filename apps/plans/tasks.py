"""django-q2 entry points of housekeeping."""

from __future__ import annotations

from apps.core.clock import now
from apps.plans import licensing, renewing


def end_periods() -> int:
    """Renew and end subscriptions that are due, and take back plans whose days of grace are over."""
    return renewing.end_periods(now()) + renewing.end_grace(now())


def refresh_licence() -> str:
    """Judge the installed licence again; its state, or "" without one."""
    return str(licensing.refresh_licence(now=now()) or "")
