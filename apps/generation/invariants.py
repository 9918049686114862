"""What must be true of the rows and files at every moment, whatever was killed before.

Each check is a query for counter-examples and yields one line for each kind it finds. Open jobs
may be between two states; what is said of them holds all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from hashlib import sha256

from django.conf import settings
from django.db import connection

from apps.artifacts import store
from apps.artifacts.models import Artifact
from apps.audit.services import verify_chain
from apps.billing.ledger.invariants import BILLING_CHECKS
from apps.generation.models import GenerationJob

Check = Callable[[datetime], Iterator[str]]

# A lease this far past its end should have been taken back by some reaper.
REAPER_PATIENCE_S = 90.0
# Files are written before their rows: younger ones may belong to a job that is just being settled.
FILE_GRACE = timedelta(hours=1)
SAMPLE = 5


def find_violations(*, now: datetime) -> dict[str, list[str]]:
    """Every check by its name with what it found: an empty list is a pass."""
    return {check.__name__.removeprefix("_").replace("_", " "): list(check(now)) for check in CHECKS}


def _every_accepted_job_is_open_or_ended_once(now: datetime) -> Iterator[str]:
    """The audit trail has one acceptance for each job, and for each ended job one end, of its kind."""
    yield from _rows(
        "job {} is {} but has {} acceptances and the ends [{}] on record",
        """
        SELECT job.id, job.state, COALESCE(seen.accepted, 0), COALESCE(seen.ends, '')
          FROM generation_generationjob AS job
          LEFT JOIN (SELECT subject_id::bigint AS id,
                            count(*) FILTER (WHERE name = 'generation.job.submitted') AS accepted,
                            string_agg(split_part(name, '.', 3), ',') FILTER (WHERE name IN (
                                'generation.job.succeeded', 'generation.job.failed',
                                'generation.job.canceled', 'generation.job.quarantined',
                                'generation.job.expired')) AS ends
                       FROM audit_auditevent WHERE subject_kind = 'generation_job' GROUP BY 1) AS seen
            ON seen.id = job.id
         WHERE COALESCE(seen.accepted, 0) <> 1
            OR COALESCE(seen.ends, '') <> CASE WHEN job.finished_at IS NULL THEN '' ELSE job.state END
        """,
    )


def _every_audited_job_has_a_row(now: datetime) -> Iterator[str]:
    yield from _rows(
        "job {} was accepted according to the audit trail but has no row",
        """
        SELECT event.subject_id FROM audit_auditevent AS event
          LEFT JOIN generation_generationjob AS job ON job.id = event.subject_id::bigint
         WHERE event.subject_kind = 'generation_job' AND event.name = 'generation.job.submitted'
           AND job.id IS NULL
        """,
    )


def _usage_is_charged_once_for_succeeded_jobs_alone(now: datetime) -> Iterator[str]:
    yield from _rows(
        "job {} is {} with {} usage events for {} images of {}",
        """
        SELECT job.id, job.state, count(event.id), COALESCE(sum(event.images), 0), job.num_images
          FROM generation_generationjob AS job LEFT JOIN billing_usageevent AS event ON event.job_id = job.id
         GROUP BY job.id
        HAVING count(event.id) <> (job.state = 'succeeded')::int
            OR COALESCE(sum(event.images), 0) <> (job.state = 'succeeded')::int * job.num_images
        """,
    )


def _delivered_images_are_retrievable(now: datetime) -> Iterator[str]:
    """Counts rows; expired images of old jobs may be gone, and so may those that somebody deleted."""
    yield from _rows(
        "job {} is {} with {} images on record instead of {}",
        """
        SELECT job.id, job.state, count(artifact.id), job.num_images
          FROM generation_generationjob AS job
          LEFT JOIN artifacts_artifact AS artifact ON artifact.job_id = job.id
         GROUP BY job.id
        HAVING (job.state = 'succeeded' AND count(artifact.id) <> job.num_images
                AND job.queued_at + COALESCE(
                        make_interval(days => job.keep_days), make_interval(secs => %s)) > %s
                AND NOT jsonb_exists(job.result, 'deleted_at'))
            OR (job.state <> 'succeeded' AND count(artifact.id) > 0)
        """,
        [settings.ARTIFACT_TTL_S, now],
    )


def _daily_usage_is_the_sum_of_its_jobs(now: datetime) -> Iterator[str]:
    yield from _rows(
        "account {} on {}: {} calls used but {} on record, {} reserved but {} open jobs",
        """
        SELECT COALESCE(usage.account_id, jobs.account_id), COALESCE(usage.day, jobs.day),
               COALESCE(usage.settled, 0), COALESCE(jobs.used, 0),
               COALESCE(usage.reserved, 0), COALESCE(jobs.open, 0)
          FROM quotas_dailyusage AS usage
          FULL JOIN (SELECT job.account_id, job.quota_day AS day, COALESCE(sum(event.calls), 0) AS used,
                            count(*) FILTER (WHERE job.finished_at IS NULL) AS open
                       FROM generation_generationjob AS job
                       LEFT JOIN billing_usageevent AS event ON event.job_id = job.id
                      GROUP BY 1, 2) AS jobs
            ON jobs.account_id = usage.account_id AND jobs.day = usage.day
         WHERE COALESCE(usage.settled, 0) <> COALESCE(jobs.used, 0)
            OR COALESCE(usage.reserved, 0) <> COALESCE(jobs.open, 0)
        """,
    )


def _no_lease_is_forgotten(now: datetime) -> Iterator[str]:
    yield from _rows(
        "job {} has been running on a lease that ended at {}",
        """
        SELECT id, lease_expires_at FROM generation_generationjob
         WHERE state = 'running' AND lease_expires_at < %s
        """,
        [now - timedelta(seconds=REAPER_PATIENCE_S)],
    )


def _idempotency_keys_name_their_job(now: datetime) -> Iterator[str]:
    yield from _rows(
        "idempotency record {} of account {} has no job",
        "SELECT id, account_id FROM generation_idempotencyrecord WHERE job_id IS NULL",
    )


def _every_end_is_told_once(now: datetime) -> Iterator[str]:
    """To whoever asked for a webhook; the log forgets old deliveries."""
    yield from _rows(
        "job {} is {} and has a webhook, but {} deliveries",
        """
        SELECT job.id, job.state, count(delivery.id)
          FROM generation_generationjob AS job
          LEFT JOIN webhooks_delivery AS delivery ON delivery.job_id = job.id
         WHERE job.webhook IS NOT NULL AND (job.finished_at IS NULL OR job.finished_at > %s)
         GROUP BY job.id
        HAVING count(delivery.id) <> (job.finished_at IS NOT NULL)::int
        """,
        [now - timedelta(days=settings.WEBHOOK_LOG_DAYS)],
    )


def _every_image_row_has_its_file(now: datetime) -> Iterator[str]:
    for artifact in Artifact.objects.filter(expires_at__gt=now).iterator():
        try:
            data = artifact.file_path.read_bytes()
        except FileNotFoundError:
            yield f"artifact {artifact.pk} of job {artifact.job_id}: its file is missing"
            continue
        if sha256(data).hexdigest() != artifact.sha256:
            yield f"artifact {artifact.pk} of job {artifact.job_id}: its file has another digest"


def _every_old_file_has_its_row(now: datetime) -> Iterator[str]:
    known = {artifact.file_path for artifact in Artifact.objects.iterator()}
    limit = (now - FILE_GRACE).timestamp()
    for path in store.list_files():
        # What the sweep deletes between the two looks is no difference any more.
        with suppress(FileNotFoundError):
            if path not in known and path.stat().st_mtime < limit:
                yield f"file {path.name} belongs to no image on record"


def _audit_chain_is_whole(now: datetime) -> Iterator[str]:
    report = verify_chain()
    if report.broken_at is not None:
        yield f"the audit chain is broken at link {report.broken_at}"


def _open_holds_belong_to_open_jobs(now: datetime) -> Iterator[str]:
    """Money is held from the moment a job is accepted until it ends, and not longer."""
    yield from _rows(
        "job {} is {} and its hold is {}",
        """
        SELECT hold.job_id, COALESCE(job.state, 'unknown'), hold.state
          FROM billing_hold AS hold LEFT JOIN generation_generationjob AS job ON job.id = hold.job_id
         WHERE hold.state <> CASE WHEN job.id IS NOT NULL AND job.finished_at IS NULL THEN 'open'
                                  WHEN job.state = 'succeeded' THEN 'captured' ELSE 'released' END
        """,
    )


def _allowances_are_taken_by_jobs(now: datetime) -> Iterator[str]:
    """Calls that cost nothing are reserved by open jobs, settled by succeeded ones, and by nothing else."""
    yield from _rows(
        "account {}, {} of {}: {} reserved but {} open jobs, {} settled but {} succeeded",
        """
        SELECT taken.account_id, taken.source, taken.period, taken.reserved, count(job.id) FILTER (
                   WHERE job.finished_at IS NULL),
               taken.settled, count(job.id) FILTER (WHERE job.state = 'succeeded')
          FROM quotas_allowance AS taken
          LEFT JOIN generation_generationjob AS job
            ON job.account_id = taken.account_id AND job.funding = taken.source
           AND job.funding_period = taken.period
         GROUP BY taken.id
        HAVING taken.reserved > count(job.id) FILTER (WHERE job.finished_at IS NULL)
            OR taken.settled > count(job.id) FILTER (WHERE job.state = 'succeeded')
        """,
    )


def _days_of_usage_are_the_sum_of_its_events(now: datetime) -> Iterator[str]:
    yield from _rows(
        "account {} on {}: {} calls for {} micro-USD added up, but {} for {} in events",
        """
        SELECT COALESCE(total.account_id, event.account_id), COALESCE(total.day, event.day),
               COALESCE(total.calls, 0), COALESCE(total.micro, 0), COALESCE(event.calls, 0),
               COALESCE(event.micro, 0)
          FROM (SELECT account_id, day, sum(calls) AS calls, sum(price_micro) AS micro
                  FROM billing_usageday GROUP BY 1, 2) AS total
          FULL JOIN (SELECT account_id, day, sum(calls) AS calls, sum(price_micro) AS micro
                       FROM billing_usageevent GROUP BY 1, 2) AS event
            ON event.account_id = total.account_id AND event.day = total.day
         WHERE (total.calls, total.micro) IS DISTINCT FROM (event.calls, event.micro)
        """,
    )


CHECKS: tuple[Check, ...] = (
    _every_accepted_job_is_open_or_ended_once,
    _every_audited_job_has_a_row,
    _usage_is_charged_once_for_succeeded_jobs_alone,
    _delivered_images_are_retrievable,
    _daily_usage_is_the_sum_of_its_jobs,
    _no_lease_is_forgotten,
    _idempotency_keys_name_their_job,
    _every_end_is_told_once,
    _every_image_row_has_its_file,
    _every_old_file_has_its_row,
    _audit_chain_is_whole,
    _open_holds_belong_to_open_jobs,
    _allowances_are_taken_by_jobs,
    _days_of_usage_are_the_sum_of_its_events,
    *BILLING_CHECKS,
)


def count_jobs() -> dict[str, int]:
    """How many jobs there are in each state."""
    states = GenerationJob.objects.values_list("state", flat=True)
    return {state: states.filter(state=state).count() for state in sorted(set(states.distinct()))}


def _rows(sentence: str, query: str, parameters: Sequence[datetime | int] = ()) -> Iterator[str]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        for row in cursor.fetchall():
            yield sentence.format(*row)
