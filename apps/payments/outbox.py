"""What Stripe is to be told and does not know yet: refunds, automatic top-ups, usage of the meter.

The rows are the truth. Each is sent at once by whoever wrote it, and again by a schedule until Stripe has
answered; its key makes repetitions harmless for a day, after which what Stripe knows is looked up first.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from apps.payments.choices import SendState
from apps.payments.money_models import Sendable

BACK_OFF: Final = tuple(timedelta(seconds=seconds) for seconds in (30, 120, 600, 1800, 3600, 7200, 14_400))
"""Before each further attempt; the last for all that follow."""
KEYS_LIVE: Final = timedelta(hours=23)
"""Stripe forgets idempotency keys, and identifiers of meter events, after a day."""
BATCH: Final = 200

log = logging.getLogger(__name__)


def note_attempt(row: Sendable, *, now: datetime) -> bool:
    """Write down that Stripe is about to be asked; False when somebody else just did, or it is done."""
    wait = BACK_OFF[min(row.attempts, len(BACK_OFF) - 1)]
    mine = type(row)._default_manager.filter(pk=row.pk, state=SendState.WAITING, attempts=row.attempts)
    row.first_tried_at = row.first_tried_at or now
    change = {"attempts": row.attempts + 1, "due_at": now + wait, "first_tried_at": row.first_tried_at}
    if mine.update(**change) != 1:
        return False
    row.attempts += 1
    return True


def note_failure(row: Sendable, error: str) -> None:
    """Why it has not been sent yet."""
    type(row)._default_manager.filter(pk=row.pk, state=SendState.WAITING).update(last_error=error[:300])


def is_key_forgotten(row: Sendable, *, now: datetime) -> bool:
    """Whether repeating it might do it twice, since the first attempt may have succeeded unheard."""
    return row.first_tried_at is not None and now - row.first_tried_at > KEYS_LIVE
