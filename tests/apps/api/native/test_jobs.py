"""Lists of jobs, estimates, uploads, the timeline, and what events tell besides states and steps."""

from __future__ import annotations

import base64
import json
from datetime import timedelta
from typing import Any

import pytest

from apps.apikeys.choices import Scope
from apps.core import clock as core_clock
from apps.generation.lifecycle import finish_job, lease_of
from apps.generation.models import GenerationJob, JobPreview
from apps.generation.picture_store import sweep_pictures
from tests.apps.api import jobs
from tests.apps.api.native.conftest import DATA_URL, PNG, NativeClient
from tests.apps.api.test_native import parsed
from tests.cast import Cast, assemble_cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint, make_key, write_artifact


def ids(response: Any) -> list[int]:
    assert response.status_code == 200, response.json()
    return [item["id"] for item in response.json()["items"]]


# --- lists ---


def test_pages_are_newest_first_and_meet_without_gaps(ada: NativeClient, cleo: NativeClient) -> None:
    made = [ada.create().json()["id"] for _ in range(5)]
    cleo.create()

    first = ada.get("/v1/jobs?limit=2")
    second = ada.get(f"/v1/jobs?limit=2&cursor={first.json()['next_cursor']}")
    third = ada.get(f"/v1/jobs?limit=2&cursor={second.json()['next_cursor']}")

    assert ids(first) + ids(second) + ids(third) == made[::-1]
    assert third.json()["next_cursor"] is None
    assert "request" not in first.json()["items"][0]


def test_filters(ada: NativeClient, clock: FrozenClock) -> None:
    plain = ada.create(track_id=5).json()["id"]
    clock.advance(seconds=60)
    picture = ada.create(kind="img2img", image=DATA_URL, track_id="5").json()["id"]
    jobs.finish(jobs.claim())

    assert ids(ada.get("/v1/jobs?state=succeeded")) == [plain]
    assert ids(ada.get("/v1/jobs?state=queued,running")) == [picture]
    assert ids(ada.get("/v1/jobs?state=queued&state=succeeded")) == [picture, plain]
    assert ids(ada.get("/v1/jobs?kind=img2img")) == [picture]
    assert ids(ada.get("/v1/jobs?track_id=5")) == [picture, plain]
    assert ids(ada.get("/v1/jobs?track_id=6")) == []
    assert ids(ada.get("/v1/jobs?queued_from=2026-03-02T12:00:30Z")) == [picture]
    assert ids(ada.get("/v1/jobs?queued_before=2026-03-02T13:00:30%2B01:00")) == [plain]
    assert ids(ada.get("/v1/jobs?queued_from=1168-01-10T12:56:54-19:00")) == [picture, plain]
    [item] = ada.get("/v1/jobs?state=succeeded").json()["items"]
    assert [image["media_type"] for image in item["images"]] == ["image/png"]


def test_a_page_costs_as_many_queries_as_a_job(ada: NativeClient, django_assert_max_num_queries: Any) -> None:
    for _ in range(6):
        ada.create()
    jobs.run_all()

    with django_assert_max_num_queries(5):
        ada.get("/v1/jobs")


@pytest.mark.parametrize(
    ("query", "parameter"),
    [
        ("state=done", "state"),
        ("state=", "state"),
        ("kind=song", "kind"),
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("cursor=x", "cursor"),
        ("queued_from=yesterday", "queued_from"),
        ("queued_from=2026-03-02", "queued_from"),
        ("queued_before=0001-01-01T00:00:00Z", "queued_before"),
        ("track_id=%00", "track_id"),
        ("sort=id", "sort"),
    ],
)
def test_wrong_parameters_are_named(ada: NativeClient, query: str, parameter: str) -> None:
    response = ada.get(f"/v1/jobs?{query}")

    assert response.status_code == 400
    assert [error["parameter"] for error in response.json()["errors"]] == [parameter]


# --- estimates ---


@pytest.mark.parametrize(
    "fields", [{"num_images": 3, "width": 128, "height": 64}, {"kind": "img2img", "image": DATA_URL}]
)
def test_an_estimate_is_what_is_then_charged(ada: NativeClient, fields: dict[str, Any]) -> None:
    wanted = {"model": "tiny", "prompt": "a red fox"} | fields

    told = ada.post("/v1/estimate", wanted).json()
    assert jobs.traces() == jobs.NOTHING
    created = ada.post("/v1/jobs", wanted).json()

    assert told["seconds"] == created["eta_s"]
    job = GenerationJob.objects.get()
    width, height = job.resolved.delivered_size
    assert told["images"] == job.num_images == fields.get("num_images", 1)
    assert told["pixels"] == width * height * job.num_images
    assert (told["calls"], jobs.traces()[1]) == (1, 1)


def test_an_estimate_refuses_as_a_job_does(ada: NativeClient) -> None:
    wanted = {"model": "tiny", "prompt": "x", "steps": 999}

    told, created = ada.post("/v1/estimate", wanted), ada.post("/v1/jobs", wanted)

    assert told.status_code == created.status_code == 400
    assert told.json()["errors"] == created.json()["errors"]


# --- uploads ---


