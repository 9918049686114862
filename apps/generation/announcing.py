"""Telling of the end of a job: who waits for it here, and who wants to hear of it elsewhere."""

from __future__ import annotations

from datetime import datetime

from apps.core.db import require_transaction
from apps.generation.channels import notify_changed
from apps.generation.models import GenerationJob
from apps.webhooks.services import queue_delivery
from apps.webhooks.wishes import Target


def announce_end(job: GenerationJob, *, links_end_at: datetime, now: datetime) -> None:
    """Part: the job's row has just been brought to a terminal state.

    A webhook becomes a delivery row in the very transaction that ends the job, so that it is neither lost
    nor told of an end that was rolled back; `links_end_at` is when its body is forgotten.
    """
    require_transaction()
    notify_changed(job.pk)
    if job.webhook is not None:
        queue_delivery(
            account_id=job.account_id,
            job_id=job.pk,
            event=f"job.{job.state}",
            target=Target.from_json(job.webhook),
            expires_at=links_end_at,
            now=now,
        )
