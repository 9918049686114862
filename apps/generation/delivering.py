"""What becomes of jobs that have delivered, however many at once: a statement for all of each kind. Parts."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from django.conf import settings
from django.db import connection

from apps.artifacts.services import ArtifactGroup, NewArtifact, record_groups
from apps.audit.refs import Ref
from apps.audit.services import Happened, record_together
from apps.core.db import require_transaction
from apps.generation.announcing import announce_ends
from apps.generation.charges import delivered
from apps.generation.choices import JobState
from apps.generation.models import GenerationJob, JobPreview
from apps.generation.settlement import charge_together

SUCCEED_SQL: Final = """
UPDATE generation_generationjob AS job
   SET state = 'succeeded', finished_at = %(now)s, lease_expires_at = NULL, progress_step = progress_total,
       timings = done.timings::jsonb, result = done.result::jsonb
  FROM unnest(%(ids)s::bigint[], %(timings)s::text[], %(results)s::text[]) AS done (id, timings, result)
 WHERE job.id = done.id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """What a worker has made of one job. The files behind `artifacts` are on disk."""

    artifacts: Sequence[NewArtifact]
    timings: Mapping[str, float]
    result: Mapping[str, Any] = field(default_factory=dict)
    """Joins what the job's row has (Any: JSON)."""


def deliver(ended: Sequence[tuple[GenerationJob, Delivered]], *, worker: Ref, now: datetime) -> None:
    """End running jobs, whose rows the caller has locked, as succeeded: artifacts, charges, audit, messages.

    Raises RuntimeError for one that did not deliver what was asked for.
    """
    require_transaction()
    for job, made in ended:
        if len(made.artifacts) != job.num_images:
            raise RuntimeError(f"job {job.pk} delivered {len(made.artifacts)} of {job.num_images} images")
    _succeed(ended, now)
    drop_previews([job for job, _ in ended])
    record_groups([_group_of(job, made) for job, made in ended], now=now)
    charge_together([(job, delivered(made.artifacts)) for job, made in ended], now=now)
    record_together(
        "generation.job.succeeded",
        [
            Happened(
                subject=job.ref,
                account_id=job.account_id,
                data={"images": job.num_images},
                request_id=job.request_id,
            )
            for job, _ in ended
        ],
        actor=worker,
        now=now,
    )
    announce_ends([(job, artifact_expiry(job)) for job, _ in ended], now=now)


def _succeed(ended: Sequence[tuple[GenerationJob, Delivered]], now: datetime) -> None:
    for job, made in ended:
        job.state, job.finished_at, job.lease_expires_at = JobState.SUCCEEDED, now, None
        job.progress_step, job.timings = job.progress_total, dict(made.timings)
        job.result = joined_result(job, made.result)
    with connection.cursor() as cursor:
        cursor.execute(
            SUCCEED_SQL,
            {
                "ids": [job.pk for job, _ in ended],
                "timings": [json.dumps(job.timings) for job, _ in ended],
                "results": [json.dumps(job.result) for job, _ in ended],
                "now": now,
            },
        )


def joined_result(job: GenerationJob, result: Mapping[str, Any]) -> dict[str, Any]:
    """What was judged at submit stays beside what was judged later (Any: JSON)."""
    safety = {**job.result.get("safety", {}), **result.get("safety", {})}
    return {**job.result, **result, **({"safety": safety} if safety else {})}


def _group_of(job: GenerationJob, made: Delivered) -> ArtifactGroup:
    return ArtifactGroup(
        job_id=job.pk,
        account_id=job.account_id,
        group=job.artifact_group,
        artifacts=made.artifacts,
        expires_at=artifact_expiry(job),
    )


def drop_previews(jobs: Sequence[GenerationJob]) -> None:
    """What they looked like on the way is nobody's business after their end."""
    shown = [job.pk for job in jobs if job.request.get("wants_previews")]
    if shown:
        JobPreview.objects.filter(job_id__in=shown).delete()


def artifact_expiry(job: GenerationJob) -> datetime:
    """When the job's links end: counted from acceptance, so that links can be given out before the image."""
    kept = timedelta(seconds=settings.ARTIFACT_TTL_S) if job.keep_days is None else timedelta(job.keep_days)
    return (job.queued_at + kept).replace(microsecond=0)
