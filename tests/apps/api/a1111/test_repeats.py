"""Idempotency-Key: a repeat of a POST gets the images of the first, and nothing is made or counted twice."""

from __future__ import annotations

from typing import Any

import pytest

from apps.catalog.models import CatalogEntry
from apps.generation.choices import JobState, Kind
from apps.generation.models import GenerationJob, IdempotencyRecord
from tests.apps.api import jobs
from tests.apps.api.a1111.conftest import A1111Client, deliver, picture, refusal, the_job
from tests.cast import Cast
from tests.factories import give_plan, make_adapter

DRAWN: dict[str, Any] = {"prompt": "a red fox", "width": 64, "height": 64}
POSTS: dict[str, dict[str, Any]] = {
    "txt2img": DRAWN,
    "img2img": DRAWN | {"init_images": [picture()]},
    "extra-single-image": {"image": picture(), "upscaler_1": "Lanczos"},
    "extra-batch-images": {
        "imageList": [{"data": picture(colour=colour), "name": colour} for colour in ("red", "teal")],
        "upscaler_1": "Lanczos",
    },
    "interrogate": {"image": picture()},
    "/controlnet/detect": {
        "controlnet_module": "canny",
        "controlnet_input_images": [picture(), picture(colour="red")],
    },
}
"""Every endpoint that makes jobs."""
UNITS = {"controlnet": {"args": [{"module": "canny", "image": picture()}]}}


@pytest.fixture(autouse=True)
def installed(tiny: CatalogEntry) -> None:
    make_adapter("blip", kind="preprocessor", family="", variant="caption")
    make_adapter("canny-net", kind="controlnet", variant="canny")


@pytest.mark.parametrize("path", POSTS)
def test_a_repeat_gets_the_first_answer_and_makes_nothing(ada: A1111Client, path: str) -> None:
    first = ada.post(path, POSTS[path], Idempotency_Key="k1")
    before = GenerationJob.objects.count()

    second = ada.post(path, POSTS[path], Idempotency_Key="k1")

    assert (first.status_code, second.status_code) == (200, 200), first.content
    assert second.content == first.content
    assert GenerationJob.objects.count() == before > 0
    assert "Idempotent-Replayed" not in first
    assert second["Idempotent-Replayed"] == "true"
    assert second["X-RateLimit-Remaining"] == first["X-RateLimit-Remaining"]


def test_a_repeat_of_several_pictures(ada: A1111Client) -> None:
    body = POSTS["img2img"] | {"init_images": [picture(), picture(colour="red")]}

    first, second = (ada.post("img2img", body, Idempotency_Key="k1") for _ in range(2))

    assert len(first.json()["images"]) == 2
    assert second.content == first.content
    assert GenerationJob.objects.count() == 2


def test_maps_of_units_are_made_once_as_well(ada: A1111Client) -> None:
    body = DRAWN | {"alwayson_scripts": UNITS}
    first = ada.post("txt2img", body, Idempotency_Key="k1")
    second = ada.post("txt2img", body, Idempotency_Key="k1")

    assert len(first.json()["images"]) == 2
    assert second.content == first.content
    assert [job.kind for job in GenerationJob.objects.order_by("pk")] == [Kind.TXT2IMG, Kind.DETECT]


def test_another_key_another_account_or_none_makes_other_jobs(ada: A1111Client, cleo: A1111Client) -> None:
    for client, headers in (
        (ada, {"Idempotency_Key": "k1"}),
        (ada, {"Idempotency_Key": "k2"}),
        (ada, {}),
        (cleo, {"Idempotency_Key": "k1"}),
    ):
        assert client.post("txt2img", DRAWN, **headers).status_code == 200

    assert GenerationJob.objects.count() == 4


@pytest.mark.parametrize(("path", "body"), [("txt2img", DRAWN | {"seed": 2}), ("img2img", POSTS["img2img"])])
def test_the_same_key_with_another_request_is_a_conflict(
    ada: A1111Client, path: str, body: dict[str, Any]
) -> None:
    ada.post("txt2img", DRAWN, Idempotency_Key="k1")

    response = ada.post(path, body, Idempotency_Key="k1")

    assert refusal(response) == (409, "The Idempotency-Key k1 was already used with a different request.")
    assert GenerationJob.objects.count() == 1


@pytest.mark.parametrize("key", ["", " ", "x" * 256, "é"])
def test_unusable_keys(ada: A1111Client, key: str) -> None:
    response = ada.post("txt2img", DRAWN, Idempotency_Key=key)

    assert refusal(response) == (400, "The Idempotency-Key must be 1 to 255 printable ASCII characters.")
    assert not GenerationJob.objects.exists()


def test_a_failure_is_repeated(ada: A1111Client, worker: Any) -> None:
    worker(lambda job: jobs.fail(job, "out_of_memory", "It does not fit."))
    first = ada.post("txt2img", DRAWN, Idempotency_Key="k1")
    worker(deliver)

    second = ada.post("txt2img", DRAWN, Idempotency_Key="k1")

    assert refusal(second) == refusal(first) == (500, "It does not fit.")


@pytest.mark.parametrize(
    ("path", "body"),
    [("txt2img", DRAWN | {"alwayson_scripts": UNITS}), ("extra-batch-images", POSTS["extra-batch-images"])],
)
def test_a_request_that_is_refused_half_way_may_be_sent_again(
    ada: A1111Client, cast: Cast, path: str, body: dict[str, Any]
) -> None:
    give_plan(cast.account, calls_per_day=1)
    assert ada.post(path, body, Idempotency_Key="k1").status_code == 429
    assert not IdempotencyRecord.objects.exists()
    give_plan(cast.account, calls_per_day=100)

    second = ada.post(path, body, Idempotency_Key="k1")

    assert second.status_code == 200
    assert len(second.json()["images"]) == 2
    assert "Idempotent-Replayed" not in second


def test_a_job_goes_on_for_a_caller_who_can_come_back(
    ada: A1111Client, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker(lambda job: None)
    monkeypatch.setattr("apps.api.a1111.jobs.has_hung_up", lambda http: True)
    assert ada.post("txt2img", DRAWN, Idempotency_Key="k1").status_code == 499
    assert the_job().state == JobState.RUNNING
    assert not the_job().is_cancel_requested
    deliver(the_job())

    response = ada.post("txt2img", DRAWN, Idempotency_Key="k1")

    assert (response.status_code, len(response.json()["images"])) == (200, 1)
    assert response["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    ("headers", "end"),
    [
        ({}, "so job {} was canceled."),
        ({"Idempotency_Key": "k1"}, "job {} goes on: send the request again with the same Idempotency-Key."),
    ],
)
def test_a_wait_that_is_over_says_what_becomes_of_the_job(
    ada: A1111Client, worker: Any, settings: Any, headers: dict[str, str], end: str
) -> None:
    worker(lambda job: None)
    settings.A1111_WAIT_S = 0.0

    response = ada.post("txt2img", DRAWN, **headers)

    said = f"The images were not ready within 0 s, {end.format(the_job().pk)}"
    assert refusal(response) == (504, said)
    assert the_job().is_cancel_requested is not bool(headers)
