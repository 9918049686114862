"""How waiting ends: images, failures, no time, no place, nobody there; and what a repeat is answered."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.http import HttpRequest

from apps.api.hangups import has_hung_up
from apps.artifacts.models import Artifact
from apps.core import clock
from apps.generation.lifecycle import finish_cancel, lease_of, reap_expired
from apps.generation.models import GenerationJob
from apps.generation.services import cancel_job
from tests.apps.api import jobs
from tests.apps.api.openai.conftest import Act, OpenAIClient, deliver, error_of, picture, the_job
from tests.cast import assemble_cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint

Chooser = Callable[[Act], None]
KEY = {"Idempotency-Key": "order-7"}


@pytest.mark.parametrize(
    ("code", "status", "kind", "named"),
    [
        ("blocked_content", 400, "image_generation_user_error", "moderation_blocked"),
        ("picture_unreadable", 400, "invalid_request_error", "picture_unreadable"),
        ("unsupported_combination", 400, "invalid_request_error", "unsupported_combination"),
        ("out_of_memory", 500, "server_error", "out_of_memory"),
        ("internal_error", 500, "server_error", "internal_error"),
        ("worker_crashed", 500, "server_error", "worker_crashed"),
    ],
)
def test_a_failed_job(
    ada: OpenAIClient, worker: Chooser, code: str, status: int, kind: str, named: str
) -> None:
    worker(lambda job: jobs.fail(job, code, "It went wrong."))

    response = ada.generate()

    assert error_of(response) == (
        status,
        {"message": "It went wrong.", "type": kind, "param": None, "code": named},
    )
    assert response.headers.get("X-Should-Retry") == ("false" if status >= 500 else None)


def test_a_job_that_its_owner_canceled(ada: OpenAIClient, worker: Chooser) -> None:
    def cancel(job: GenerationJob) -> None:
        assert job.api_key is not None
        cancel_job(job=job, actor=job.api_key.ref, now=clock.now())
        finish_cancel(lease=lease_of(job), worker=jobs.WORKER, now=clock.now())

    worker(cancel)

    response = ada.generate()

    status, error = error_of(response)
    assert (status, error["code"], response["X-Should-Retry"]) == (409, "canceled", "false")


def test_a_repeat_is_answered_with_the_same_bytes(ada: OpenAIClient, clock: FrozenClock) -> None:
    first = ada.generate(KEY)
    clock.advance(seconds=600)
    second = ada.generate(KEY)

    assert second.content == first.content
    assert (first.headers.get("Idempotent-Replayed"), second["Idempotent-Replayed"]) == (None, "true")
    assert GenerationJob.objects.count() == 1


def test_a_form_that_is_sent_again_is_the_same_request(ada: OpenAIClient) -> None:
    answers = [ada.edit(KEY, image=picture()) for _ in range(2)]

    # Each has a boundary of its own.
    assert [answer.status_code for answer in answers] == [200, 200]
    assert GenerationJob.objects.count() == 1


def test_another_picture_is_another_request(ada: OpenAIClient) -> None:
    ada.edit(KEY, image=picture())

    assert error_of(ada.edit(KEY, image=picture(colour="red")))[1]["code"] == "idempotency_mismatch"


def test_a_repeat_when_the_images_are_gone(ada: OpenAIClient) -> None:
    ada.generate(KEY)
    Artifact.objects.all().delete()

    response = ada.generate(KEY)

    status, error = error_of(response)
    assert (status, error["code"], response["X-Should-Retry"]) == (410, "images_expired", "false")


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """Nobody works on jobs, and there is next to no time."""
    settings.OPENAI_WAIT_S = 0.0

    def follow(job: GenerationJob, *, timeout_s: float) -> Iterator[GenerationJob]:
        assert timeout_s == settings.OPENAI_WAIT_S
        yield job

    monkeypatch.setattr("apps.api.openai.outcomes.follow_job", follow)


def test_a_job_that_takes_too_long_is_given_up(ada: OpenAIClient, late: None) -> None:
    response = ada.generate()

    job = the_job()
    assert error_of(response) == (
        504,
        {
            "message": f"The images were not ready within 0 s (job {job.pk}); it was canceled:"
            " ask for fewer or smaller images.",
            "type": "server_error",
            "param": None,
            "code": "timeout",
        },
    )
    assert response["X-Should-Retry"] == "false"
    assert job.state == "canceled"
    assert jobs.traces()[1] == 0


def test_with_an_idempotency_key_it_goes_on_and_a_repeat_waits_again(
    ada: OpenAIClient, late: None, worker: Chooser, monkeypatch: pytest.MonkeyPatch
) -> None:
    response = ada.generate(KEY)

    assert error_of(response)[0] == 504
    assert "X-Should-Retry" not in response
    assert the_job().state == "queued"

    deliver(jobs.claim())
    assert ada.generate(KEY).status_code == 200


def test_without_a_place_to_wait_nothing_is_left(ada: OpenAIClient, late: None, settings: Any) -> None:
    settings.OPENAI_WAIT_S = 600.0

    response = ada.generate()

    status, error = error_of(response)
    assert (status, error["code"], response["Retry-After"]) == (503, "overloaded", "5")
    assert "X-Should-Retry" not in response
    assert the_job().state == "canceled"


def test_a_database_that_goes_away_meanwhile(ada: OpenAIClient, worker: Chooser) -> None:
    def lose(job: GenerationJob) -> None:
        raise OperationalError("gone")

    worker(lose)

    response = ada.generate()

    status, error = error_of(response)
    assert (status, error["code"], response["X-Should-Retry"]) == (503, "database_unavailable", "false")
    assert the_job().is_cancel_requested


def test_an_expired_job_is_a_failure_of_the_server(
    ada: OpenAIClient, worker: Chooser, clock: FrozenClock
) -> None:
    def expire(job: GenerationJob) -> None:
        GenerationJob.objects.filter(pk=job.pk).update(
            state="queued", claimed_by="", lease_expires_at=None, deadline_at=clock.now()
        )
        reap_expired(actor=jobs.WORKER, now=clock.now())

    worker(expire)

    response = ada.generate()

    assert error_of(response)[1]["code"] == "expired"
    assert (response.status_code, response["X-Should-Retry"]) == (500, "false")


# --- real waiting: other connections, real commits, a socket that closes ---


@pytest.fixture
def waiting_ada(transactional_db: None) -> OpenAIClient:
    cast = assemble_cast(now=FrozenClock().now())
    make_checkpoint("tiny")
    return OpenAIClient(cast.key_text)


@pytest.fixture
def meanwhile() -> Iterator[Callable[[Act], None]]:
    """Does something with the next job to appear, in a thread of its own."""
    threads = []
    stop = threading.Event()

    def start(act: Act) -> None:
        def run() -> None:
            try:
                while not stop.is_set() and not GenerationJob.objects.exists():
                    stop.wait(0.005)
                if not stop.is_set():
                    act(the_job())
            finally:
                connection.close()

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield start
    stop.set()
    for thread in threads:
        thread.join(timeout=20)


def test_it_waits_for_the_images(waiting_ada: OpenAIClient, meanwhile: Callable[[Act], None]) -> None:
    meanwhile(lambda job: deliver(jobs.claim(job)))

    assert waiting_ada.generate().json()["size"] == "64x64"


def test_a_dropped_connection_cancels_the_job(
    waiting_ada: OpenAIClient, meanwhile: Callable[[Act], None]
) -> None:
    ours, theirs = socket.socketpair()

    def hang_up_and_go_on(job: GenerationJob) -> None:
        claimed = jobs.claim(job)
        theirs.close()
        jobs.progress(claimed, 1)

    meanwhile(hang_up_and_go_on)
    with ours:
        response = waiting_ada.http.post(
            "/v1/images/generations",
            {"prompt": "x", "model": "tiny"},
            "application/json",
            headers=waiting_ada.headers,
            **{"gunicorn.socket": ours},
        )

    assert response.status_code == 499
    assert the_job().is_cancel_requested


def test_a_dropped_connection_with_an_idempotency_key_cancels_nothing(
    waiting_ada: OpenAIClient, meanwhile: Callable[[Act], None]
) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        response = waiting_ada.http.post(
            "/v1/images/generations",
            {"prompt": "x", "model": "tiny"},
            "application/json",
            headers=waiting_ada.headers | KEY,
            **{"gunicorn.socket": ours},
        )

    assert response.status_code == 499
    assert not the_job().is_cancel_requested


def test_hangups_are_seen_on_sockets_alone() -> None:
    request = HttpRequest()
    assert not has_hung_up(request)

    ours, theirs = socket.socketpair()
    with ours:
        request.META["gunicorn.socket"] = ours
        assert not has_hung_up(request)
        theirs.send(b"the next request")
        assert not has_hung_up(request)
        ours.recv(100)
        theirs.close()
        assert has_hung_up(request)
    assert has_hung_up(request)
