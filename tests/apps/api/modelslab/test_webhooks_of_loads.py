"""Who loads a model with a webhook is told when it is there, or will never be."""

from __future__ import annotations

from typing import Any

import pytest

from apps.api.modelslab.webhooks import webhook_body
from apps.catalog.choices import ImportState
from apps.catalog.imports import lifecycle
from apps.catalog.imports.failures import CODES, ImportFailure
from apps.catalog.imports.services import cancel_import, retry_import
from apps.catalog.models import ModelImport
from apps.core import clock
from apps.webhooks.bodies import Event, render_body
from apps.webhooks.models import Delivery
from tests.apps.api import jobs
from tests.apps.api.client import ApiClient
from tests.apps.api.models_fixtures import operator
from tests.apps.api.modelslab.workbench import refused
from tests.cast import Cast
from tests.factories import make_checkpoint

HOOK = "https://hooks.example.com/loaded?token=1"
LOAD = {"url": "acme/photo-model", "model_id": "photo"}


@pytest.fixture
def otto(cast: Cast, tmp_path: Any, settings: Any) -> ApiClient:
    settings.MODEL_DIR = str(tmp_path)
    return operator()


def loading(client: ApiClient, path: str = "v1/enterprise/load_model", **fields: object) -> ModelImport:
    answer = client.post(f"/api/{path}", LOAD | {"webhook": HOOK, "track_id": 7} | fields)
    assert answer.json()["status"] == "success", answer.json()
    return ModelImport.objects.get(pk=answer["X-Darkroom-Import"])


def claimed(row: ModelImport) -> lifecycle.Lease:
    found = lifecycle.claim_import(worker="test", now=clock.now(), import_id=row.pk)
    assert found is not None
    return lifecycle.lease_of(found)


def body_of(delivery: Delivery) -> dict[str, object]:
    event = Event(
        event_id=delivery.event_id,
        name=delivery.event,
        job_id=delivery.job_id,
        created_at=delivery.created_at,
        import_id=delivery.import_id,
    )
    assert render_body(event, dialect=delivery.dialect)
    return dict(webhook_body(event))


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("v1/enterprise/load_model", {}),
        (
            "v1/enterprise/load_model_v2",
            {"model_category": "stable_diffusion", "model_format": "safetensors"},
        ),
        ("v1/enterprise/load_lora", {}),
        ("v1/enterprise/load_vae", {"vae_id": "photo", "vae_url": "acme/vae"}),
        ("v3/load_model", {"model_visibility": "public"}),
    ],
)
def test_success_is_told_once(otto: ApiClient, path: str, fields: dict[str, object]) -> None:
    row = loading(otto, path, **fields)
    assert Delivery.objects.count() == 0

    lifecycle.finish_import(
        lease=claimed(row), register=lambda: make_checkpoint("photo"), worker=jobs.WORKER, now=clock.now()
    )

    delivery = Delivery.objects.get()
    assert (delivery.url, delivery.event, delivery.import_id) == (HOOK, "import.succeeded", row.pk)
    assert body_of(delivery) == {
        "status": "success",
        "id": row.pk,
        "model_id": "photo",
        "message": "model loaded",
        "messege": "model loaded",
        "track_id": 7,
    }


def test_a_failure_says_why_and_its_retry_is_told_of_again(otto: ApiClient) -> None:
    row = loading(otto)
    failure = ImportFailure(next(iter(CODES)), "The repository does not exist.")
    lifecycle.fail_import(lease=claimed(row), failure=failure, worker=jobs.WORKER, now=clock.now())

    told = body_of(Delivery.objects.get())
    assert (told["status"], told["message"]) == ("failed", "The repository does not exist.")

    row.refresh_from_db()
    again = retry_import(model_import=row, actor=jobs.WORKER, now=clock.now())
    lifecycle.finish_import(
        lease=claimed(again), register=lambda: make_checkpoint("photo"), worker=jobs.WORKER, now=clock.now()
    )
    assert [each.event for each in Delivery.objects.order_by("pk")] == ["import.failed", "import.succeeded"]


@pytest.mark.parametrize("is_running", [False, True])
def test_a_canceled_one_has_failed(otto: ApiClient, is_running: bool) -> None:
    row = loading(otto)
    lease = claimed(row) if is_running else None
    cancel_import(model_import=row, actor=jobs.WORKER, now=clock.now())
    if lease is not None:
        lifecycle.finish_cancel(lease=lease, worker=jobs.WORKER, now=clock.now())

    told = body_of(Delivery.objects.get())

    assert (told["status"], told["message"]) == ("failed", "The import was canceled.")
    assert ModelImport.objects.get().state == ImportState.CANCELED


def test_without_a_webhook_nobody_is_told(otto: ApiClient) -> None:
    row = loading(otto, webhook=None)

    cancel_import(model_import=row, actor=jobs.WORKER, now=clock.now())

    assert Delivery.objects.count() == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"webhook": "ftp://x.example"}, "webhook must be a URL that begins with https:// or http://"),
        ({"webhook": "https://127.0.0.1/x"}, "webhook cannot be used: "),
        ({"track_id": [1]}, "track_id must be text of at most 255 characters or a whole number"),
    ],
)
def test_what_cannot_be_told_is_refused_and_nothing_is_loaded(
    otto: ApiClient, fields: dict[str, object], message: str
) -> None:
    answer = otto.post("/api/v1/enterprise/load_model", LOAD | fields)

    assert refused(answer).startswith(message)
    assert ModelImport.objects.count() == 0