def test_a_picture_is_kept_for_an_hour(ada: NativeClient, clock: FrozenClock) -> None:
    response = ada.http.post("/v1/uploads", PNG, "image/png", headers=ada.headers)

    assert response.status_code == 201
    body = response.json()
    assert (body["width"], body["height"], body["has_alpha"]) == (96, 64, False)
    assert body["expires_at"] == "2026-03-02T13:00:00.000000Z"
    assert ada.form("/v1/uploads", {"image": PNG}).json() == body
    assert ada.post("/v1/uploads", {"image": DATA_URL}).json() == body

    sweep_pictures(now=core_clock.now() + timedelta(hours=2))
    gone = ada.create(kind="img2img", image=body["id"])
    assert gone.json()["errors"][0]["pointer"] == "#/image"


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        (b"", "image/png"),
        (b"GIF89a", "image/gif"),
        (b"{}", "application/json"),
        (b'{"image":[]}', "text/plain"),
    ],
)
def test_what_is_no_picture_is_refused(ada: NativeClient, data: bytes, media_type: str) -> None:
    response = ada.http.post("/v1/uploads", data, media_type, headers=ada.headers)

    assert response.status_code == 400
    assert response.json()["errors"][0]["pointer"] == "#/image"


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/estimate", "/v1/uploads"])
def test_each_post_needs_the_scope(cast: Cast, path: str) -> None:
    reader = NativeClient(make_key(cast.account, scopes=[Scope.JOBS_READ]).plaintext)

    response = reader.post(path, {})

    assert (response.status_code, response.json()["code"]) == (403, "scope_missing")


# --- a job's body ---


def test_the_timeline_goes_from_queued_to_stored(ada: NativeClient, clock: FrozenClock) -> None:
    ada.create()
    clock.advance(seconds=3)
    job = jobs.claim()
    spent = {"queued_s": 0.5, "load_s": 0.0, "encode_s": 0.1, "denoise_s": 2.0, "decode_s": 0.2}
    finish_job(
        lease=lease_of(job),
        artifacts=[write_artifact(group=job.artifact_group, data=PNG)],
        timings=spent | {"encode_image_s": 0.05, "total_s": 2.9, "store_s": 0.01},
        worker=jobs.WORKER,
        now=core_clock.now(),
        result={"caption": "a fox", "safety": {"prompt": "fine"}},
    )

    body = ada.get(f"/v1/jobs/{job.pk}").json()

    assert [(phase["phase"], phase["seconds"]) for phase in body["timeline"]] == [
        ("queued", 3.5),
        ("encode", 0.1),
        ("steps", 2.0),
        ("decode", 0.2),
        ("encode_image", 0.05),
        ("store", 0.01),
    ]
    assert body["result"] == {"caption": "a fox"}


def test_canceling_with_a_key_may_be_repeated(ada: NativeClient) -> None:
    path = ada.create()["Location"] + "/cancel"

    first, second = (ada.post(path, Idempotency_Key="stop") for _ in range(2))

    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert ada.post(path).status_code == 409


# --- events ---


@pytest.fixture
def live_ada(transactional_db: None) -> NativeClient:
    cast = assemble_cast(now=FrozenClock().now())
    make_checkpoint("tiny")
    return NativeClient(cast.key_text)


def first_events(
    client: NativeClient, job_id: int, *, count: int = 2, **headers: str
) -> list[tuple[str, str, Any]]:
    """Of the first `count` pieces after `retry`, what is no comment."""
    stream = client.get(f"/v1/jobs/{job_id}/events", **headers).streaming_content
    return parsed(b"".join(next(stream) for _ in range(1 + count)))


def test_progress_tells_place_and_time(live_ada: NativeClient) -> None:
    live_ada.create()
    job_id = live_ada.create().json()["id"]

    state, progress = first_events(live_ada, job_id)

    assert state[2] == {"id": job_id, "state": "queued"}
    assert progress[2]["queue_position"] == 1
    assert progress[2]["eta_s"] > 0


def test_a_running_job_shows_itself(live_ada: NativeClient) -> None:
    live_ada.create(previews=True)
    job = jobs.claim()
    JobPreview.objects.create(job=job, index=0, step=4, data=b"jpeg")

    *_, (name, _, preview) = first_events(live_ada, job.pk, count=3)

    assert name == "preview"
    kind, data = preview.pop("image").split(",")
    assert (kind, base64.b64decode(data)) == ("data:image/jpeg;base64", b"jpeg")
    assert preview == {"index": 0, "step": 4}


def test_who_comes_back_is_told_what_is_new(live_ada: NativeClient) -> None:
    live_ada.create()
    job = jobs.claim()
    jobs.progress(job, 3)
    *_, (_, last, _) = first_events(live_ada, job.pk)

    assert first_events(live_ada, job.pk, count=1, Last_Event_ID=last) == []
    jobs.progress(job, 9)
    [(name, _, progress)] = first_events(live_ada, job.pk, count=1, Last_Event_ID=last)
    assert (name, progress["step"]) == ("progress", 9)


def test_marks_of_others_tell_nothing(live_ada: NativeClient) -> None:
    job_id = live_ada.create().json()["id"]

    for mark in ("nonsense", "1.2", "9" * 40, json.dumps({})):
        assert len(first_events(live_ada, job_id, Last_Event_ID=mark)) == 2
