"""Entry points for the housekeeping cluster."""

from __future__ import annotations

from apps.artifacts import services
from apps.core import clock

PURGE_BATCH = 1000


def purge_expired_artifacts() -> int:
    """Delete everything that has expired; due every few minutes."""
    total = 0
    while count := services.purge_expired(now=clock.now(), limit=PURGE_BATCH):
        total += count
    return total


def sweep_unreferenced_files() -> int:
    """Delete what crashes left behind; due once an hour."""
    return services.sweep_unreferenced(now=clock.now())
