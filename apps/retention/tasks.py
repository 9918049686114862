"""The entry point for the housekeeping cluster."""

from __future__ import annotations

from apps.core import clock
from apps.retention import services


def sweep() -> int:
    """Purge what is due; once a minute. How many rows."""
    swept = services.sweep(now=clock.now())
    return swept.images + swept.jobs + swept.deliveries
