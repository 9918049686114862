"""Entry points for the housekeeping cluster."""

from __future__ import annotations

from apps.audit.services import SEAL_BATCH, seal_events


def seal_audit_events() -> int:
    """Seal what was recorded since the last run; due every minute."""
    total = sealed = seal_events()
    while sealed == SEAL_BATCH:
        sealed = seal_events()
        total += sealed
    return total
