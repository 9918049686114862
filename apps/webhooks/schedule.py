"""When a delivery that failed is tried again, and when it is given up. Pure arithmetic."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

JITTER: Final = 0.2
# Longest wait that a receiver's Retry-After may ask for.
MAX_RETRY_AFTER: Final = timedelta(days=1)


def retry_at(
    *,
    attempts: int,
    begun_at: datetime,
    now: datetime,
    retry_after_s: float | None,
    delays_s: Sequence[float],
    draw: random.Random,
) -> datetime | None:
    """When to try again after `attempts` failures; None when that was the last.

    Each delay is drawn within a fifth of its figure, so that what failed together does not come back
    together. A Retry-After can lengthen a delay, and never lets a delivery live longer than the schedule.
    """
    if attempts > len(delays_s):
        return None
    delay = timedelta(seconds=delays_s[attempts - 1] * draw.uniform(1 - JITTER, 1 + JITTER))
    if retry_after_s is not None:
        delay = max(delay, min(timedelta(seconds=retry_after_s), MAX_RETRY_AFTER))
    due = now + delay
    return due if due <= begun_at + lifetime(delays_s) else None


def lifetime(delays_s: Sequence[float]) -> timedelta:
    """From the first attempt to the last, at most; pauses of the endpoint do not stretch it without end."""
    return timedelta(seconds=sum(delays_s) * (1 + JITTER)) + MAX_RETRY_AFTER
