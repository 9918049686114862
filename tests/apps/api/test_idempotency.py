"""`Idempotency-Key`: repeats get the first answer byte for byte, twins make one job."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import connection

from apps.generation.models import GenerationJob, IdempotencyRecord
from tests.apps.api import jobs
from tests.apps.api.client import PROMPT, V6, V7, ApiClient
from tests.cast import Cast, assemble_cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint


def test_repeat_gets_the_same_bytes_and_makes_no_second_job(ada: ApiClient) -> None:
    first = ada.post(V6, PROMPT, Idempotency_Key="k1")
    before = jobs.traces()
    jobs.run_all()

    second = ada.post(V6, PROMPT, Idempotency_Key="k1")

    assert before == (1, 1, 1)
    assert GenerationJob.objects.count() == 1
    assert second.content == first.content
    assert (second.status_code, second["Content-Type"]) == (200, first["Content-Type"])
    assert "Idempotent-Replayed" not in first
    assert second["Idempotent-Replayed"] == "true"


def test_another_key_or_another_account_makes_another_job(ada: ApiClient, cleo: ApiClient) -> None:
    answers = [
        ada.post(V6, PROMPT, Idempotency_Key="k1"),
        ada.post(V6, PROMPT, Idempotency_Key="k2"),
        ada.post(V6, PROMPT),
        cleo.post(V6, PROMPT, Idempotency_Key="k1"),
    ]

    assert len({answer.json()["id"] for answer in answers}) == 4


@pytest.mark.parametrize("path", [V6, V7])
def test_same_key_with_another_request_is_a_conflict(ada: ApiClient, path: str) -> None:
    ada.post(V6, PROMPT, Idempotency_Key="k1")
    before = jobs.traces()

    response = ada.post(path, PROMPT | {"seed": 2}, Idempotency_Key="k1")

    message = "The Idempotency-Key k1 was already used with a different request."
    assert response.status_code == 409
    assert response.json() == {"status": "error", "message": message, "messege": message}
    assert jobs.traces() == before


def test_refusals_are_not_kept(ada: ApiClient) -> None:
    refused = ada.post(V6, PROMPT | {"samples": 16}, Idempotency_Key="k1")
    unknown = ada.post(V6, PROMPT | {"model_id": "nope"}, Idempotency_Key="k1")

    assert (refused.status_code, unknown.status_code) == (400, 400)
    assert IdempotencyRecord.objects.count() == 0
    assert ada.post(V6, PROMPT, Idempotency_Key="k1").json()["status"] == "processing"


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "a\tb", "é"])
def test_unusable_keys(ada: ApiClient, key: str) -> None:
    response = ada.post(V6, PROMPT, Idempotency_Key=key)

    assert (response.status_code, response["X-Darkroom-Error"]) == (400, "invalid_idempotency_key")
    assert jobs.traces() == jobs.NOTHING


TWINS = 100


def test_a_hundred_concurrent_posts_share_one_job_and_one_answer(
    transactional_db: None, settings: Any
) -> None:
    settings.SYNC_WAIT_S = 60.0
    cast: Cast = assemble_cast(now=FrozenClock().now())
    make_checkpoint("tiny")
    answers: list[Any] = []
    start = threading.Barrier(TWINS)

    def send() -> None:
        try:
            start.wait()
            answers.append(ApiClient(cast.key_text).post(V6, PROMPT, Idempotency_Key="k1"))
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(TWINS)]
    for thread in threads:
        thread.start()
    pause = threading.Event()
    while not GenerationJob.objects.exists():
        pause.wait(0.01)
    jobs.run_all()
    for thread in threads:
        thread.join(timeout=60)

    assert len(answers) == TWINS
    assert len({answer.content for answer in answers}) == 1
    assert answers[0].json()["status"] == "success"
    assert GenerationJob.objects.count() == 1
    assert sorted("Idempotent-Replayed" in answer for answer in answers) == [False] + [True] * (TWINS - 1)
