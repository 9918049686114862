"""Management of the one server, and what it does not offer."""

from __future__ import annotations

import pytest
from django.urls import resolve

from apps.api.modelslab.endpoints import HOSTS
from apps.api.modelslab.general_urls import GENERAL, SERVER
from apps.api.modelslab.models_urls import ENTERPRISE_VIEWS
from apps.apikeys.choices import Scope
from apps.catalog.models import CatalogEntry
from apps.generation.choices import JobState
from apps.generation.models import GenerationJob
from tests.apps.api import jobs
from tests.apps.api.client import ApiClient
from tests.apps.api.models_fixtures import operator
from tests.cast import Cast
from tests.factories import make_key


def test_the_operator_clears_the_queue(ada: ApiClient, cleo: ApiClient) -> None:
    waiting = [ada.submit().json()["id"], cleo.submit().json()["id"]]
    running = jobs.claim()

    body = operator().post("/api/v1/enterprise/clear_queue").json()

    assert body["message"] == "Queue cleared successfully, 1 request was canceled"
    states = dict(GenerationJob.objects.values_list("pk", "state"))
    assert states[running.pk] == JobState.RUNNING
    assert sorted(states[pk] for pk in waiting) == [JobState.CANCELED, JobState.RUNNING]


@pytest.mark.parametrize("family", ["", "realtime/", "image_editing/", "super_resolution/", "flux/"])
def test_each_family_answers_for_the_one_server(cast: Cast, checkpoint: CatalogEntry, family: str) -> None:
    details = operator().post(f"/api/v1/enterprise/{family}system_details").json()

    assert details == {"model_count": 1, "queue_time": 0.0, "status": "ok"}


def test_customers_do_not_manage_the_server(ada: ApiClient) -> None:
    for name in ("clear_queue", "restart_server", "update_server", "update_s3", "flux/clear_queue"):
        answer = ada.post(f"/api/v1/enterprise/{name}")
        assert (answer.status_code, answer["X-Darkroom-Error"]) == (403, "scope_missing"), name


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("update", "Updating over the API is not offered by this server: its operator updates it"),
        (
            "update_s3",
            "Storage on S3 is not offered by this server: images are kept on the server's own disk, and",
        ),
    ],
)
def test_what_needs_somebody_at_the_machine(cast: Cast, name: str, message: str) -> None:
    answer = operator().post(f"/api/v1/enterprise/{name}")

    assert (answer.status_code, answer["X-Darkroom-Error"]) == (400, "not_offered")
    assert answer.json()["message"].startswith(message)


@pytest.mark.parametrize(
    ("path", "what"),
    [
        ("v6/video/text2video", "Video is"),
        ("v7/video-fusion/text-to-video", "Video is"),
        ("v6/faceswap/single_video_swap", "Video is"),
        ("v1/enterprise/deepfake/specific_video_swap", "Video is"),
        ("v6/voice/text_to_audio", "Audio is"),
        ("v6/3d/text_to_3d", "3D is"),
        ("v6/interior/make", "Interior design is"),
        ("v1/enterprise/interior/scenario", "Interior design is"),
        ("v3/lora_fine_tune", "Training is"),
        ("v3/fine_tune_status/abc", "Training is"),
        ("v3/cancle_training/7", "Training is"),
        ("v3/finetune/delete/7", "Training is"),
        ("v6/image_editing/multiview", "This way of editing is"),
        ("v3/dreambooth/buy_model", "Buying is"),
    ],
)
def test_what_is_not_offered_says_so(ada: ApiClient, anybody: ApiClient, path: str, what: str) -> None:
    answer = ada.post(f"/api/{path}", {"prompt": "x"})

    assert (answer.status_code, answer["X-Darkroom-Error"]) == (400, "not_offered")
    assert answer.json()["message"].startswith(f"{what} not offered by this server")
    assert anybody.post(f"/api/{path}").status_code == 401


@pytest.mark.parametrize("family", ["", "face_gen/", "images/"])
def test_the_operator_restarts_the_workers(cast: Cast, family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr("apps.generation.queue_control.notify_restart", lambda: asked.append("restart"))

    body = operator().post(f"/api/v1/enterprise/{family}restart_server").json()

    assert (body["status"], body["message"]) == ("success", "server restarting")
    assert (body["server_status"], asked) == ("restarting", ["restart"])


def test_management_is_below_every_name_that_sdks_have_for_the_server() -> None:
    for host in HOSTS:
        for name, view in (ENTERPRISE_VIEWS | SERVER).items():
            found = resolve(f"/api/{host}/{name}").func
            assert vars(found)["view_class"] is view, (host, name)


def test_customers_clear_their_cache_only(ada: ApiClient, anybody: ApiClient) -> None:
    said = "Cache cleared successfully"
    for answer in (ada.get("/api/v5/clear_cache"), ada.post("/api/v5/clear_cache")):
        assert answer.json() == {"status": "success", "message": said, "messege": said}
    assert anybody.get("/api/v5/clear_cache").status_code == 401
    assert ada.post("/api/v1/enterprise/clear_cache").status_code == 403


def test_each_general_path_needs_a_key_with_its_scope(cast: Cast, anybody: ApiClient) -> None:
    nothing = ApiClient(make_key(cast.account, scopes=[Scope.MODELS_READ]).plaintext)
    for path in GENERAL:
        assert anybody.post(f"/api/{path}").status_code == 401, path
        assert nothing.post(f"/api/{path}").status_code == 403, path
