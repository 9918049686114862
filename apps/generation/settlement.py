"""What the end of a job does to quota, money and usage. Parts: they run in the transaction that ends the job.

A day's counter or a hold that disagrees with its job is reported, not raised: a job that cannot end would
stop every worker that tries to end it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime

from apps.billing.choices import Source
from apps.billing.funding import FundedJob, Funding, give_back, settle
from apps.billing.ledger.errors import CaptureExceedsHold, HoldEnded, HoldMissing
from apps.billing.services import record_usage
from apps.generation.charges import Charge
from apps.generation.models import GenerationJob
from apps.quotas.errors import ReservationMissing
from apps.quotas.services import release_calls, settle_calls

log = logging.getLogger(__name__)


def release_reservation(job: GenerationJob, *, now: datetime) -> None:
    """Part: the job delivered nothing, so its call and its money are given back."""
    try:
        release_calls(account_id=job.account_id, day=job.quota_day, count=1, api_key_id=job.api_key_id)
    except ReservationMissing:
        _report_missing(job)
    _end_funding(job, give_back, now)


def charge(job: GenerationJob, taken: Charge, *, now: datetime) -> None:
    """Part: the job delivered all its images: its call counts and one usage event says what it was.

    Its price is the one that was said when it was accepted, for just these images: by the price book that
    was in effect then.
    """
    try:
        settle_calls(account_id=job.account_id, day=job.quota_day, count=taken.calls)
    except ReservationMissing:
        _report_missing(job)
    _end_funding(job, settle, now)
    record_usage(
        job_id=job.pk,
        account_id=job.account_id,
        api_key_id=job.api_key_id,
        day=job.quota_day,
        **asdict(taken),
        checkpoint=job.request["checkpoint"],
        kind=job.kind,
        funding=Source(job.funding),
        price_micro=job.price_micro,
        price_book_version=job.price_book_version,
        now=now,
    )


def funding_of(job: GenerationJob) -> Funding:
    """What was decided when the job was accepted."""
    return Funding(
        source=Source(job.funding),
        price_micro=job.price_micro,
        period=job.funding_period,
        book_version=job.price_book_version,
    )


def _end_funding(job: GenerationJob, end: Callable[..., None], now: datetime) -> None:
    """`end` is what becomes of it: settled or given back."""
    funded = FundedJob(
        job_id=job.pk,
        account_id=job.account_id,
        api_key_id=job.api_key_id,
        day=job.quota_day,
        funding=funding_of(job),
    )
    try:
        end(funded, now=now)
    except ReservationMissing:
        _report_missing(job)
    except (HoldMissing, HoldEnded, CaptureExceedsHold) as fault:
        log.error("job %d: %s; see `manage.py invariants`", job.pk, fault)


def _report_missing(job: GenerationJob) -> None:
    log.error("job %d: its day's usage has no reservation left; see `manage.py invariants`", job.pk)
