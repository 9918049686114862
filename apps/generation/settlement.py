"""What the end of a job does to quota and usage. Parts: they run in the transaction that ends the job.

A day's counter that disagrees with its jobs is reported, not raised: a job that cannot end would stop
every worker that tries to end it.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import datetime

from apps.billing.services import record_usage
from apps.generation.charges import Charge
from apps.generation.models import GenerationJob
from apps.quotas.errors import ReservationMissing
from apps.quotas.services import release_calls, settle_calls

log = logging.getLogger(__name__)


def release_reservation(job: GenerationJob) -> None:
    """Part: the job delivered nothing, so its call is given back."""
    try:
        release_calls(account_id=job.account_id, day=job.quota_day, count=1, api_key_id=job.api_key_id)
    except ReservationMissing:
        _report_missing(job)


def charge(job: GenerationJob, taken: Charge, *, now: datetime) -> None:
    """Part: the job delivered all its images: its call counts and one usage event says what it was."""
    try:
        settle_calls(account_id=job.account_id, day=job.quota_day, count=taken.calls)
    except ReservationMissing:
        _report_missing(job)
    record_usage(
        job_id=job.pk,
        account_id=job.account_id,
        api_key_id=job.api_key_id,
        day=job.quota_day,
        **asdict(taken),
        checkpoint=job.request["checkpoint"],
        now=now,
    )


def _report_missing(job: GenerationJob) -> None:
    log.error("job %d: its day's usage has no reservation left; see `manage.py invariants`", job.pk)
