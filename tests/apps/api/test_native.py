"""The native API: jobs, canceling, events, problems."""

from __future__ import annotations

import json
import threading
from contextlib import nullcontext
from typing import Any

import pytest
from django.db import connection

from apps.apikeys.choices import Scope
from apps.generation.choices import JobState
from apps.generation.delivering import artifact_expiry
from apps.generation.models import GenerationJob
from apps.quotas.models import DailyUsage
from tests.apps.api import jobs
from tests.apps.api.client import ApiClient
from tests.cast import Cast, assemble_cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint, make_key
from tests.harness.waits import wait_until


def submitted(client: ApiClient, **fields: Any) -> GenerationJob:
    return GenerationJob.objects.get(pk=client.submit(**fields).json()["id"])


def assert_problem(response: Any, status: int, title: str, code: str, detail: str) -> None:
    body = response.json()
    assert response["Content-Type"] == "application/problem+json"
    assert body.pop("request_id") == response["X-Request-Id"]
    assert body == {"type": "about:blank", "title": title, "status": status, "code": code, "detail": detail}
    assert response.status_code == status


def test_a_queued_job(ada: ApiClient) -> None:
    first = submitted(ada)
    job = submitted(ada, seed=42, track_id="mine")

    response = ada.get(f"/v1/jobs/{job.pk}")

    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    assert response.json() == {
        "id": job.pk,
        "state": "queued",
        "kind": "txt2img",
        "progress": {"step": 0, "total": 25},
        "queue_position": 1,
        "eta_s": 5.3,
        "queued_at": "2026-03-02T12:00:00.000000Z",
        "started_at": None,
        "finished_at": None,
        "is_cancel_requested": False,
        "error": None,
        "images": [],
        "request": job.request,
        "track_id": "mine",
        "links": {
            "self": f"/v1/jobs/{job.pk}",
            "events": f"/v1/jobs/{job.pk}/events",
            "cancel": f"/v1/jobs/{job.pk}/cancel",
        },
        "timeline": [],
        "safety": None,
        "result": {},
    }
    assert ada.get(f"/v1/jobs/{first.pk}").json()["queue_position"] == 0


def test_a_finished_job(ada: ApiClient, anybody: ApiClient, clock: FrozenClock) -> None:
    submitted(ada, samples=2, seed=7)
    job = jobs.claim()
    clock.advance(seconds=2)
    jobs.finish(job)

    body = ada.get(f"/v1/jobs/{job.pk}").json()

    assert (body["state"], body["eta_s"], body["progress"]) == ("succeeded", 0.0, {"step": 50, "total": 50})
    assert (body["started_at"], body["finished_at"]) == (
        "2026-03-02T12:00:00.000000Z",
        "2026-03-02T12:00:02.000000Z",
    )
    images = [{name: image[name] for name in image if name != "url"} for image in body["images"]]
    expires_at = artifact_expiry(job).strftime("%Y-%m-%dT%H:%M:%S.000000Z")
    expected = {"width": 8, "height": 8, "media_type": "image/png", "expires_at": expires_at}
    assert images == [expected | {"seed": 7}, expected | {"seed": 8}]
    assert anybody.get(body["images"][1]["url"])["Content-Type"] == "image/png"


def test_a_failed_job(ada: ApiClient) -> None:
    submitted(ada)
    job = jobs.fail(jobs.claim())

    body = ada.get(f"/v1/jobs/{job.pk}").json()

    assert (body["state"], body["error"]) == (
        "failed",
        {"code": "out_of_memory", "message": "It does not fit."},
    )


@pytest.mark.parametrize("method", ["delete", "post"])
def test_canceling_a_queued_job_ends_it_and_gives_the_call_back(ada: ApiClient, method: str) -> None:
    job = submitted(ada)

    path = f"/v1/jobs/{job.pk}"
    response = ada.delete(path) if method == "delete" else ada.post(f"{path}/cancel")

    assert (response.status_code, response.json()["state"]) == (200, "canceled")
    job.refresh_from_db()
    assert job.state == JobState.CANCELED
    assert DailyUsage.objects.get().reserved == 0


def test_canceling_a_running_job_asks_its_worker(ada: ApiClient) -> None:
    submitted(ada)
    job = jobs.claim()

    body = ada.delete(f"/v1/jobs/{job.pk}").json()

    assert (body["state"], body["is_cancel_requested"]) == ("running", True)


def test_canceling_what_has_ended_is_a_conflict(ada: ApiClient) -> None:
    submitted(ada)
    [job] = jobs.run_all()

    detail = f"Job {job.pk} has already succeeded; only queued and running jobs can be canceled."
    assert_problem(ada.post(f"/v1/jobs/{job.pk}/cancel"), 409, "Conflict", "not_cancelable", detail)


def test_deleting_what_has_ended_removes_its_images(ada: ApiClient, anybody: ApiClient) -> None:
    submitted(ada)
    [job] = jobs.run_all()
    [image] = ada.get(f"/v1/jobs/{job.pk}").json()["images"]

    body = ada.delete(f"/v1/jobs/{job.pk}").json()

    assert (body["state"], body["images"]) == ("succeeded", [])
    assert body["result"]["deleted_at"].startswith("2026-03-02T12:00:00")
    assert anybody.get(image["url"]).status_code == 404
    assert ada.delete(f"/v1/jobs/{job.pk}").status_code == 200


