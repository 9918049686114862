"""What workers do with jobs: heartbeat, finish, fail, release; and what the reaper does for the dead.

Every write of a worker is conditional on the fence it was given at claim. A worker that lost its
lease therefore cannot end a job that somebody else is running: its UPDATE hits no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Q, QuerySet

from apps.artifacts.services import NewArtifact
from apps.audit.refs import Ref
from apps.audit.services import record
from apps.generation.channels import notify_changed, notify_queued
from apps.generation.choices import JobState
from apps.generation.delivering import Delivered, deliver, drop_previews
from apps.generation.faults import EXPIRED, QUARANTINED, Failure
from apps.generation.models import GenerationJob
from apps.generation.refusing import Refused, refuse

REAP_BATCH: Final = 200
# Longest statement of a worker that is about to end; its jobs are recovered without it, too.
LAST_STATEMENT_MS: Final = 1000


class LeaseLost(Exception):
    """The job is no longer this worker's: it was re-queued, canceled or given to another."""


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write one job, as given at claim."""

    job_id: int
    fence: int


@dataclass(frozen=True, slots=True)
class Renewal:
    """What a heartbeat found."""

    kept: frozenset[int]
    """Jobs that are still this worker's."""
    canceled: frozenset[int]
    """Those of them whose owner wants them stopped."""


def lease_of(job: GenerationJob) -> Lease:
    """The lease that came with a claim."""
    return Lease(job_id=job.pk, fence=job.fence)


def renew_leases(*, leases: Sequence[Lease], now: datetime) -> Renewal:
    """Extend the leases that are still ours; the ones missing from the answer are lost."""
    if not leases:
        return Renewal(frozenset(), frozenset())
    with connection.cursor() as cursor:
        cursor.execute(
            """
            UPDATE generation_generationjob AS job SET lease_expires_at = %s
              FROM unnest(%s::bigint[], %s::integer[]) AS held(id, fence)
             WHERE job.id = held.id AND job.fence = held.fence AND job.state = 'running'
            RETURNING job.id, job.is_cancel_requested
            """,
            [
                now + timedelta(seconds=settings.LEASE_S),
                [lease.job_id for lease in leases],
                [lease.fence for lease in leases],
            ],
        )
        rows = cursor.fetchall()
    return Renewal(frozenset(row[0] for row in rows), frozenset(row[0] for row in rows if row[1]))


def list_cancel_requests(*, leases: Sequence[Lease]) -> frozenset[int]:
    """Which of these running jobs their owners want stopped."""
    wanted = GenerationJob.objects.filter(
        pk__in=[lease.job_id for lease in leases], state=JobState.RUNNING, is_cancel_requested=True
    )
    return frozenset(wanted.values_list("pk", flat=True))


def finish_job(
    *,
    lease: Lease,
    artifacts: Sequence[NewArtifact],
    timings: dict[str, float],
    worker: Ref,
    now: datetime,
    result: Mapping[str, Any] | None = None,
) -> None:
    """The job delivered: artifact rows, charge and audit in one transaction with its state.

    The files behind `artifacts` are already on disk. `result` (Any: JSON) joins what the row's has. Raises
    LeaseLost, having written nothing.
    """
    made = Delivered(artifacts=artifacts, timings=timings, result=result or {})
    if finish_jobs({lease: made}, worker=worker, now=now):
        raise LeaseLost(f"job {lease.job_id} at fence {lease.fence}")


def finish_jobs(made: Mapping[Lease, Delivered], *, worker: Ref, now: datetime) -> frozenset[Lease]:
    """`finish_job` for several at once, all in one transaction; the leases that were lost.

    Of those nothing is written. Raises for all what it raises for one.
    """
    with transaction.atomic(durable=True):
        kept = _locked(made)
        if kept:
            deliver([(kept[lease], made[lease]) for lease in kept], worker=worker, now=now)
    return frozenset(made) - frozenset(kept)


def fail_job(*, lease: Lease, failure: Failure, worker: Ref, now: datetime) -> None:
    """The job cannot be completed: give its call back. Raises LeaseLost, having written nothing."""
    if refuse_jobs({lease: failure}, worker=worker, now=now):
        raise LeaseLost(f"job {lease.job_id} at fence {lease.fence}")


def finish_cancel(*, lease: Lease, worker: Ref, now: datetime) -> None:
    """The worker stopped a job at its owner's wish. Raises LeaseLost, having written nothing."""
    if refuse_jobs({lease: None}, worker=worker, now=now):
        raise LeaseLost(f"job {lease.job_id} at fence {lease.fence}")


def refuse_jobs(failures: Mapping[Lease, Failure | None], *, worker: Ref, now: datetime) -> frozenset[Lease]:
    """`fail_job` of several, and `finish_cancel` of those without a failure; the leases that were lost.

    All in one transaction. Of lost ones nothing is written.
    """
    with transaction.atomic(durable=True):
        held = _locked(failures)
        refuse([(held[lease], _how(failures[lease])) for lease in held], actor=worker, now=now)
    return frozenset(failures) - frozenset(held)


def _how(failure: Failure | None) -> Refused:
    state = JobState.CANCELED if failure is None else JobState.FAILED
    return Refused(state=state, failure=failure)


