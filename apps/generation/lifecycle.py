"""What workers do with jobs: claim, heartbeat, finish, fail, release; and what the reaper does for the dead.

Every write of a worker is conditional on the fence it was given at claim. A worker that lost its
lease therefore cannot end a job that somebody else is running: its UPDATE hits no row.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, QuerySet

from apps.artifacts.services import NewArtifact, record_artifacts
from apps.audit.refs import Ref
from apps.audit.services import record
from apps.core.db import lock_key
from apps.generation.announcing import announce_end
from apps.generation.channels import notify_changed, notify_queued
from apps.generation.charges import delivered
from apps.generation.choices import JobState
from apps.generation.faults import EXPIRED, QUARANTINED, Failure
from apps.generation.models import GenerationJob, JobPreview
from apps.generation.safety_policy import BLOCKED, BLOCKED_CODE
from apps.generation.settlement import charge, release_reservation

REAP_BATCH: Final = 200
CLAIM_LOCK: Final = "generation.claim"
CLAIM_TRIES: Final = 10
CLAIM_PAUSE_S: Final = 0.002
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


# One statement: locking, choosing and marking in one round trip, skipping rows other workers are claiming.
# MATERIALIZED, because a plain subquery may be run once for each row of the table it is joined to, and
# finds other rows each time: its LIMIT would then limit nothing.
# Jobs of an account that has as many running as its plan allows are passed over, as are those of one batch
# that would be too many; they keep their places.
# Two statements in one round trip: the second sees what whoever held the lock before has committed. Without
# the lock, jobs of limited accounts are left alone.
CLAIM_SQL = """
SELECT set_config('darkroom.may_count', pg_try_advisory_xact_lock(%(lock)s)::text, true);
WITH busy AS MATERIALIZED (
    SELECT account_id, count(*) AS jobs, max(max_parallel) AS most FROM generation_generationjob
     WHERE state = 'running' GROUP BY account_id),
found AS MATERIALIZED (
    SELECT id, account_id, max_parallel, priority, queue_tag FROM generation_generationjob
     WHERE state = 'queued' AND deadline_at > %(now)s AND (crashes > 0) = %(suspects)s
       AND (current_setting('darkroom.may_count')::boolean OR max_parallel IS NULL)
       AND account_id NOT IN (SELECT account_id FROM busy WHERE jobs >= most)
     ORDER BY priority DESC, queue_tag, id
     LIMIT %(limit)s FOR UPDATE SKIP LOCKED),
placed AS (
    SELECT found.id, found.max_parallel, COALESCE(busy.jobs, 0) + row_number() OVER (
               PARTITION BY found.account_id ORDER BY priority DESC, queue_tag, found.id) AS place
      FROM found LEFT JOIN busy USING (account_id)),
picked AS MATERIALIZED (
    SELECT id FROM placed WHERE max_parallel IS NULL OR place <= max_parallel)
UPDATE generation_generationjob AS job
   SET state = 'running', attempt = attempt + 1, fence = fence + 1, claimed_by = %(worker)s,
       claimed_at = %(now)s, started_at = COALESCE(started_at, %(now)s),
       lease_expires_at = %(lease)s, progress_step = 0
  FROM picked
 WHERE job.id = picked.id
RETURNING job.id, job.max_parallel
"""


def claim_jobs(
    *, worker: str, limit: int, now: datetime, suspects: bool = False, lease_s: float | None = None
) -> list[GenerationJob]:
    """Take up to `limit` queued jobs, within a priority in the order of their accounts' shares (`queueing`).

    `suspects` selects the jobs whose worker has crashed before; the pump runs those alone, so that
    a poisonous request does not take its neighbours with it.
    """
    lease = now + timedelta(seconds=settings.LEASE_S if lease_s is None else lease_s)
    parameters = {"worker": worker, "now": now, "lease": lease, "suspects": suspects}
    ids: list[int] = []
    tries = CLAIM_TRIES
    while len(ids) < limit and tries:
        may_count, more = _claim(parameters | {"limit": limit - len(ids)})
        ids += more
        if may_count and not any(more.values()):
            # Nothing was passed over that would leave room for others.
            break
        if not may_count:
            tries -= 1
            time.sleep(CLAIM_PAUSE_S)
    claimed = GenerationJob.objects.in_bulk(ids).values() if ids else ()
    return sorted(claimed, key=lambda job: (-job.priority, job.queue_tag, job.pk))


def _claim(parameters: Mapping[str, Any]) -> tuple[bool, dict[int, int | None]]:
    """Claimed jobs with how many of their account may run, and whether running ones could be counted.

    `parameters` (Any) are the statement's. One claimer counts at a time: two that counted an account's
    running jobs at once would both find room. False where somebody else is counting, which takes a
    millisecond or two; then only jobs without such a limit are claimed.
    """
    with connection.cursor() as cursor:
        cursor.execute(CLAIM_SQL, {**parameters, "lock": lock_key(CLAIM_LOCK)})
        may_count = cursor.fetchone()[0] == "true"
        cursor.nextset()
        return may_count, dict(cursor.fetchall())


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
    with transaction.atomic(durable=True):
        job = _end(lease, JobState.SUCCEEDED, now=now, timings=timings)
        if len(artifacts) != job.num_images:
            raise RuntimeError(f"job {job.pk} delivered {len(artifacts)} of {job.num_images} images")
        if result:
            _add_result(job, result)
        record_artifacts(
            job_id=job.pk,
            account_id=job.account_id,
            group=job.artifact_group,
            artifacts=artifacts,
            expires_at=artifact_expiry(job),
            now=now,
        )
        charge(job, delivered(artifacts), now=now)
        record(
            "generation.job.succeeded",
            actor=worker,
            subject=job.ref,
            account_id=job.account_id,
            data={"images": job.num_images},
            now=now,
        )
        announce_end(job, links_end_at=artifact_expiry(job), now=now)


def artifact_expiry(job: GenerationJob) -> datetime:
    """When the job's links end: counted from acceptance, so that links can be given out before the image."""
    kept = timedelta(seconds=settings.ARTIFACT_TTL_S) if job.keep_days is None else timedelta(job.keep_days)
    return (job.queued_at + kept).replace(microsecond=0)


