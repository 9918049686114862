"""Telling of the end of a job or an import: who waits for it here, and who wants to hear of it elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from apps.audit.refs import JsonValue
from apps.catalog.models import ModelImport
from apps.core.db import require_transaction
from apps.generation.channels import notify_changed
from apps.generation.models import GenerationJob
from apps.webhooks.services import queue_delivery
from apps.webhooks.wishes import Target, WebhookWish, require_permitted

IMPORT_BODY_LIFETIME: Final = timedelta(days=7)


def announce_end(job: GenerationJob, *, links_end_at: datetime, now: datetime) -> None:
    """Part: `announce_ends` of one job."""
    announce_ends([(job, links_end_at)], now=now)


def announce_ends(ends: Sequence[tuple[GenerationJob, datetime]], *, now: datetime) -> None:
    """Part: each job's row has just been brought to a terminal state.

    A webhook becomes a delivery row in the very transaction that ends the job, so that it is neither lost
    nor told of an end that was rolled back. With each job comes when its body is forgotten.
    """
    require_transaction()
    notify_changed(*(job.pk for job, _ in ends))
    for job, links_end_at in ends:
        if job.webhook is not None:
            queue_delivery(
                account_id=job.account_id,
                job_id=job.pk,
                event=f"job.{job.state}",
                target=Target.from_json(job.webhook),
                expires_at=links_end_at,
                now=now,
                request_id=job.request_id,
            )


def import_webhook(wish: WebhookWish, *, account_id: int, track_id: str | int | None) -> dict[str, JsonValue]:
    """What an import's row keeps for its end. Raises InvalidField for an address that is not sent to."""
    require_permitted(wish.url)
    return {**wish.target.to_json(), "account_id": account_id, "track_id": track_id}


def announce_import_end(row: ModelImport, now: datetime) -> None:
    """Part: settings.IMPORT_ENDED. The row has a webhook, and has just been brought to a terminal state."""
    kept = dict(row.options["webhook"])
    account_id, _ = kept.pop("account_id"), kept.pop("track_id")
    queue_delivery(
        account_id=account_id,
        job_id=None,
        event=f"import.{row.state}",
        target=Target.from_json(kept),
        expires_at=now + IMPORT_BODY_LIFETIME,
        now=now,
        import_id=row.pk,
    )
