"""What the end of a job does to quota, money and usage. Parts: they run in the transaction that ends the job.

A day's counter or a hold that disagrees with its job is reported, not raised: a job that cannot end would
stop every worker that tries to end it.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import date, datetime

from apps.billing.choices import Source
from apps.billing.funding import (
    FundedJob,
    Funding,
    give_back,
    give_back_counted,
    give_back_spending,
    settle,
    settle_captures,
    settle_counted,
    turn_of,
)
from apps.billing.ledger.errors import CaptureExceedsHold, HoldEnded, HoldMissing
from apps.billing.models import UsageEvent
from apps.billing.services import record_usages
from apps.generation.charges import Charge
from apps.generation.models import GenerationJob
from apps.quotas.errors import ReservationMissing
from apps.quotas.services import TakenBy, release_calls_together, settle_calls_together

log = logging.getLogger(__name__)


def release_reservation(job: GenerationJob, *, now: datetime) -> None:
    """`release_together` of one job."""
    release_together([job], now=now)


def release_together(jobs: Sequence[GenerationJob], *, now: datetime) -> None:
    """Part: the jobs delivered nothing, so their calls and their money are given back.

    They may be of any account and of either side of midnight: rows are taken in the order of submits and
    of `charge_together`, all of one kind before the next, so that nobody waits for another in a circle.
    """
    missing = release_calls_together(
        Counter(TakenBy(job.account_id, job.quota_day, job.api_key_id) for job in jobs)
    )
    for job in jobs:
        if (job.account_id, job.quota_day) in missing:
            _report_missing(job)
    in_turn = sorted(jobs, key=_turn_of)
    given_back = give_back_counted(map(_funded, in_turn))
    give_back_spending(
        [_funded(job) for job in in_turn if job.pk not in given_back and _end_funding(job, give_back, now)]
    )


def charge_together(taken: Sequence[tuple[GenerationJob, Charge]], *, now: datetime) -> None:
    """Part: the jobs delivered all their images: each one's call counts and a usage event says what it was.

    Their prices are those that were said when they were accepted, for just these images: by the price book
    that was in effect then. Rows are taken in one order: days, allowances, ledger, usage; each in the order
    of the accounts.
    """
    calls: Counter[tuple[int, date]] = Counter()
    for job, charge in taken:
        calls[job.account_id, job.quota_day] += charge.calls
    missing = settle_calls_together(calls)
    jobs = [job for job, _ in taken]
    for job in jobs:
        if (job.account_id, job.quota_day) in missing:
            _report_missing(job)
    _settle_all(jobs, now)
    record_usages([_usage_of(job, charge, now) for job, charge in taken])


def _settle_all(jobs: Sequence[GenerationJob], now: datetime) -> None:
    """Those that an allowance pays for first, then those that money is held for."""
    in_turn = sorted(jobs, key=_turn_of)
    funded = [_funded(job) for job in in_turn]
    done = settle_counted(funded)
    done |= settle_captures(funded, now=now)
    for job in in_turn:
        if job.pk not in done:
            _end_funding(job, settle, now)


def _usage_of(job: GenerationJob, charge: Charge, now: datetime) -> UsageEvent:
    return UsageEvent(
        job_id=job.pk,
        account_id=job.account_id,
        api_key_id=job.api_key_id,
        day=job.quota_day,
        **asdict(charge),
        checkpoint=job.request["checkpoint"],
        kind=job.kind,
        funding=Source(job.funding),
        price_micro=job.price_micro,
        price_book_version=job.price_book_version,
        at=now,
    )


def funding_of(job: GenerationJob) -> Funding:
    """What was decided when the job was accepted."""
    return Funding(
        source=Source(job.funding),
        price_micro=job.price_micro,
        period=job.funding_period,
        book_version=job.price_book_version,
    )


def _turn_of(job: GenerationJob) -> tuple[object, ...]:
    return turn_of(_funded(job))


def _end_funding(job: GenerationJob, end: Callable[..., None], now: datetime) -> bool:
    """`end` is what becomes of it: settled or given back. Whether it did."""
    try:
        end(_funded(job), now=now)
        return True
    except ReservationMissing:
        _report_missing(job)
    except (HoldMissing, HoldEnded, CaptureExceedsHold) as fault:
        log.error("job %d: %s; see `manage.py invariants`", job.pk, fault)
    return False


def _funded(job: GenerationJob) -> FundedJob:
    return FundedJob(
        job_id=job.pk,
        account_id=job.account_id,
        api_key_id=job.api_key_id,
        day=job.quota_day,
        funding=funding_of(job),
    )


def _report_missing(job: GenerationJob) -> None:
    log.error("job %d: its day's usage has no reservation left; see `manage.py invariants`", job.pk)
