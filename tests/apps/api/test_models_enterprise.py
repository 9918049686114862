from __future__ import annotations

import json
from typing import Any

import pytest

from apps.api.modelslab import models_enterprise
from apps.api.modelslab.models_urls import ENTERPRISE_VIEWS
from apps.api.modelslab.schedulers import SCHEDULERS
from apps.apikeys.choices import ALL_SCOPES
from apps.audit.models import AuditEvent
from apps.catalog.choices import ImportSource, Visibility
from apps.catalog.models import CatalogEntry, ModelImport
from tests.apps.api.client import ApiClient
from tests.apps.api.models_fixtures import make_catalogue, operator, reader
from tests.cast import Cast
from tests.factories import make_checkpoint, make_key

BASE = "/api/v1/enterprise"
BASES = ("v1/enterprise", "v1/enterprise/images", "v1/enterprise/txt2img")
HUB = {"url": "acme/photo-model", "model_id": "photo"}
FILE = {"url": "https://files.example.com/x/photo.safetensors", "model_id": "photo"}


@pytest.fixture
def otto(cast: Cast) -> ApiClient:
    return operator()


@pytest.fixture(autouse=True)
def catalogue(checkpoint: CatalogEntry, cast: Cast, tmp_path: Any, settings: Any) -> None:
    settings.MODEL_DIR = str(tmp_path)
    make_catalogue(cast)


def said(message: str) -> dict[str, str]:
    """A success that says something, in both spellings."""
    return {"status": "success", "message": message, "messege": message}


def _streamed(answer: Any) -> Any:
    assert answer.status_code == 200
    return json.loads(b"".join(answer.streaming_content))


@pytest.mark.parametrize(
    ("path", "fields", "source", "address", "options", "message"),
    [
        ("load_model", HUB, "hub", "acme/photo-model", {"kind_hint": ""}, "model load started"),
        (
            "load_model",
            FILE | {"model_type": "custom_ckpt", "from_safetensors": "yes", "revision": "fp16"},
            "url",
            FILE["url"],
            {"kind_hint": "checkpoint", "precision": "float16"},
            "model load started",
        ),
        ("load_model", FILE | {"model_type": "lora"}, "url", FILE["url"], {"kind_hint": "lora"}, None),
        (
            "load_model_v2",
            FILE | {"model_category": "stable_diffusion_xl", "model_format": "ckpt", "revision": "fp32"},
            "url",
            FILE["url"],
            {"kind_hint": "checkpoint", "family_hint": "sdxl", "precision": "keep"},
            None,
        ),
        (
            "load_model_v2",
            FILE | {"model_category": "stable_diffusion", "model_format": "safetensors"},
            "url",
            FILE["url"],
            {"kind_hint": "checkpoint", "family_hint": ""},
            None,
        ),
        (
            "load_lora",
            {"lora_url": FILE["url"], "lora_id": "photo", "lora_type": "safetensors"},
            "url",
            FILE["url"],
            {"kind_hint": "lora"},
            None,
        ),
        (
            "load_vae",
            {"vae_url": FILE["url"], "vae_id": "photo", "vae_type": "safetensors"},
            "url",
            FILE["url"],
            {"kind_hint": "vae"},
            "VAE load started",
        ),
        (
            "load_model",
            {"url": "acme/many/folder/one.safetensors", "model_id": "photo"},
            "hub",
            "acme/many",
            {"file": "folder/one.safetensors"},
            None,
        ),
    ],
)
def test_loading_is_an_import(
    otto: ApiClient,
    path: str,
    fields: dict[str, Any],
    source: str,
    address: str,
    options: dict[str, str],
    message: str | None,
) -> None:
    for base in BASES:
        ModelImport.objects.all().delete()
        answer = otto.post(f"/api/{base}/{path}", fields)
        assert (answer.status_code, answer.json()) == (
            200,
            said(message or "model load started"),
        )
        started = ModelImport.objects.get()
        assert answer["X-Darkroom-Import"] == str(started.pk)
        assert (started.source, started.address, started.requested_name) == (source, address, "photo")
        assert (started.account, started.options["visibility"]) == (None, "public")
        assert {name: started.options[name] for name in options} == options


