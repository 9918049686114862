"""Jobs of this dialect: waited for to their end, canceled when nobody waits any more."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from http import HTTPStatus
from typing import Final, TypedDict, cast

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.db.models import QuerySet
from django.http import HttpRequest

from apps.api.a1111.errors import (
    DATABASE_UNAVAILABLE,
    IMAGES_EXPIRED,
    OVERLOADED,
    TIMEOUT,
    ClientGone,
    Refusal,
)
from apps.api.hangups import has_hung_up
from apps.apikeys.models import ApiKey
from apps.artifacts.models import Artifact
from apps.core import clock
from apps.generation.choices import OPEN_STATES, JobState
from apps.generation.errors import NotCancelable
from apps.generation.models import GenerationJob
from apps.generation.selectors import list_artifacts
from apps.generation.services import cancel_job
from apps.generation.waiting import follow_job

log = logging.getLogger(__name__)

DIALECT: Final = "a1111"
DATABASE_AWAY: Final = (OperationalError, InterfaceError)
OVERLOADED_RETRY_S: Final = 5
RECENT: Final = 200
"""Jobs of an account among which the name of a task or batch is looked for."""
BLOCKED: Final = "blocked_content"


class Kept(TypedDict, total=False):
    """What is kept with a job for its answer and for those who ask how far it is."""

    dialect: str
    task_id: str
    prompt: str
    """As it was sent, with the tags of networks."""
    negative_prompt: str
    missing_networks: list[str]
    subseed: int
    n_iter: int
    batch_size: int
    restore_faces: bool
    batch: str
    """A name that all jobs of one request have, where it made several."""
    is_map: bool
    """Whether it makes a map that the images follow, and none of them: not what progress is about."""


def kept_of(job: GenerationJob) -> Kept:
    """What was kept with the job."""
    return cast(Kept, job.client_options)


def wait_for_all(
    jobs: Sequence[GenerationJob], http: HttpRequest, key: ApiKey, *, is_fetchable: bool
) -> list[GenerationJob]:
    """The ended jobs, in their order; all are canceled when one cannot be waited for.

    Those of a caller who can come back for them go on instead. Raises ClientGone when the connection was
    closed, Refusal without a place to wait or time left.
    """
    deadline = time.monotonic() + settings.A1111_WAIT_S
    ended: list[GenerationJob] = []
    waiting = list(jobs)
    try:
        while waiting:
            ended.append(_wait(waiting[0], http, deadline, is_fetchable=is_fetchable))
            del waiting[0]
    finally:
        for job in () if is_fetchable else waiting:
            cancel(job, key)
    return ended


def _wait(job: GenerationJob, http: HttpRequest, deadline: float, *, is_fetchable: bool) -> GenerationJob:
    try:
        for current in follow_job(job, timeout_s=max(0.0, deadline - time.monotonic())):
            job = current
            if not job.is_terminal and has_hung_up(http):
                raise ClientGone
    except DATABASE_AWAY:
        log.exception("job %d: lost the database while its caller waits", job.pk)
        problem = f"The server lost its database while it waited for job {job.pk}; it goes on by itself."
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, problem, code=DATABASE_UNAVAILABLE) from None
    if job.is_terminal:
        return job
    if time.monotonic() >= deadline:
        raise _waited_enough(job, is_fetchable=is_fetchable)
    problem = "Too many requests are waiting on this server; try again shortly."
    raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, problem, code=OVERLOADED, retry_after_s=OVERLOADED_RETRY_S)


def _waited_enough(job: GenerationJob, *, is_fetchable: bool) -> Refusal:
    """Only a caller with an Idempotency-Key gains from sending the request again: it waits on."""
    advice = (
        f"job {job.pk} goes on: send the request again with the same Idempotency-Key"
        if is_fetchable
        else f"so job {job.pk} was canceled"
    )
    problem = f"The images were not ready within {settings.A1111_WAIT_S:g} s, {advice}."
    return Refusal(HTTPStatus.GATEWAY_TIMEOUT, problem, code=TIMEOUT)


def cancel(job: GenerationJob, key: ApiKey) -> None:
    """End a job; one that has just ended stays as it is."""
    try:
        cancel_job(job=job, actor=key.ref, now=clock.now())
    except NotCancelable:
        return
    except DATABASE_AWAY:
        # It will run to its end; nothing can be said to the database now.
        log.exception("job %d could not be canceled", job.pk)


def require_success(job: GenerationJob) -> GenerationJob:
    """The ended job. Raises Refusal with the reason when it failed; one that was interrupted did not."""
    if job.state in (JobState.SUCCEEDED, JobState.CANCELED):
        return job
    is_callers = job.error_code == BLOCKED
    status = HTTPStatus.BAD_REQUEST if is_callers else HTTPStatus.INTERNAL_SERVER_ERROR
    raise Refusal(status, job.error_message, code=job.error_code)


def artifacts_of(job: GenerationJob) -> list[Artifact]:
    """The images of an ended job; none of one that was interrupted. Raises Refusal when some have expired."""
    if job.state != JobState.SUCCEEDED:
        return []
    artifacts = list(list_artifacts(job))
    if len(artifacts) < job.num_images:
        raise images_expired(job.pk)
    return artifacts


def images_expired(job_id: int) -> Refusal:
    """For a repeat that comes when the images are gone."""
    problem = f"The images of job {job_id} have expired; send the request with another Idempotency-Key."
    return Refusal(HTTPStatus.GONE, problem, code=IMAGES_EXPIRED)


def open_jobs(key: ApiKey) -> QuerySet[GenerationJob]:
    """What this key has waiting and running in this dialect, the oldest first."""
    return GenerationJob.objects.filter(
        account=key.account,
        api_key=key,
        state__in=OPEN_STATES,
        client_options__dialect=DIALECT,
    ).order_by("pk")


def current_job(key: ApiKey) -> GenerationJob | None:
    """What this key waits for now: its oldest running job, else its oldest queued one."""
    jobs = [job for job in open_jobs(key) if not kept_of(job).get("is_map")]
    running = [job for job in jobs if job.state == JobState.RUNNING]
    return next(iter(running or jobs), None)


def batch_of_job(job: GenerationJob) -> list[GenerationJob]:
    """The jobs of its request that make images, in the order of these."""
    return [each for each in jobs_beside(job) if not kept_of(each).get("is_map")]


def jobs_beside(job: GenerationJob) -> list[GenerationJob]:
    """All jobs of the request that made this one, itself too."""
    name = kept_of(job).get("batch")
    if not name:
        return [job]
    recent = _recent(job.account_id)
    return list(GenerationJob.objects.filter(pk__in=recent, client_options__batch=name).order_by("pk"))


def job_of_task(key: ApiKey, task_id: str) -> GenerationJob | None:
    """The key's latest job that its caller gave this name, among the account's recent ones."""
    jobs = GenerationJob.objects.filter(
        pk__in=_recent(key.account_id),
        api_key=key,
        client_options__dialect=DIALECT,
        client_options__task_id=task_id,
    )
    return jobs.order_by("-pk").first()


def _recent(account_id: int) -> list[int]:
    """Keys of rows, the newest first: what is in a job's options has no index."""
    newest = GenerationJob.objects.filter(account_id=account_id).order_by("-pk")
    return list(newest.values_list("pk", flat=True)[:RECENT])
