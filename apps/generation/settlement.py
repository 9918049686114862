"""What the end of a job does to quota and usage. Parts: they run in the transaction that ends the job."""

from __future__ import annotations

from datetime import datetime

from apps.billing.services import record_usage
from apps.generation.models import GenerationJob
from apps.quotas.services import release_calls, settle_calls


def release_reservation(job: GenerationJob) -> None:
    """Part: the job delivered nothing, so its call is given back."""
    release_calls(account_id=job.account_id, day=job.quota_day, count=1, api_key_id=job.api_key_id)


def charge(job: GenerationJob, *, now: datetime) -> None:
    """Part: the job delivered all its images: its call counts and one usage event says what it was."""
    settle_calls(account_id=job.account_id, day=job.quota_day, count=1)
    resolved = job.resolved
    record_usage(
        job_id=job.pk,
        account_id=job.account_id,
        api_key_id=job.api_key_id,
        day=job.quota_day,
        calls=1,
        images=job.num_images,
        pixels=job.num_images * resolved.width * resolved.height,
        checkpoint=resolved.checkpoint,
        now=now,
    )
