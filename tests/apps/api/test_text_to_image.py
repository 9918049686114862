"""POST text2img (v6) and text-to-image (v7): what an accepted request is answered with."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from apps.generation.models import GenerationJob
from tests.apps.api import jobs
from tests.apps.api.client import V6, V7, ApiClient
from tests.cast import Cast, assemble_cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint

QUEUED = "The image is being generated; fetch it from fetch_result after the estimated time."
META = {
    "prompt": "a red fox",
    "negative_prompt": "",
    "model_id": "tiny",
    "W": 64,
    "H": 64,
    "width": 64,
    "height": 64,
    "seed": 42,
    "steps": 25,
    "guidance_scale": 4.0,
    "n_samples": 1,
    "scheduler": "DPMSolverMultistepScheduler",
    "use_karras_sigmas": "no",
    "algorithm_type": "none",
    "base64": "no",
    "temp": "no",
    "instant_response": "no",
    "enhance_prompt": "no",
    "safety_checker": "no",
    "safetychecker": "no",
    "tomesd": "no",
    "upscale": "no",
    "highres_fix": "no",
    "panorama": "no",
    "self_attention": "no",
    "multi_lingual": "no",
    "watermark": "no",
    "full_url": "no",
    "vae": None,
    "lora_model": None,
    "lora_strength": None,
    "webhook": None,
    "track_id": None,
    "outdir": "out",
}


def expected_meta(job: GenerationJob, **changes: object) -> dict[str, object]:
    return META | {"id": str(job.pk), "file_prefix": str(job.artifact_group)} | changes


@pytest.mark.parametrize(
    ("path", "version"), [(V6, "v6"), ("/api/v6/images/text2img/text2img", "v6"), (V7, "v7")]
)
def test_unfinished_request_is_answered_with_where_to_fetch_it(
    ada: ApiClient, path: str, version: str
) -> None:
    response = ada.submit(path, seed=42)

    job = GenerationJob.objects.get()
    body = response.json()
    [link] = body["future_links"]
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert link.startswith("http://testserver/media/")
    assert link.endswith(f"/generations/{job.artifact_group}-0.png")
    assert body == {
        "status": "processing",
        "id": job.pk,
        "eta": 2.8,
        "message": QUEUED,
        "messege": QUEUED,
        "webhook_status": "",
        "fetch_result": f"http://testserver/api/{version}/images/fetch/{job.pk}",
        "output": [],
        "future_links": [link],
        "proxy_links": [link],
        "meta": expected_meta(job, output=[link]),
    }


def test_accepting_leaves_one_job_one_reserved_call_and_one_audit_event(ada: ApiClient) -> None:
    ada.submit(samples=3)

    assert jobs.traces() == (1, 1, 1)
    assert GenerationJob.objects.get().num_images == 3


def test_future_links_lead_nowhere_until_the_job_is_done(ada: ApiClient, anybody: ApiClient) -> None:
    links = ada.submit(samples=2).json()["future_links"]
    assert [anybody.get(link).status_code for link in links] == [404, 404]

    jobs.run_all()

    answers = [anybody.get(link) for link in links]
    assert [(answer.status_code, answer["Content-Type"]) for answer in answers] == [(200, "image/png")] * 2


def test_base64_gives_links_to_text(ada: ApiClient, anybody: ApiClient) -> None:
    body = ada.submit(base64="yes").json()
    assert [link[-9:] for link in body["future_links"]] == ["-0.base64"]
    assert body["meta"]["base64"] == "yes"

    jobs.run_all()

    done = ada.post(f"/api/v6/images/fetch/{body['id']}").json()
    assert done["output"] == body["future_links"]
    assert anybody.get(done["output"][0]).content.startswith(b"iVBORw0KGgo")


def test_answers_name_the_quota_and_the_request(ada: ApiClient) -> None:
    response = ada.submit()

    assert {name: response[name] for name in response.headers if "ratelimit" in name.lower()} == {
        "RateLimit-Policy": '"calls";q=100;w=86400',
        "RateLimit": '"calls";r=99;t=43200',
        "X-RateLimit-Limit": "100",
        "X-RateLimit-Remaining": "99",
        "X-RateLimit-Reset": "43200",
    }
    assert response["X-Request-Id"].startswith("req_")
    assert response["Cache-Control"] == "no-store"
    assert "X-Darkroom-Runtime" not in response


def test_fake_runtime_is_named(ada: ApiClient, settings: Any) -> None:
    settings.RUNTIME = "fake"

    assert ada.submit()["X-Darkroom-Runtime"] == "fake"


def test_alias_of_a_model_is_accepted_and_meta_names_the_model(ada: ApiClient) -> None:
    assert ada.submit(model_id="sdxl").json()["meta"]["model_id"] == "tiny"


@pytest.mark.parametrize("track_id", ["order-7", 7, None])
def test_track_id_is_echoed_as_given(ada: ApiClient, track_id: object) -> None:
    assert ada.submit(track_id=track_id).json()["meta"]["track_id"] == track_id


def test_random_seeds_are_reported(ada: ApiClient) -> None:
    seed = ada.submit(seed=-1).json()["meta"]["seed"]

    assert GenerationJob.objects.get().resolved.seed == seed
    assert 0 <= seed < 2**31


def test_submitting_takes_a_fixed_number_of_queries(
    ada: ApiClient,
    django_assert_num_queries: Callable[[int], Any],
    django_capture_on_commit_callbacks: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("apps.api.quota_headers.PLAN_MEMORY_S", 1e9)
    ada.submit()
    # key; plan; model; begin, quota, queue depth, share of the queue, job, audit, commit; work ahead and
    # workers for the eta; quota for the headers; the message to the workers.
    with django_assert_num_queries(14), django_capture_on_commit_callbacks(execute=True):
        ada.submit()


def test_the_first_image_of_a_form_is_the_same(ada: ApiClient, cast: Cast) -> None:
    response = ada.http.post(V6, {"key": cast.key_text, "model_id": "tiny", "prompt": "a fox", "seed": "7"})

    assert response.json()["meta"]["seed"] == 7


@pytest.fixture
def waiting_ada(transactional_db: None, settings: Any) -> ApiClient:
    """Ada's client with real commits and real time, as waiting needs other connections to see her job."""
    settings.SYNC_WAIT_S = 20.0
    cast = assemble_cast(now=FrozenClock().now())
    make_checkpoint("tiny")
    return ApiClient(cast.key_text)