@pytest.mark.parametrize(
    ("path", "fields", "message"),
    [
        ("load_model", {"model_id": "x"}, "url is required"),
        ("load_model", {"url": "a/b"}, "model_id is required"),
        ("load_model", HUB | {"model_id": "with space"}, "model_id must be letters, digits and -._ within"),
        ("load_model", HUB | {"model_type": "api_trained"}, "model_type must be one of huggingface"),
        ("load_model", HUB | {"revision": "fp8"}, "revision must be one of fp16, bf16, fp32"),
        ("load_model", HUB | {"webhook": "ftp://x.example"}, "webhook must be a URL that begins with"),
        ("load_model", HUB | {"url": "/etc/passwd"}, "url must be a URL or a hub repository"),
        ("load_model", HUB | {"url": "../../etc"}, "url must be a URL or a hub repository"),
        ("load_model", HUB | {"url": "file:///etc/passwd"}, "url must be an http or https URL"),
        ("load_model", HUB | {"url": "https://u:p@x.example/a"}, "url must not contain a password"),
        ("load_model", HUB | {"url": ["a/b"]}, "url must be text of at most 2000 characters"),
        ("load_model_v2", HUB | {"model_category": "video"}, "model_category must be one of"),
        ("load_vae", {"vae_url": "a/b"}, "vae_id is required"),
        ("load_vae", {"vae_id": "b", "vae_url": "nothing"}, "url must be a URL or a hub repository"),
        ("verify_model", {}, "model_id is required"),
        ("sync_models", {}, "sync_key is required"),
        ("sync_models", {"sync_key": "nonsense"}, "sync_key is not a key of this server"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(
    otto: ApiClient, path: str, fields: dict[str, Any], message: str
) -> None:
    answer = otto.post(f"{BASE}/{path}", fields)
    assert (answer.status_code, answer["X-Darkroom-Error"]) == (400, "invalid_field")
    assert answer.json()["message"].startswith(message), answer.json()
    assert ModelImport.objects.count() == 0


def test_a_name_that_means_something_else_is_a_conflict(otto: ApiClient) -> None:
    answer = otto.post(f"{BASE}/load_model", FILE | {"model_id": "dream-xl"})
    assert (answer.status_code, answer["X-Darkroom-Error"]) == (409, "conflict")
    assert ModelImport.objects.count() == 0


COMMUNITY = FILE | {
    "model_format": "safetensors",
    "model_category": "flux",
    "model_subcategory": "lora",
    "model_name": "Photo LoRA",
}


def test_the_community_load_is_private_to_its_account(ada: ApiClient, cast: Cast) -> None:
    answer = ada.post("/api/v3/load_model", COMMUNITY | {"model_visibility": "private"})
    assert answer.json() == said("model load started")
    started = ModelImport.objects.get()
    assert (started.account, started.source) == (cast.account, ImportSource.URL)
    wanted = ("kind_hint", "family_hint", "title", "visibility", "force")
    assert [started.options[name] for name in wanted] == ["lora", "flux", "Photo LoRA", "private", False]


@pytest.mark.parametrize("fields", [{}, {"model_visibility": "public"}])
def test_only_operators_bring_in_what_everybody_sees(
    ada: ApiClient, otto: ApiClient, fields: dict[str, str]
) -> None:
    answer = ada.post("/api/v3/load_model", COMMUNITY | fields)
    assert (answer.status_code, answer.json()["message"]) == (
        403,
        "This API key lacks the scope models:admin.",
    )
    assert ModelImport.objects.count() == 0
    assert otto.post("/api/v3/load_model", COMMUNITY | fields).status_code == 200
    assert ModelImport.objects.get().options["visibility"] == "public"


def test_reading_is_not_writing(cast: Cast) -> None:
    answer = reader(cast).post("/api/v3/load_model", COMMUNITY | {"model_visibility": "private"})
    assert (answer.status_code, answer.json()["message"]) == (
        403,
        "This API key lacks the scope models:write.",
    )


def test_verify_knows_names_and_aliases_of_every_account(otto: ApiClient) -> None:
    for name in ("tiny", "sdxl", "adas", "more_details"):
        answer = otto.post(f"{BASE}/verify_model", {"model_id": name})
        assert (answer.status_code, answer.json()) == (
            200,
            said("Model exists on server"),
        )
    for name, status, code in (("nope", 400, "model_not_found"), ("switched-off", 403, "model_disabled")):
        answer = otto.post(f"{BASE}/verify_model", {"model_id": name})
        assert (answer.status_code, answer["X-Darkroom-Error"]) == (status, code)


def test_delete_takes_a_model_away(otto: ApiClient, ada: ApiClient) -> None:
    answer = otto.post(f"{BASE}/delete_model", {"model_id": "sdxl"})
    assert answer.json() == said("Model deleted on server")
    assert CatalogEntry.objects.get(name="tiny").deleted_at is not None
    assert ada.submit().json()["message"] == "Model not found: tiny"
    event = AuditEvent.objects.latest("id")
    assert (event.name, event.subject_label, event.actor_kind) == ("catalog.entry.deleted", "tiny", "api_key")
    again = otto.post(f"{BASE}/delete_model", {"model_id": "tiny"})
    assert (again.status_code, again["X-Darkroom-Error"]) == (400, "model_not_found")


def test_a_model_in_use_is_not_deleted(otto: ApiClient, ada: ApiClient) -> None:
    assert ada.submit().status_code == 200
    answer = otto.post(f"{BASE}/delete_model", {"model_id": "tiny"})
    assert (answer.status_code, answer["X-Darkroom-Error"]) == (409, "conflict")
    assert CatalogEntry.objects.get(name="tiny").deleted_at is None


@pytest.mark.parametrize(
    "path",
    [
        f"{BASE}/model_reload",
        "/api/v3/dreambooth/model_reload",
        "/api/v4/dreambooth/model_reload",
        "/api/v6/images/model_reload",
    ],
)
def test_reload_is_noted_for_the_workers(otto: ApiClient, path: str) -> None:
    answer = otto.post(path, {"model_id": "tiny"})
    assert answer.json() == said("Model reload started")
    assert CatalogEntry.objects.get(name="tiny").reload_requested_at is not None


@pytest.mark.parametrize("chunk", [1, 3, 1000])
def test_all_models_are_streamed(otto: ApiClient, monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr(models_enterprise, "CHUNK", chunk)
    body = _streamed(otto.post(f"{BASE}/get_all_models"))
    assert body["status"] == "success"
    assert body["models"][0] == {"model_id": "adas", "load_data": "03/02/2026 12:00:00"}
    names = [item["model_id"] for item in body["models"]]
    assert names == ["adas", "dream-xl", "flux-lora", "more_details", "realistic-vision-51", "tiny"]


def test_an_empty_server_has_no_models(otto: ApiClient) -> None:
    CatalogEntry.objects.all().delete()
    assert _streamed(otto.post(f"{BASE}/get_all_models")) == {"status": "success", "models": []}


def test_schedulers_come_without_a_status(otto: ApiClient) -> None:
    assert otto.post(f"{BASE}/schedulers_list").json() == {"schedulers": list(SCHEDULERS)}


def test_sync_lists_what_the_other_key_lacks(otto: ApiClient, cast: Cast) -> None:
    body = otto.post(f"{BASE}/sync_models", {"sync_key": cast.strangers_key_text}).json()
    assert body == {
        "status": "success",
        "message": "1 model of this server is missing for the other key",
        "messege": "1 model of this server is missing for the other key",
        "model_list": ["adas"],
    }
    other = make_key(cast.account, allowed_checkpoints=["tiny"]).plaintext
    assert otto.post(f"{BASE}/sync_models", {"sync_key": other}).json()["model_list"] == [
        "adas",
        "dream-xl",
        "realistic-vision-51",
    ]


def test_system_details(otto: ApiClient, ada: ApiClient) -> None:
    assert otto.post(f"{BASE}/system_details").json() == {"model_count": 6, "queue_time": 0.0, "status": "ok"}
    assert ada.submit().status_code == 200
    # 25 steps of 100 ms, as nobody has measured any.
    assert otto.post(f"{BASE}/system_details").json()["queue_time"] == 2.5


def test_clearing_the_cache_counts_anew(otto: ApiClient) -> None:
    tags = "/api/v6/model-search/tags"
    before = otto.get(tags).json()
    make_checkpoint("another", tags=["photo"])
    assert otto.get(tags).json() == before
    for answer in (otto.post(f"{BASE}/clear_cache"), otto.get("/api/v5/clear_cache")):
        assert answer.json() == said("Cache cleared successfully")
    assert otto.get(tags).json()["data"][0] == {"name": "photo", "value": "photo", "count": 3}


@pytest.mark.parametrize("path", list(ENTERPRISE_VIEWS))
def test_customers_do_not_run_the_server(
    ada: ApiClient, cleo: ApiClient, anybody: ApiClient, cast: Cast, path: str
) -> None:
    fields = {
        **FILE,
        "vae_url": "a/b",
        "vae_id": "c",
        "model_id": "adas",
        "sync_key": cast.strangers_key_text,
    }
    for base in BASES:
        for client in (ada, cleo):
            answer = client.post(f"/api/{base}/{path}", fields)
            assert (answer.status_code, answer["X-Darkroom-Error"]) == (403, "scope_missing")
        assert anybody.post(f"/api/{base}/{path}", fields).status_code == 401
    assert CatalogEntry.objects.get(name="adas").deleted_at is None
    assert ModelImport.objects.count() == 0


def test_an_enterprise_key_may_be_in_the_body_alone(anybody: ApiClient, cast: Cast) -> None:
    key = make_key(cast.account, scopes=ALL_SCOPES).plaintext
    assert _streamed(anybody.post(f"{BASE}/get_all_models", {"key": key}))["status"] == "success"
    assert CatalogEntry.objects.filter(visibility=Visibility.PRIVATE).count() == 1
