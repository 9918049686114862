"""Checks, uploads, what was made and what is left; and what this server does not offer."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image

from apps.artifacts.models import Artifact
from apps.audit.models import AuditEvent
from apps.catalog.models import CatalogEntry
from apps.generation import sharing
from apps.generation.invariants import find_violations
from apps.generation.models import GenerationJob
from tests.apps.api import jobs
from tests.apps.api.client import ApiClient
from tests.apps.api.modelslab.workbench import picture, refused, run
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import give_plan, png_bytes

RAW = base64.b64encode(png_bytes(width=40, height=20)).decode()
CHECK = "/api/v3/nsfw_image_check"


def image_at(client: ApiClient, link: str) -> Image.Image:
    return Image.open(io.BytesIO(b"".join(client.get(link).streaming_content)))


# --- checks ---


@pytest.mark.parametrize(
    ("score", "threshold", "flagged"), [(0.93, None, True), (0.2, None, False), (0.2, "0.1", True)]
)
def test_a_picture_is_checked_against_a_threshold(
    ada: ApiClient,
    utilities: dict[str, CatalogEntry],
    score: float,
    threshold: object,
    flagged: bool,
) -> None:
    accepted = ada.post(CHECK, {"init_image": picture(), "threshold": threshold}).json()
    run(accepted["id"], notes={"nsfw": score})

    body = ada.post(f"/api/v6/images/fetch/{accepted['id']}").json()

    assert body == {
        "status": "success",
        "id": accepted["id"],
        "images": [""],
        "has_nsfw_concept": [flagged],
    }


def test_an_unusable_threshold(ada: ApiClient, utilities: dict[str, CatalogEntry]) -> None:
    assert refused(ada.post(CHECK, {"init_image": picture(), "threshold": 2})) == (
        "threshold must be a number from 0 to 1, not 2"
    )


def test_prompts_are_checked_without_a_job(ada: ApiClient) -> None:
    body = ada.post("/api/check_nsfw_cp", {"prompt": "a nude woman by the sea"}).json()

    assert (body["status"], body["is_nsfw"], body["is_cp"]) == ("success", True, False)
    assert body["original_prompt"] == "a nude woman by the sea"
    assert "nude" not in body["filtered_prompt"]
    assert jobs.traces() == jobs.NOTHING


def test_an_innocent_prompt(ada: ApiClient) -> None:
    assert ada.post("/api/check_nsfw_cp", {"prompt": "a red fox"}).json() == {
        "status": "success",
        "is_cp": False,
        "is_nsfw": False,
        "original_prompt": "a red fox",
        "filtered_prompt": "a red fox",
    }


# --- uploads ---


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/api/v6/base64_to_url", "base64_string"),
        ("/api/v6/image_editing/base64_to_url", "init_image"),
    ],
)
def test_base64_becomes_a_link_for_a_day(
    ada: ApiClient, anybody: ApiClient, clock: FrozenClock, path: str, field: str
) -> None:
    body = ada.post(path, {field: RAW}).json()

    shared = Artifact.objects.get()
    assert body == {"status": "success", "id": shared.pk, "output": body["output"]}
    [link] = body["output"]
    assert image_at(anybody, link).size == (40, 20)
    clock.advance(hours=23, minutes=59)
    assert anybody.get(link).status_code == 200
    clock.advance(minutes=2)
    assert anybody.get(link).status_code == 404


def test_crops_to_the_middle_square(ada: ApiClient, anybody: ApiClient) -> None:
    body = ada.post("/api/v3/base64_crop", {"image": RAW, "crop": "true"}).json()

    assert (body["status"], body["messege"]) == ("success", "image uploaded")
    assert body["request_id"] == Artifact.objects.get().pk
    assert image_at(anybody, body["link"]).size == (20, 20)
    whole = ada.post("/api/v3/base64_crop", {"image": RAW, "crop": "false"}).json()
    assert image_at(anybody, whole["link"]).size == (40, 20)


def test_upload_image(ada: ApiClient, anybody: ApiClient) -> None:
    fields = {"base64_image": RAW, "image_type": "png"}

    body = ada.post("/api/v1/enterprise/upload_image", fields).json()

    assert body.keys() == {"status", "message", "messege", "image_url"}
    assert image_at(anybody, body["image_url"]).size == (40, 20)


def test_an_upload_can_be_used_in_a_request(ada: ApiClient) -> None:
    [link] = ada.post("/api/v6/base64_to_url", {"base64_string": RAW}).json()["output"]
    fields = {"model_id": "tiny", "prompt": "x", "init_image": link}

    body = ada.post("/api/v6/images/img2img", fields).json()

    image = GenerationJob.objects.get(pk=body["id"]).resolved.image
    assert image is not None
    assert (image.width, image.height) == (40, 20)


def test_uploads_do_not_upset_the_invariants(ada: ApiClient, clock: FrozenClock) -> None:
    ada.post("/api/v6/base64_to_url", {"base64_string": RAW})

    assert not any(find_violations(now=clock.now()).values())


def test_uploads_have_an_end(ada: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "MAX_SHARED", 1)
    ada.post("/api/v6/base64_to_url", {"base64_string": RAW})

    answer = ada.post("/api/v6/base64_to_url", {"base64_string": RAW})

    assert (answer.status_code, answer["X-Darkroom-Error"]) == (409, "conflict")
    assert Artifact.objects.count() == 1


def test_an_upload_above_5_mb_is_refused(ada: ApiClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "MAX_BYTES", 50)

    answer = ada.post("/api/v6/base64_to_url", {"base64_string": RAW})

    assert (answer.status_code, Artifact.objects.count()) == (400, 0)
    assert answer.json()["message"].startswith("base64_string must be at most")


# --- what was made ---


def test_images_made_are_listed_newest_first(ada: ApiClient, cleo: ApiClient) -> None:
    first, second = (ada.submit(samples=count).json()["id"] for count in (1, 2))
    jobs.run_all()
    ada.post("/api/v6/base64_to_url", {"base64_string": RAW})

    body = ada.post("/api/assets_generated", {"type": "image", "per_page": 1}).json()

    assert [(item["id"], len(item["output"])) for item in body["data"]] == [(second, 2)]
    assert body["pagination"] == {
        "current_page": 1,
        "per_page": 1,
        "total": 2,
        "last_page": 2,
        "from": 1,
        "to": 1,
    }
    page = ada.post("/api/v6/assets_generated", {"type": "image", "per_page": 1, "page": 2}).json()
    assert [item["id"] for item in page["data"]] == [first]
    assert cleo.post("/api/assets_generated", {"type": "image"}).json()["data"] == []
    assert ada.post("/api/assets_generated", {"type": "video"}).json()["pagination"]["total"] == 0


def test_images_of_a_request_can_be_deleted(ada: ApiClient, clock: FrozenClock) -> None:
    job_id = ada.submit(samples=2).json()["id"]
    jobs.run_all()
    files = [artifact.file_path for artifact in Artifact.objects.all()]

    body = ada.post("/api/v3/delete_image", {"request_id": str(job_id), "type": "image"}).json()

    assert body == {"status": "success", "message": "image deleted", "messege": "image deleted"}
    assert (Artifact.objects.count(), [path.exists() for path in files]) == (0, [False, False])
    assert ada.post(f"/api/v6/images/fetch/{job_id}").json()["status"] == "error"
    assert AuditEvent.objects.filter(name="generation.images.deleted").count() == 1
    assert not any(find_violations(now=clock.now()).values())


def test_images_are_deleted_by_their_owner_once_there_are_any(ada: ApiClient, cleo: ApiClient) -> None:
    job_id = ada.submit().json()["id"]

    assert ada.post("/api/v3/delete_image", {"request_id": job_id}).status_code == 409
    jobs.run_all()
    assert cleo.post("/api/v3/delete_image", {"request_id": job_id}).status_code == 404
    assert ada.post("/api/v3/delete_image", {"request_id": job_id, "type": "video"}).status_code == 404
    assert Artifact.objects.count() == 1


def test_open_requests_are_counted(ada: ApiClient, cleo: ApiClient) -> None:
    ada.submit()
    ada.submit()

    body = ada.get("/api/v6/processing/request_count").json()

    assert (body["status"], body["processing_count"]) == ("success", 2)
    assert cleo.post("/api/v6/processing/request_count").json()["processing_count"] == 0


def test_the_wallet_has_calls(ada: ApiClient, cast: Cast) -> None:
    ada.submit()
    assert ada.post("/api/wallet_balance").json() == {
        "status": "success",
        "data": {"balance": 99, "currency": "calls"},
    }
    give_plan(cast.account, calls_per_day="unlimited")
    assert ada.post("/api/wallet_balance").json()["data"]["balance"] == "unlimited"


def test_the_plan_is_the_subscription(ada: ApiClient, cast: Cast) -> None:
    give_plan(cast.account, calls_per_day=7, kinds=["txt2img"])

    assert ada.get("/api/subscribed_products").json() == {
        "status": "success",
        "data": [
            {
                "plan": "only-ada",
                "status": "active",
                "calls_per_day": 7,
                "queue_depth": 20,
                "max_samples": 15,
                "features": ["txt2img"],
            }
        ],
    }
