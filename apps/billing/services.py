"""Recording what was delivered."""

from __future__ import annotations

from datetime import date, datetime

from apps.billing.models import UsageEvent
from apps.core.db import require_transaction


def record_usage(
    *,
    job_id: int,
    account_id: int,
    api_key_id: int | None,
    day: date,
    calls: int,
    images: int,
    pixels: int,
    checkpoint: str,
    now: datetime,
) -> UsageEvent:
    """Append the usage of one succeeded job; a part. Raises IntegrityError if the job was recorded before."""
    require_transaction()
    event = UsageEvent(
        job_id=job_id,
        account_id=account_id,
        api_key_id=api_key_id,
        day=day,
        calls=calls,
        images=images,
        pixels=pixels,
        checkpoint=checkpoint,
        at=now,
    )
    event.save(force_insert=True)
    return event
