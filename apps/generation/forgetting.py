"""Emptying what callers wrote, once a job's images had their time. Numbers stay, for counts and money."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.db.models import QuerySet

from apps.core.db import require_transaction
from apps.generation.choices import TERMINAL_STATES
from apps.generation.deleting import DELETED_AT
from apps.generation.models import GenerationJob, IdempotencyRecord, JobPreview
from apps.generation.resolved import DIGESTS

TEXTS: Final = frozenset(
    {
        "prompt",
        "negative_prompt",
        "revised_prompt",
        "text",
        "styles",
        "missing_networks",
        "safety_identifier",
        "task_id",
        "webhook",
    }
)
"""Keys whose values callers wrote, at any depth of a stored request or of a dialect's options."""
ECHO: Final = "echo"
"""Key of an object that repeats fields of a call: addresses of pictures, and whatever else was sent."""
NO_DIGEST: Final = "0" * 64
KEPT_RESULTS: Final = ("safety", DELETED_AT)
# Rows of versions that did not date them; also those of a version that runs beside this one for a while.
DATE_SQL: Final = """
UPDATE generation_generationjob AS job
   SET forget_at = job.queued_at
                 + COALESCE(make_interval(days => job.keep_days), make_interval(secs => %(ttl_s)s))
 WHERE job.id IN (SELECT id FROM generation_generationjob
                   WHERE forget_at IS NULL AND NOT is_forgotten
                   LIMIT %(limit)s FOR UPDATE SKIP LOCKED)
"""


def date_undated(*, limit: int) -> int:
    """Part: say of up to `limit` jobs when they are forgotten; how many there were."""
    require_transaction()
    with connection.cursor() as cursor:
        cursor.execute(DATE_SQL, {"ttl_s": settings.ARTIFACT_TTL_S, "limit": limit})
        return int(cursor.rowcount)


def jobs_to_forget(*, until: datetime) -> QuerySet[GenerationJob]:
    """Ended jobs whose texts are due by `until`; the index `job_to_forget` finds them."""
    return GenerationJob.objects.filter(
        is_forgotten=False, forget_at__lte=until, state__in=TERMINAL_STATES
    ).order_by("forget_at")


def forget_jobs(*, now: datetime, limit: int) -> list[GenerationJob]:
    """Part: empty up to `limit` due jobs, oldest first, with previews and stored answers; which they were.

    May run twice at once: rows that another sweep has locked are left to it.
    """
    require_transaction()
    due = jobs_to_forget(until=now).select_for_update(skip_locked=True, of=("self",))
    jobs = list(due[:limit])
    for job in jobs:
        job.request = without_texts(job.request)
        job.client_options = without_texts(job.client_options)
        job.track_id = job.webhook = None
        job.result = {name: job.result[name] for name in KEPT_RESULTS if name in job.result}
        job.is_forgotten = True
    columns = ["request", "client_options", "track_id", "webhook", "result", "is_forgotten"]
    GenerationJob.objects.bulk_update(jobs, columns)
    _forget_beside([job.pk for job in jobs])
    return jobs


def _forget_beside(job_ids: Sequence[int]) -> None:
    JobPreview.objects.filter(job_id__in=job_ids).delete()
    # The key stays, so that a late repeat makes no second job: it is answered from the emptied row.
    answers = IdempotencyRecord.objects.filter(job_id__in=job_ids)
    answers.update(response_status=None, response_content_type="", response_body=None)


def without_texts(value: Any) -> Any:  # Any: nested JSON
    """The same shape, so that every version still reads it, with nothing in it that a caller wrote."""
    if isinstance(value, dict):
        return {name: _emptied(name, each) for name, each in value.items()}
    if isinstance(value, list):
        return [without_texts(each) for each in value]
    return value


def _emptied(name: str, value: Any) -> Any:  # Any: nested JSON
    if name in TEXTS:
        return [] if isinstance(value, list) else "" if isinstance(value, str) else without_texts(value)
    if name == DIGESTS:
        return []
    if name == ECHO:
        return {}
    # A digest of a picture tells who has the picture that it was sent.
    if name == "digest" and isinstance(value, str):
        return NO_DIGEST
    return without_texts(value)
