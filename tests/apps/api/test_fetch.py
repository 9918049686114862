"""Fetching a request by any of the paths, in every state, and by the wrong people."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apps.generation.choices import JobState
from apps.generation.lifecycle import reap_expired
from apps.generation.models import GenerationJob
from apps.generation.services import cancel_job
from tests.apps.api import jobs
from tests.apps.api.client import V6, V7, ApiClient
from tests.cast import Cast
from tests.clocks import FrozenClock

PENDING = "The image is still being generated; try again later."
PREFIXES = ["/api/v6/images/fetch", "/api/v7/images/fetch", "/api/v6/fetch"]


def failure(job: GenerationJob, message: str) -> dict[str, object]:
    return {"status": "error", "id": job.pk, "message": message, "messege": message, "output": ""}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("made_at", [V6, V7])
def test_every_fetch_path_resolves_every_request(
    ada: ApiClient, anybody: ApiClient, cast: Cast, prefix: str, made_at: str
) -> None:
    job_id = ada.submit(made_at).json()["id"]

    answers = [
        ada.post(f"{prefix}/{job_id}"),
        ada.get(f"{prefix}/{job_id}"),
        ada.post(prefix, {"request_id": job_id}),
        ada.post(prefix, {"request_id": str(job_id)}),
        ada.post(prefix, {"id": job_id}),
        anybody.post(prefix, {"key": cast.key_text, "request_id": job_id}),
        anybody.post(f"{prefix}/{job_id}", {"key": cast.key_text}),
        anybody.get(f"{prefix}/{job_id}?key={cast.key_text}"),
        anybody.get(f"{prefix}?key={cast.key_text}&id={job_id}"),
        anybody.get(f"{prefix}?key={cast.key_text}&request_id={job_id}"),
        anybody.http.generic("GET", f"{prefix}/{job_id}", f'{{"key":"{cast.key_text}"}}'),
    ]

    assert [(answer.status_code, answer.json()["id"]) for answer in answers] == [(200, job_id)] * 11


@pytest.mark.parametrize("is_running", [False, True])
def test_pending(ada: ApiClient, is_running: bool) -> None:
    job_id = ada.submit().json()["id"]
    if is_running:
        jobs.claim()

    response = ada.post(f"{PREFIXES[0]}/{job_id}")

    assert response.status_code == 200
    assert response.json() == {
        "status": "processing",
        "id": job_id,
        "eta": 2.8,
        "message": PENDING,
        "messege": PENDING,
        "output": "",
    }


def test_ready(ada: ApiClient, clock: FrozenClock) -> None:
    submitted = ada.submit(seed=42, samples=2, track_id="mine").json()
    job = jobs.claim()
    clock.advance(seconds=1.234)
    jobs.finish(job)

    response = ada.post(f"{PREFIXES[0]}/{job.pk}")

    assert response.status_code == 200
    meta = submitted["meta"] | {"nsfw_detected": False}
    del meta["output"]
    assert response.json() == {
        "status": "success",
        "generationTime": 1.23,
        "id": job.pk,
        "output": submitted["future_links"],
        "proxy_links": submitted["future_links"],
        "nsfw_content_detected": False,
        "webhook_status": "",
        "meta": meta,
    }


def test_failed(ada: ApiClient) -> None:
    ada.submit()
    job = jobs.fail(jobs.claim())

    response = ada.post(f"{PREFIXES[0]}/{job.pk}")

    assert (response.status_code, response.json()) == (200, failure(job, "It does not fit."))


def test_canceled(ada: ApiClient, cast: Cast, clock: FrozenClock) -> None:
    ada.submit()
    job = cancel_job(job=GenerationJob.objects.get(), actor=cast.key.ref, now=clock.now())

    assert ada.post(f"{PREFIXES[0]}/{job.pk}").json() == failure(job, "The request was canceled.")


def test_expired_in_the_queue(ada: ApiClient, cast: Cast, clock: FrozenClock) -> None:
    ada.submit()
    clock.advance(hours=2)
    reap_expired(actor=jobs.WORKER, now=clock.now())
    job = GenerationJob.objects.get()

    assert job.state == JobState.EXPIRED
    assert ada.post(f"{PREFIXES[0]}/{job.pk}").json() == failure(
        job, "No worker was free before the request's deadline."
    )


def test_images_that_have_expired_are_no_success(ada: ApiClient, clock: FrozenClock) -> None:
    ada.submit()
    [job] = jobs.run_all()
    clock.advance(days=3)

    assert ada.post(f"{PREFIXES[0]}/{job.pk}").json() == failure(
        job, "The images of this request have expired and were deleted."
    )


def test_stranger_sees_what_she_would_see_of_an_unknown_id(ada: ApiClient, cleo: ApiClient) -> None:
    ada.submit()
    [job] = jobs.run_all()

    theirs = cleo.post(f"{PREFIXES[0]}/{job.pk}")
    unknown = cleo.post(f"{PREFIXES[0]}/{job.pk + 1}")

    assert theirs.status_code == unknown.status_code == 404
    message = f"Request {job.pk} was not found."
    assert theirs.json() == {"status": "error", "message": message, "messege": message}
    assert unknown.content == theirs.content.replace(str(job.pk).encode(), str(job.pk + 1).encode())
    assert {name: theirs[name] for name in theirs.headers if name != "X-Request-Id"} == {
        name: unknown[name] for name in unknown.headers if name != "X-Request-Id"
    }


@pytest.mark.parametrize(
    "job_id",
    [
        "abc",
        "0b8e3c0e-8a8e-4f5c-9d5e-1a2b3c4d5e6f",
        "9" * 30,
        "9" * 5000,
        "-1",
        "0",
        "1.0",
        "%00",
        "%FF",
        "¹",
        "1 ",
    ],
)
def test_odd_ids_are_not_found(ada: ApiClient, job_id: str) -> None:
    response = ada.post(f"{PREFIXES[0]}/{job_id}")

    assert (response.status_code, response.json()["status"]) == (404, "error")


@pytest.mark.parametrize("job_id", ["abc", 10**30, 10**4000, -1, 0, "\ud800", "\0", "9" * 5000])
def test_odd_ids_in_bodies_are_not_found(ada: ApiClient, job_id: object) -> None:
    response = ada.post(PREFIXES[0], {"request_id": job_id})

    assert (response.status_code, response.json()["status"]) == (404, "error")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "request_id is required"),
        ({"request_id": None, "id": ""}, "request_id is required"),
        ({"request_id": [1]}, "request_id must be a number, not a list"),
        ({"id": True}, "id must be a number, not true"),
    ],
)
def test_ids_that_are_none(ada: ApiClient, fields: dict[str, object], message: str) -> None:
    response = ada.post(PREFIXES[0], fields)

    assert (response.status_code, response.json()["message"]) == (400, message)


@pytest.mark.parametrize("path", ["/", "/1"])
def test_wrong_method(ada: ApiClient, path: str) -> None:
    response = ada.http.put(f"{PREFIXES[0]}{path}".rstrip("/"), headers=ada.headers)

    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD, POST")


def test_fetching_takes_a_fixed_number_of_queries(
    ada: ApiClient, django_assert_num_queries: Callable[[int], Any]
) -> None:
    job_id = ada.submit().json()["id"]
    # key; job; work ahead and workers for the eta.
    with django_assert_num_queries(4):
        ada.post(f"{PREFIXES[0]}/{job_id}")
    jobs.run_all()
    # key; job; images.
    with django_assert_num_queries(3):
        ada.post(f"{PREFIXES[0]}/{job_id}")