def _locked(leases: Iterable[Lease]) -> dict[Lease, GenerationJob]:
    """Part: the rows of those leases that are still good, in the order of all who lock several."""
    wanted = list(leases)
    rows = _held(*wanted).select_for_update(of=("self",)).order_by("pk").in_bulk()
    return {lease: rows[lease.job_id] for lease in wanted if lease.job_id in rows}


def release_jobs(*, leases: Sequence[Lease], worker: Ref, now: datetime) -> int:
    """Hand jobs back unfinished through no fault of theirs; how many were still ours.

    Those whose owner wants them stopped end here: nobody may come who would notice the wish.
    """
    with transaction.atomic(durable=True):
        return _hand_back(leases, worker, now)


def hand_back_crashed(*, leases: Sequence[Lease], cause: Failure, worker: Ref, now: datetime) -> int:
    """What a worker that is about to end does in place of its reaper; how many jobs were still its.

    They count as crashed, as in `reap_crashed`: which of them is to blame cannot be told. One that is
    quarantined for it ends with `cause`. Raises django.db.Error within moments when the database is away.
    """
    with transaction.atomic(durable=True):
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [str(LAST_STATEMENT_MS)])
        return _hand_back(leases, worker, now, cause=cause)


def _hand_back(leases: Sequence[Lease], worker: Ref, now: datetime, *, cause: Failure | None = None) -> int:
    """Part: recover those that are still ours, as crashed when there is a `cause`."""
    in_order = sorted(leases, key=lambda lease: lease.job_id)
    held = [job for lease in in_order for job in _held(lease).select_for_update()]
    _recover(held, worker, now, is_crash=cause is not None, cause=cause or QUARANTINED)
    return len(held)


def reap_crashed(*, worker: str, actor: Ref, now: datetime) -> int:
    """Take back the jobs of a worker that is known to be dead, without waiting for their leases.

    Only the holder of the worker's lock may call this: the lock proves that the old process is gone.
    """
    return _reap({"claimed_by": worker}, actor=actor, now=now)


def reap_released(*, worker: str, actor: Ref, now: datetime) -> int:
    """Like `reap_crashed` for a worker that lost the database but lives: no job of it is to blame."""
    return _reap({"claimed_by": worker}, actor=actor, now=now, is_crash=False)


def reap_expired(*, actor: Ref, now: datetime) -> int:
    """Take back jobs whose lease ran out, and end queued jobs that waited past their deadline."""
    reaped = _reap({"lease_expires_at__lt": now}, actor=actor, now=now)
    with transaction.atomic(durable=True):
        late = GenerationJob.objects.select_for_update(skip_locked=True, of=("self",)).filter(
            state=JobState.QUEUED, deadline_at__lte=now
        )
        expired = list(late.order_by("pk")[:REAP_BATCH])
        too_late = Refused(state=JobState.EXPIRED, failure=EXPIRED)
        refuse([(job, too_late) for job in expired], actor=actor, now=now)
    return reaped + len(expired)


def _reap(conditions: dict[str, object], *, actor: Ref, now: datetime, is_crash: bool = True) -> int:
    """Each row on its merits: canceled if so wanted, quarantined after too many crashes, else re-queued."""
    with transaction.atomic(durable=True):
        dead = list(
            GenerationJob.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(state=JobState.RUNNING, **conditions)
            .order_by("pk")[:REAP_BATCH]
        )
        _recover(dead, actor, now, is_crash=is_crash)
    return len(dead)


def _recover(
    jobs: Sequence[GenerationJob], actor: Ref, now: datetime, *, is_crash: bool, cause: Failure = QUARANTINED
) -> None:
    """Part: what becomes of jobs whose worker will not end them; `cause` is what quarantined ones hear."""
    ended = []
    for job in jobs:
        job.crashes += is_crash
        if job.is_cancel_requested:
            ended.append((job, Refused(state=JobState.CANCELED)))
        elif job.crashes >= settings.MAX_CRASHES:
            ended.append((job, Refused(state=JobState.QUARANTINED, failure=cause)))
        else:
            _requeue(job, actor, now)
    refuse(ended, actor=actor, now=now)
    if jobs:
        notify_queued()


def _requeue(job: GenerationJob, actor: Ref, now: datetime) -> None:
    """Part: give a row that this transaction has locked to the next worker."""
    job.state = JobState.QUEUED
    job.claimed_by = ""
    job.lease_expires_at = None
    job.progress_step = 0
    drop_previews([job])
    job.save(update_fields=["state", "claimed_by", "lease_expires_at", "progress_step", "crashes"])
    record(
        "generation.job.requeued",
        actor=actor,
        subject=job.ref,
        account_id=job.account_id,
        data={"crashes": job.crashes},
        now=now,
    )
    notify_changed(job.pk)


def _held(*leases: Lease) -> QuerySet[GenerationJob]:
    """The rows whose lease is good: same fence, still running. The fault drills' control replaces this."""
    own = Q(pk__in=[])
    for lease in leases:
        own |= Q(pk=lease.job_id, fence=lease.fence)
    return GenerationJob.objects.filter(own, state=JobState.RUNNING)
