"""What becomes of jobs that deliver nothing, however many: a statement for all of each kind. Parts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection

from apps.audit.refs import Ref
from apps.audit.services import Happened, record_together
from apps.core.db import require_transaction
from apps.generation.announcing import announce_ends
from apps.generation.choices import JobState
from apps.generation.delivering import artifact_expiry, drop_previews, joined_result
from apps.generation.faults import Failure
from apps.generation.models import GenerationJob
from apps.generation.safety_policy import BLOCKED, BLOCKED_CODE
from apps.generation.settlement import release_together

CLOSE_SQL: Final = """
UPDATE generation_generationjob AS job
   SET state = ended.state, finished_at = %(now)s, lease_expires_at = NULL, error_code = ended.code,
       error_message = ended.message, crashes = ended.crashes, result = ended.result::jsonb
  FROM unnest(%(ids)s::bigint[], %(states)s::text[], %(codes)s::text[], %(messages)s::text[],
              %(crashes)s::integer[], %(results)s::text[])
           AS ended (id, state, code, message, crashes, result)
 WHERE job.id = ended.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """How a job ends that delivers nothing."""

    state: JobState
    failure: Failure | None = None
    """What its owner hears; None where it was its owner's wish."""


def refuse(ended: Sequence[tuple[GenerationJob, Refused]], *, actor: Ref, now: datetime) -> None:
    """End jobs, whose rows the caller has locked: state, what was reserved for them, audit, messages.

    All rows first and all that was reserved for them after that: see `release_together`. Each event is named
    by the state. The jobs' own `crashes` are written as they stand.
    """
    require_transaction()
    if not ended:
        return
    _close(ended, now)
    jobs = [job for job, _ in ended]
    drop_previews(jobs)
    release_together(jobs, now=now)
    for state in sorted({job.state for job in jobs}):
        record_together(
            f"generation.job.{state}",
            [_refused(job) for job in jobs if job.state == state],
            actor=actor,
            now=now,
        )
    announce_ends([(job, artifact_expiry(job)) for job in jobs], now=now)


def _close(ended: Sequence[tuple[GenerationJob, Refused]], now: datetime) -> None:
    for job, how in ended:
        job.state, job.finished_at, job.lease_expires_at = how.state, now, None
        job.error_code = how.failure.code if how.failure else ""
        job.error_message = how.failure.message if how.failure else ""
        if job.error_code == BLOCKED_CODE:
            job.result = joined_result(job, {"safety": {"images": BLOCKED}})
    jobs = [job for job, _ in ended]
    with connection.cursor() as cursor:
        cursor.execute(
            CLOSE_SQL,
            {
                "ids": [job.pk for job in jobs],
                "states": [str(job.state) for job in jobs],
                "codes": [job.error_code for job in jobs],
                "messages": [job.error_message for job in jobs],
                "crashes": [job.crashes for job in jobs],
                "results": [json.dumps(job.result) for job in jobs],
                "now": now,
            },
        )


def _refused(job: GenerationJob) -> Happened:
    return Happened(
        subject=job.ref,
        account_id=job.account_id,
        data={"error": job.error_code} if job.error_code else {},
        request_id=job.request_id,
    )
