"""Jobs of this dialect: submitted together, waited for to their end, canceled when nobody waits any more."""

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

from apps.api.a1111.errors import ClientGone, Refusal
from apps.api.hangups import has_hung_up
from apps.apikeys.models import ApiKey
from apps.artifacts.models import Artifact
from apps.core import clock
from apps.generation.choices import OPEN_STATES, JobState
from apps.generation.errors import NotCancelable
from apps.generation.models import GenerationJob
from apps.generation.request import GenerationRequest
from apps.generation.selectors import list_artifacts
from apps.generation.services import cancel_job, submit_generation
from apps.generation.waiting import follow_job

log = logging.getLogger(__name__)

DIALECT: Final = "a1111"
DATABASE_AWAY: Final = (OperationalError, InterfaceError)
OVERLOADED_RETRY_S: Final = 5
RECENT: Final = 200
"""Jobs of an account among which a task's name is looked for."""
BLOCKED: Final = "blocked_content"


class Kept(TypedDict, total=False):
    """What is kept with a job for its answer and for those who ask how far it is."""

    dialect: str
    task_id: str
    prompt: str
    """As it was sent, with the tags of networks."""
    negative_prompt: str
    subseed: int
    n_iter: int
    batch_size: int
    restore_faces: bool
    part_of: int
    """The job proper, of a detector's map beside it: not what progress is about."""


def kept_of(job: GenerationJob) -> Kept:
    """What was kept with the job."""
    return cast(Kept, job.client_options)


def submit(key: ApiKey, request: GenerationRequest, kept: Kept) -> GenerationJob:
    """Queue one. Raises as `submit_generation`."""
    return submit_generation(
        account=key.account,
        api_key=key,
        request=request,
        client_options={"dialect": DIALECT, **kept},
        track_id=None,
        now=clock.now(),
    )


def submit_all(key: ApiKey, wanted: Sequence[tuple[GenerationRequest, Kept]]) -> list[GenerationJob]:
    """Queue all or none: when one is refused, those before it are canceled. Raises as `submit_generation`."""
    jobs: list[GenerationJob] = []
    try:
        for request, kept in wanted:
            jobs.append(submit(key, request, kept))
    except BaseException:
        for job in jobs:
            cancel(job, key)
        raise
    return jobs


def wait_for_all(jobs: Sequence[GenerationJob], http: HttpRequest, key: ApiKey) -> list[GenerationJob]:
    """The ended jobs, in their order; all are canceled when one cannot be waited for.

    Raises ClientGone when the connection was closed, Refusal without a place to wait or time left.
    """
    deadline = time.monotonic() + settings.A1111_WAIT_S
    ended: list[GenerationJob] = []
    waiting = list(jobs)
    try:
        while waiting:
            ended.append(_wait(waiting[0], http, deadline))
            del waiting[0]
    finally:
        for job in waiting:
            cancel(job, key)
    return ended


def _wait(job: GenerationJob, http: HttpRequest, deadline: float) -> GenerationJob:
    try:
        for current in follow_job(job, timeout_s=max(0.0, deadline - time.monotonic())):
            job = current
            if not job.is_terminal and has_hung_up(http):
                raise ClientGone
    except DATABASE_AWAY:
        log.exception("job %d: lost the database while its caller waits", job.pk)
        problem = f"The server lost its database while it waited for job {job.pk}; it goes on by itself."
        raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, problem) from None
    if job.is_terminal:
        return job
    if time.monotonic() >= deadline:
        problem = f"not ready within {settings.A1111_WAIT_S:g} s, so job {job.pk} was canceled"
        raise Refusal(HTTPStatus.GATEWAY_TIMEOUT, f"The images were {problem}.")
    problem = "Too many requests are waiting on this server; try again shortly."
    raise Refusal(HTTPStatus.SERVICE_UNAVAILABLE, problem, retry_after_s=OVERLOADED_RETRY_S)


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
    raise Refusal(status, job.error_message)


def artifacts_of(job: GenerationJob) -> list[Artifact]:
    """The images of an ended job; none of one that was interrupted."""
    return list(list_artifacts(job)) if job.state == JobState.SUCCEEDED else []


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
    jobs = [job for job in open_jobs(key) if "part_of" not in kept_of(job)]
    running = [job for job in jobs if job.state == JobState.RUNNING]
    return next(iter(running or jobs), None)


def job_of_task(key: ApiKey, task_id: str) -> GenerationJob | None:
    """The key's latest job that its caller gave this name, among the account's recent ones."""
    recent = GenerationJob.objects.filter(account=key.account).order_by("-pk").values("pk")[:RECENT]
    jobs = GenerationJob.objects.filter(
        pk__in=recent, api_key=key, client_options__dialect=DIALECT, client_options__task_id=task_id
    )
    return jobs.order_by("-pk").first()
