"""Entry points for the housekeeping cluster."""

from __future__ import annotations

from apps.core import clock
from apps.metrics import job_rollup, measuring, storing


def roll_up_jobs() -> int:
    """Count ended jobs; due every minute."""
    return job_rollup.roll_up_jobs(now=clock.now())


def measure() -> int:
    """Figures that take a look at every row; due every five minutes."""
    return measuring.measure(now=clock.now())


def check_invariants() -> int:
    """What must be true of money; due every six hours. How many counter-examples there are."""
    return sum(measuring.check_invariants(now=clock.now()).values())


def prune() -> int:
    """Delete old minutes, and what processes said that have ended; due once an hour."""
    return job_rollup.prune_minutes(now=clock.now()) + storing.prune(now=clock.now())