@pytest.mark.parametrize("tail", ["", "/cancel", "/events"])
def test_stranger_finds_nothing_and_changes_nothing(ada: ApiClient, cleo: ApiClient, tail: str) -> None:
    job = submitted(ada)
    before = jobs.traces()

    path = f"/v1/jobs/{job.pk}{tail}"
    response = cleo.post(path) if tail == "/cancel" else cleo.get(path)

    assert_problem(response, 404, "Not Found", "not_found", f"Job {job.pk} was not found.")
    if not tail:
        assert cleo.delete(path).status_code == 404
    job.refresh_from_db()
    assert (job.state, job.is_cancel_requested) == (JobState.QUEUED, False)
    assert jobs.traces() == before


def test_without_a_key(anybody: ApiClient) -> None:
    detail = "An API key is required: send it as `Authorization: Bearer <key>`."
    assert_problem(anybody.get("/v1/jobs/1"), 401, "Unauthorized", "api_key_missing", detail)


def test_each_act_needs_its_scope(ada: ApiClient, cast: Cast) -> None:
    job = submitted(ada)
    reader = ApiClient(make_key(cast.account, scopes=[Scope.JOBS_READ]).plaintext)
    canceler = ApiClient(make_key(cast.account, scopes=[Scope.JOBS_CANCEL]).plaintext)

    assert reader.get(f"/v1/jobs/{job.pk}").status_code == 200
    assert reader.delete(f"/v1/jobs/{job.pk}").status_code == 403
    assert canceler.get(f"/v1/jobs/{job.pk}").status_code == 403
    assert canceler.delete(f"/v1/jobs/{job.pk}").status_code == 200


@pytest.mark.parametrize("job_id", ["abc", "9" * 30, "9" * 5000, "-1", "%00"])
def test_odd_ids_are_not_found(ada: ApiClient, job_id: str) -> None:
    assert ada.get(f"/v1/jobs/{job_id}").json()["code"] == "not_found"


def test_wrong_method_and_unknown_path(ada: ApiClient) -> None:
    wrong = ada.post("/v1/jobs/1")
    assert_problem(wrong, 405, "Method Not Allowed", "method_not_allowed", 'Method "POST" not allowed.')
    assert wrong["Allow"] == "GET, HEAD, DELETE"
    unknown = ada.get("/v1/nothing")
    assert_problem(unknown, 404, "Not Found", "not_found", "Path /v1/nothing was not found.")


def parsed(stream: bytes) -> list[tuple[str, str, Any]]:
    """The events of a stream as (event, id, data); comments and `retry` apart."""
    events = []
    for block in stream.decode().strip().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in lines:
            events.append((lines["event"], lines["id"], json.loads(lines["data"])))
    return events


@pytest.fixture
def live_ada(transactional_db: None) -> ApiClient:
    cast = assemble_cast(now=FrozenClock().now())
    make_checkpoint("tiny")
    return ApiClient(cast.key_text)


def test_events_of_a_job_that_has_ended(live_ada: ApiClient) -> None:
    submitted(live_ada)
    [job] = jobs.run_all()

    response = live_ada.get(f"/v1/jobs/{job.pk}/events", Last_Event_ID="1.7.running.0")

    assert response["Content-Type"] == "text/event-stream"
    assert response["Cache-Control"] == "no-store"
    stream = b"".join(response.streaming_content)
    assert stream.startswith(b"retry: 2000\n\n")
    assert parsed(stream) == [
        ("state", "1.25.succeeded.0", {"id": job.pk, "state": "succeeded"}),
        ("progress", "1.25.succeeded.0", {"step": 25, "total": 25, "queue_position": 0, "eta_s": 0.0}),
        ("done", "1.25.succeeded.0", live_ada.get(f"/v1/jobs/{job.pk}").json()),
    ]


def test_events_follow_the_job_to_its_end(live_ada: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apps.generation.waiting.RECHECK_S", 0.02)
    job = submitted(live_ada)
    stream = live_ada.get(f"/v1/jobs/{job.pk}/events").streaming_content
    seen = [next(stream) for _ in range(3)]

    def read_on() -> None:
        try:
            seen.extend(stream)
        finally:
            connection.close()

    def wait_for(words: bytes) -> None:
        """Each change is told before the next is made, or both would be told as one."""
        wait_until(lambda: words in b"".join(seen), what=words.decode(), timeout_s=60)

    reader = threading.Thread(target=read_on)
    reader.start()
    running = jobs.claim(job)
    wait_for(b'"state":"running"')
    jobs.progress(running, 10)
    wait_for(b'"step":10')
    jobs.finish(running)
    reader.join(timeout=60)

    events = [
        (name, data["step"] if name == "progress" else data["state"])
        for name, _, data in parsed(b"".join(seen))
    ]
    assert events == [
        ("state", "queued"),
        ("progress", 0),
        ("state", "running"),
        ("progress", 0),
        ("progress", 10),
        ("state", "succeeded"),
        ("progress", 25),
        ("done", "succeeded"),
    ]


def test_a_stream_without_a_free_place_ends_for_the_client_to_come_back(
    live_ada: ApiClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = submitted(live_ada)
    monkeypatch.setattr("apps.generation.waiting.JobWatcher.watch", _no_place)

    stream = b"".join(live_ada.get(f"/v1/jobs/{job.pk}/events").streaming_content)

    assert [name for name, _, _ in parsed(stream)] == ["state", "progress"]


def _no_place(self: object, job_id: int) -> Any:
    return nullcontext(None)