def fail_job(*, lease: Lease, failure: Failure, worker: Ref, now: datetime) -> None:
    """The job cannot be completed: give its call back. Raises LeaseLost, having written nothing."""
    with transaction.atomic(durable=True):
        job = _end(lease, JobState.FAILED, now=now, failure=failure)
        if failure.code == BLOCKED_CODE:
            _add_result(job, {"safety": {"images": BLOCKED}})
        _settle_refused(job, "generation.job.failed", worker, now)


def finish_cancel(*, lease: Lease, worker: Ref, now: datetime) -> None:
    """The worker stopped a job at its owner's wish. Raises LeaseLost, having written nothing."""
    with transaction.atomic(durable=True):
        job = _end(lease, JobState.CANCELED, now=now)
        _settle_refused(job, "generation.job.canceled", worker, now)


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
    for job in held:
        job.crashes += cause is not None
        _recover(job, worker, now, cause=cause or QUARANTINED)
    if held:
        notify_queued()
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
        for job in late.order_by("pk")[:REAP_BATCH]:
            _close(job, JobState.EXPIRED, EXPIRED, now)
            _settle_refused(job, "generation.job.expired", actor, now)
            reaped += 1
    return reaped


def _reap(conditions: dict[str, object], *, actor: Ref, now: datetime, is_crash: bool = True) -> int:
    """Each row on its merits: canceled if so wanted, quarantined after too many crashes, else re-queued."""
    with transaction.atomic(durable=True):
        dead = list(
            GenerationJob.objects.select_for_update(skip_locked=True, of=("self",))
            .filter(state=JobState.RUNNING, **conditions)
            .order_by("pk")[:REAP_BATCH]
        )
        for job in dead:
            job.crashes += is_crash
            _recover(job, actor, now)
        if dead:
            notify_queued()
    return len(dead)


def _recover(job: GenerationJob, actor: Ref, now: datetime, *, cause: Failure = QUARANTINED) -> None:
    """Part: what becomes of a job whose worker will not end it; `cause` is what a quarantined one hears."""
    if job.is_cancel_requested:
        _close(job, JobState.CANCELED, None, now)
        _settle_refused(job, "generation.job.canceled", actor, now)
    elif job.crashes >= settings.MAX_CRASHES:
        _close(job, JobState.QUARANTINED, cause, now)
        _settle_refused(job, "generation.job.quarantined", actor, now)
    else:
        job.state = JobState.QUEUED
        job.claimed_by = ""
        job.lease_expires_at = None
        job.progress_step = 0
        _drop_preview(job)
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


def _close(job: GenerationJob, state: JobState, failure: Failure | None, now: datetime) -> None:
    """Part: end a row that this transaction has locked."""
    job.state = state
    job.finished_at = now
    job.lease_expires_at = None
    job.error_code = failure.code if failure else ""
    job.error_message = failure.message if failure else ""
    _drop_preview(job)
    job.save(
        update_fields=["state", "finished_at", "lease_expires_at", "error_code", "error_message", "crashes"]
    )


def _end(
    lease: Lease,
    state: JobState,
    *,
    now: datetime,
    failure: Failure | None = None,
    timings: dict[str, float] | None = None,
) -> GenerationJob:
    """Part: the transition itself. One row affected is the proof that it happened, once."""
    changes: dict[str, object] = {"state": state, "finished_at": now, "lease_expires_at": None}
    if failure is not None:
        changes |= {"error_code": failure.code, "error_message": failure.message}
    if state == JobState.SUCCEEDED:
        changes |= {"timings": timings or {}, "progress_step": F("progress_total")}
    if _held(lease).update(**changes) != 1:
        raise LeaseLost(f"job {lease.job_id} at fence {lease.fence}")
    job = GenerationJob.objects.get(pk=lease.job_id)
    _drop_preview(job)
    return job


def _add_result(job: GenerationJob, result: Mapping[str, Any]) -> None:
    """Part: what was judged at submit stays beside what was judged later (Any: JSON)."""
    safety = {**job.result.get("safety", {}), **result.get("safety", {})}
    job.result = {**job.result, **result, **({"safety": safety} if safety else {})}
    job.save(update_fields=["result"])


def _drop_preview(job: GenerationJob) -> None:
    """Part: what it looked like on the way is nobody's business after its end."""
    if job.request.get("wants_previews"):
        JobPreview.objects.filter(job=job).delete()


def _held(lease: Lease) -> QuerySet[GenerationJob]:
    """The row while the lease is good: same fence, still running. The fault drills' control replaces this."""
    return GenerationJob.objects.filter(pk=lease.job_id, fence=lease.fence, state=JobState.RUNNING)


def _settle_refused(job: GenerationJob, event: str, actor: Ref, now: datetime) -> None:
    """Part: what every end without images has in common."""
    release_reservation(job, now=now)
    data = {"error": job.error_code} if job.error_code else {}
    record(event, actor=actor, subject=job.ref, account_id=job.account_id, data=data, now=now)
    announce_end(job, links_end_at=artifact_expiry(job), now=now)
