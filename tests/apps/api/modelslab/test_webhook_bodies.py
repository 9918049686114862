"""What a webhook says at the end of jobs whose result is no list of images."""

from __future__ import annotations

from apps.api.modelslab.webhooks import webhook_body
from apps.catalog.models import CatalogEntry
from apps.core import clock
from apps.webhooks.bodies import Event
from tests.apps.api import jobs
from tests.apps.api.client import ApiClient
from tests.apps.api.modelslab.workbench import picture, run

SCENE = {"init_image": picture(), "track_id": "a7"}


def told(job_id: int) -> dict[str, object]:
    event = Event(event_id="e", name="job.succeeded", job_id=job_id, created_at=clock.now())
    return dict(webhook_body(event))


def test_a_caption(ada: ApiClient, readers: dict[str, CatalogEntry]) -> None:
    job = run(ada.post("/api/v6/image_editing/caption", SCENE).json()["id"])

    body = told(job.pk)

    assert (body["status"], body["output"], body["track_id"]) == ("success", ["a test card"], "a7")


def test_findings(ada: ApiClient, utilities: dict[str, CatalogEntry]) -> None:
    job = run(ada.post("/api/v3/nsfw_image_check", SCENE).json()["id"], notes={"nsfw": 0.9})

    assert told(job.pk) == {
        "status": "success",
        "id": job.pk,
        "images": [""],
        "has_nsfw_concept": [True],
        "track_id": "a7",
    }


def test_a_failure(ada: ApiClient) -> None:
    job_id = ada.submit(track_id=7).json()["id"]
    jobs.fail(jobs.claim(), code="no_face", message="no face was found in init_image")

    body = told(job_id)

    assert (body["status"], body["message"], body["track_id"]) == (
        "failed",
        "no face was found in init_image",
        7,
    )
