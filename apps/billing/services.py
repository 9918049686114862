"""Recording what was delivered."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from apps.billing.choices import Source
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
    kind: str = "",
    funding: Source = Source.PLAN,
    price_micro: int = 0,
    price_book_version: int | None = None,
) -> UsageEvent:
    """Append the usage of one succeeded job; a part. Raises IntegrityError if the job was recorded before.

    `price_micro` is what was captured, 0 for what cost nothing; the version is that of the book it is by.
    """
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
        kind=kind,
        funding=funding,
        price_micro=price_micro,
        price_book_version=price_book_version,
        at=now,
    )
    record_usages([event])
    return event


def record_usages(events: Sequence[UsageEvent]) -> None:
    """`record_usage` of several jobs; one statement, in the order of the days that it adds to."""
    require_transaction()
    UsageEvent.objects.bulk_create(
        sorted(events, key=lambda event: (event.account_id, event.day, event.job_id))
    )