@pytest.fixture
def worker() -> Iterator[Callable[[Callable[[GenerationJob], object]], None]]:
    """Runs something on the next job to appear, in a thread of its own."""
    threads = []

    def start(act: Callable[[GenerationJob], object]) -> None:
        def run() -> None:
            try:
                for _ in range(2000):
                    if GenerationJob.objects.exists():
                        act(jobs.claim())
                        return
                    stop.wait(0.005)
            finally:
                connection.close()

        thread = threading.Thread(target=run)
        thread.start()
        threads.append(thread)

    stop = threading.Event()
    yield start
    stop.set()
    for thread in threads:
        thread.join(timeout=20)


def test_finished_in_time_is_answered_with_its_images(waiting_ada: ApiClient, worker: Any) -> None:
    worker(jobs.finish)

    response = waiting_ada.submit(seed=42, samples=2)

    job = GenerationJob.objects.get()
    body = response.json()
    assert response.status_code == 200
    assert [link.rpartition("-")[2] for link in body["output"]] == ["0.png", "1.png"]
    assert body == {
        "status": "success",
        "generationTime": round(job.runtime_s, 2),
        "id": job.pk,
        "output": body["output"],
        "proxy_links": body["output"],
        "nsfw_content_detected": False,
        "webhook_status": "",
        "meta": expected_meta(job, n_samples=2, nsfw_detected=False),
    }
    assert waiting_ada.get(body["output"][0])["Content-Type"] == "image/png"


def test_failed_in_time_is_an_error_body_with_status_200(waiting_ada: ApiClient, worker: Any) -> None:
    worker(jobs.fail)

    response = waiting_ada.submit()

    assert response.status_code == 200
    assert response.json() == {
        "status": "error",
        "id": GenerationJob.objects.get().pk,
        "message": "It does not fit.",
        "messege": "It does not fit.",
        "output": "",
    }


def test_instant_response_does_not_wait(waiting_ada: ApiClient) -> None:
    body = waiting_ada.submit(instant_response="yes").json()

    assert body["status"] == "processing"
    assert body["meta"]["instant_response"] == "yes"
