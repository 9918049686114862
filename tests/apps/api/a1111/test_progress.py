"""GET progress, POST interrupt and skip, the same for web interfaces: of the caller's own request alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from apps.api.a1111 import progress_views
from apps.core import clock
from apps.generation.choices import JobState
from apps.generation.lifecycle import finish_cancel, lease_of
from apps.generation.models import GenerationJob, JobPreview
from apps.generation.progress import keep_previews
from apps.generation.selectors import find_preview
from gpu_runtime.messages import Preview
from tests.apps.api import jobs
from tests.apps.api.a1111.conftest import A1111Client, Act, bad_field, deliver, picture, the_job

Chooser = Callable[[Act], None]
TASK = "task(txt2img-abc1234)"


def test_nothing_to_do(ada: A1111Client) -> None:
    body = ada.get("progress").json()

    assert body == {
        "progress": 0.0,
        "eta_relative": 0.0,
        "state": {
            "skipped": False,
            "interrupted": False,
            "stopping_generation": False,
            "job": "",
            "job_count": 0,
            "job_timestamp": "20260302120000",
            "job_no": 0,
            "sampling_step": 0,
            "sampling_steps": 0,
        },
        "current_image": None,
        "textinfo": None,
        "current_task": None,
    }


def test_a_running_request(ada: A1111Client, cleo: A1111Client, worker: Chooser) -> None:
    seen: dict[str, Any] = {}

    def look(job: GenerationJob) -> None:
        jobs.progress(job, 10)
        lease = lease_of(job)
        keep_previews({lease: Preview(request_id="1", index=0, step=5, data=b"jpeg")})
        seen["ours"] = ada.get("progress").json()
        seen["without"] = ada.get("progress?skip_current_image=true").json()
        seen["theirs"] = cleo.get("progress").json()
        seen["task"] = ada.post("/internal/progress", {"id_task": TASK, "id_live_preview": -1}).json()
        seen["again"] = ada.post("/internal/progress", {"id_task": TASK, "id_live_preview": 5}).json()
        deliver(job)

    worker(look)
    ada.draw(steps=20, n_iter=2, force_task_id=TASK)

    ours = seen["ours"]
    assert (ours["progress"], ours["current_image"], ours["current_task"]) == (0.25, "anBlZw==", TASK)
    assert ours["eta_relative"] > 0
    state = {"sampling_step": 5, "sampling_steps": 20, "job_count": 2, "job": TASK, "interrupted": False}
    assert ours["state"].items() >= state.items()
    assert seen["without"]["current_image"] is None
    assert (seen["theirs"]["progress"], seen["theirs"]["state"]["job_count"]) == (0.0, 0)
    task = {"active": True, "queued": False, "completed": False, "progress": 0.25, "id_live_preview": 5}
    assert seen["task"].items() >= task.items()
    assert seen["task"]["live_preview"] == "data:image/jpeg;base64,anBlZw=="
    assert seen["again"]["live_preview"] is None
    assert ada.post("/internal/progress", {"id_task": TASK}).json()["completed"]
    assert not cleo.post("/internal/progress", {"id_task": TASK}).json()["completed"]


def test_a_picture_comes_with_the_steps_behind_it(
    ada: A1111Client, worker: Chooser, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    def look(job: GenerationJob) -> None:
        def find_late(row: GenerationJob) -> JobPreview | None:
            jobs.progress(job, 1)
            keep_previews({lease_of(job): Preview(request_id="1", index=0, step=1, data=b"jpeg")})
            return find_preview(row)

        monkeypatch.setattr(progress_views, "find_preview", find_late)
        seen.append(ada.get("progress").json())
        deliver(job)

    worker(look)
    ada.draw(steps=20, n_iter=2)

    assert seen[0]["current_image"]
    assert seen[0]["state"]["sampling_step"] == 1
    assert seen[0]["progress"] > 0.02


@pytest.mark.parametrize(("path", "body"), [("interrupt", b"{}"), ("skip", b"null")])
def test_stopping(ada: A1111Client, cleo: A1111Client, worker: Chooser, path: str, body: bytes) -> None:
    answers: list[bytes] = []

    def stop(job: GenerationJob) -> None:
        cleo.post(path)
        assert not GenerationJob.objects.get(pk=job.pk).is_cancel_requested
        answers.append(ada.post(path, b"").content)
        assert ada.get("progress").json()["state"]["interrupted"]
        finish_cancel(lease=lease_of(job), worker=jobs.WORKER, now=clock.now())

    worker(stop)

    assert ada.draw().json()["images"] == []
    assert answers == [body]
    assert the_job().state == JobState.CANCELED


def test_a_batch_is_one_request(ada: A1111Client, worker: Chooser) -> None:
    seen: list[float] = []

    def look(job: GenerationJob) -> None:
        jobs.progress(job, 10)
        seen.append(ada.get("progress").json()["progress"])
        deliver(job)

    worker(look)
    ada.redraw(init_images=[picture(), picture(colour="red")], steps=20, denoising_strength=1)

    assert seen == [0.25, 0.75]


@pytest.mark.parametrize(("path", "left"), [("skip", [1, 3]), ("interrupt", [1])])
def test_stopping_within_a_batch(ada: A1111Client, worker: Chooser, path: str, left: list[int]) -> None:
    def stop_the_second(job: GenerationJob) -> None:
        if job.resolved.seed == 2:
            ada.post(path)
            finish_cancel(lease=lease_of(job), worker=jobs.WORKER, now=clock.now())
        else:
            deliver(job)

    worker(stop_the_second)
    body = ada.redraw(init_images=[picture(colour=name) for name in ("red", "teal", "blue")], seed=1).json()

    assert json.loads(body["info"])["all_seeds"] == left
    assert len(body["images"]) == len(left)


def test_stopping_nothing(ada: A1111Client) -> None:
    assert ada.post("interrupt").json() == {}
    assert ada.post("skip").json() is None


def test_waiting_tasks(ada: A1111Client, worker: Chooser) -> None:
    seen: list[Any] = []

    def look(job: GenerationJob) -> None:
        GenerationJob.objects.filter(pk=job.pk).update(
            state=JobState.QUEUED, claimed_by="", lease_expires_at=None
        )
        seen.append(ada.get("/internal/pending-tasks").json())
        seen.append(ada.get("progress").json())
        deliver(jobs.claim(job))

    worker(look)
    ada.draw(force_task_id=TASK)

    assert seen[0] == {"size": 1, "tasks": [TASK]}
    assert (seen[1]["progress"], seen[1]["textinfo"]) == (0.0, "Waiting...")
    assert ada.get("/internal/pending-tasks").json() == {"size": 0, "tasks": []}


def test_an_unknown_task(ada: A1111Client) -> None:
    assert ada.post("/internal/progress", {"id_task": "x"}).json() == {
        "active": False,
        "queued": False,
        "completed": False,
        "progress": None,
        "eta": None,
        "live_preview": None,
        "id_live_preview": -1,
        "textinfo": "Waiting...",
    }


def test_a_task_without_a_name(ada: A1111Client) -> None:
    assert ada.post("/internal/progress").json() == {
        "detail": [{"loc": ["body", "id_task"], "msg": "field required", "type": "value_error.missing"}]
    }


def test_a_preview_that_is_no_number(ada: A1111Client) -> None:
    answer = ada.post("/internal/progress", {"id_task": "x", "id_live_preview": float("nan")})

    assert bad_field(answer)[0] == "id_live_preview"


def test_ping_needs_no_key(db: None) -> None:
    assert A1111Client(None).get("/internal/ping").json() == {}


def test_a_dropped_connection_cancels(
    ada: A1111Client, worker: Chooser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.api.a1111.jobs.has_hung_up", lambda http: True)
    worker(lambda job: None)

    assert ada.draw().status_code == 499
    assert the_job().is_cancel_requested


def test_no_time_left(ada: A1111Client, worker: Chooser, settings: Any) -> None:
    settings.A1111_WAIT_S = -1.0
    worker(lambda job: None)

    response = ada.draw()

    assert response.status_code == 504
    assert "was canceled" in response.json()["detail"]
    assert the_job().is_cancel_requested


def test_no_place_to_wait(ada: A1111Client, worker: Chooser) -> None:
    worker(lambda job: None)

    response = ada.draw()

    assert (response.status_code, response["Retry-After"]) == (503, "5")
    assert the_job().is_cancel_requested
