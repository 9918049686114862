"""Waits for jobs whose caller can fetch nothing later, and says how each of them ended."""

from __future__ import annotations

import logging
import time
from collections.abc import Generator
from http import HTTPStatus
from typing import Final

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest

from apps.api.hangups import has_hung_up
from apps.api.openai.errors import SERVER_ERROR, USER_ERROR, Answer, Refusal
from apps.apikeys.models import ApiKey
from apps.core import clock
from apps.generation.choices import JobState
from apps.generation.errors import NotCancelable
from apps.generation.faults import EXPIRED, FAILURES, HUNG, INTERNAL, QUARANTINED
from apps.generation.models import GenerationJob
from apps.generation.services import cancel_job
from apps.generation.waiting import follow_job
from gpu_runtime.errors import UnsupportedCombination

log = logging.getLogger(__name__)

DATABASE_AWAY: Final = (OperationalError, InterfaceError)
BLOCKED: Final = "blocked_content"
SERVER_FAULTS: Final = frozenset(
    failure.code
    for failure in (*FAILURES.values(), HUNG, INTERNAL, QUARANTINED, EXPIRED)
    if failure is not FAILURES[UnsupportedCombination]
)
"""Failures that are not about what was asked. All others, such as an unreadable picture, are the caller's."""

OVERLOADED_RETRY_S: Final = 5


class ClientGone(Exception):
    """Nobody is there to be answered."""


def follow(
    job: GenerationJob, http: HttpRequest, key: ApiKey, *, is_fetchable: bool
) -> Generator[GenerationJob]:
    """The job's row after every change until it has ended; the last one is terminal.

    A job that cannot be waited for to its end is canceled, unless the caller can come back for it. Raises
    ClientGone when the connection was closed, and Refusal when there is no place to wait or no more time.
    """
    began = time.monotonic()
    is_ended = False
    try:
        for current in follow_job(job, timeout_s=settings.OPENAI_WAIT_S):
            is_ended = current.is_terminal
            if not is_ended and has_hung_up(http):
                raise ClientGone
            yield current
    except DATABASE_AWAY:
        log.exception("job %d: lost the database while its caller waits", job.pk)
        raise _lost(job, is_final=not is_fetchable) from None
    finally:
        # Also when an event could not be written: the generator is closed where it stands then.
        if not is_ended and not is_fetchable:
            abandon(job, key)
    if not is_ended:
        is_late = time.monotonic() - began >= settings.OPENAI_WAIT_S
        raise _waited_enough(job, is_fetchable=is_fetchable) if is_late else _no_place()


def abandon(job: GenerationJob, key: ApiKey) -> None:
    """Cancel a job that nobody can fetch; one that has just ended stays as it is."""
    try:
        cancel_job(job=job, actor=key.ref, now=clock.now())
    except NotCancelable:
        return
    except DATABASE_AWAY:
        # It will run to its end; nothing can be said to the database now.
        log.exception("job %d could not be canceled", job.pk)


def _waited_enough(job: GenerationJob, *, is_fetchable: bool) -> Refusal:
    """Only a caller with an Idempotency-Key gains from sending the request again: it waits on."""
    advice = (
        "it goes on: send the request again with the same Idempotency-Key"
        if is_fetchable
        else "it was canceled: ask for fewer or smaller images"
    )
    return Refusal(
        f"The images were not ready within {settings.OPENAI_WAIT_S:g} s (job {job.pk}); {advice}.",
        Answer(
            status=HTTPStatus.GATEWAY_TIMEOUT, type=SERVER_ERROR, code="timeout", is_final=not is_fetchable
        ),
    )


def _lost(job: GenerationJob, *, is_final: bool) -> Refusal:
    return Refusal(
        f"The server lost its database while it waited for job {job.pk}.",
        Answer(
            status=HTTPStatus.SERVICE_UNAVAILABLE,
            type=SERVER_ERROR,
            code="database_unavailable",
            is_final=is_final,
        ),
    )


def _no_place() -> Refusal:
    # Nothing is left of the job, so it may well be sent again.
    return Refusal(
        "Too many requests are waiting on this server; try again shortly.",
        Answer(status=HTTPStatus.SERVICE_UNAVAILABLE, type=SERVER_ERROR, code="overloaded"),
        retry_after_s=OVERLOADED_RETRY_S,
    )


def require_success(job: GenerationJob) -> GenerationJob:
    """The ended job. Raises Refusal with the reason when it has no images."""
    if job.state == JobState.SUCCEEDED:
        return job
    if job.state == JobState.CANCELED:
        answer = Answer(status=HTTPStatus.CONFLICT, type=USER_ERROR, code="canceled", is_final=True)
        raise Refusal(f"The request was canceled (job {job.pk}).", answer)
    raise Refusal(job.error_message, failure_answer(job.error_code))


def failure_answer(code: str) -> Answer:
    """How the failure of an accepted job is called there; no library is to send such a request again."""
    if code == BLOCKED:
        return Answer(status=HTTPStatus.BAD_REQUEST, type=USER_ERROR, code="moderation_blocked")
    if code in SERVER_FAULTS:
        return Answer(status=HTTPStatus.INTERNAL_SERVER_ERROR, type=SERVER_ERROR, code=code, is_final=True)
    return Answer(status=HTTPStatus.BAD_REQUEST, code=code)


def expired_images(job: GenerationJob) -> Refusal:
    """For a repeat that comes when the images are gone."""
    return Refusal(
        f"The images of this request (job {job.pk}) have expired; send it with another Idempotency-Key.",
        Answer(status=HTTPStatus.GONE, code="images_expired", is_final=True),
    )
