from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.api.native.models_fields import CHANGES, LIST_PARAMETERS
from apps.apikeys.choices import Scope
from apps.audit.models import AuditEvent
from apps.catalog import facets
from apps.catalog.models import CatalogEntry
from apps.catalog.services import CHANGEABLE
from tests.apps.api.client import ApiClient
from tests.apps.api.models_fixtures import PREVIEW, make_catalogue, operator, reader
from tests.cast import Cast
from tests.factories import make_checkpoint, make_key, png_bytes

MODELS = "/v1/models"


@pytest.fixture(autouse=True)
def catalogue(checkpoint: CatalogEntry, cast: Cast, tmp_path: Path, settings: Any) -> Iterator[None]:
    settings.MODEL_DIR = str(tmp_path)
    make_catalogue(cast)
    facets.forget()
    yield
    facets.forget()


@pytest.fixture
def otto(cast: Cast) -> ApiClient:
    return operator()


def _names(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.json()
    return [item["name"] for item in answer.json()["items"]]


def _patch(client: ApiClient, name: str, body: Any) -> Any:
    return client.http.patch(f"{MODELS}/{name}", json.dumps(body), "application/json", headers=client.headers)


def _problem(answer: Any) -> tuple[int, str, str]:
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    return answer.status_code, body["code"], body["detail"]


def test_a_list_shows_what_the_caller_may_use(ada: ApiClient, cleo: ApiClient) -> None:
    everybodys = ["realistic-vision-51", "more_details", "dream-xl", "flux-lora", "tiny"]
    assert _names(ada.get(MODELS)) == [*everybodys[:4], "adas", "tiny"]
    assert _names(cleo.get(MODELS)) == everybodys
    assert ada.get(MODELS).json()["items"][0] == {
        "name": "realistic-vision-51",
        "kind": "checkpoint",
        "title": "Realistic Vision",
        "family": "sd15",
        "variant": "",
        "tags": ["photo", "portrait"],
        "trigger_words": [],
        "licence": "Apache-2.0",
        "is_commercial_use_allowed": False,
        "provider": "acme",
        "visibility": "public",
        "is_mine": False,
        "is_enabled": True,
        "size_bytes": 1,
        "native_px": 64,
        "previews": [
            {
                "url": f"http://testserver/previews/{PREVIEW['file']}",
                "media_type": "image/webp",
                "width": 512,
                "height": 128,
            }
        ],
        "use_count": 90,
        "last_used_at": None,
        "created_at": "2026-03-02T12:00:00.000000Z",
    }


def test_cursors_lead_through_all_pages(ada: ApiClient) -> None:
    found: list[str] = []
    path = f"{MODELS}?limit=2"
    while path:
        body = ada.get(path).json()
        found += [item["name"] for item in body["items"]]
        path = f"{MODELS}?limit=2&cursor={body['next_cursor']}" if body["next_cursor"] else ""
    assert found == ["realistic-vision-51", "more_details", "dream-xl", "flux-lora", "adas", "tiny"]


def test_a_changed_cursor_is_refused(ada: ApiClient) -> None:
    cursor = ada.get(f"{MODELS}?limit=2").json()["next_cursor"]
    for changed in (cursor[:-1], "x", f"{cursor}&q=tiny", f"{cursor}&order=name"):
        answer = ada.get(f"{MODELS}?limit=2&cursor={changed}")
        assert _problem(answer) == (
            400,
            "invalid_cursor",
            "The cursor was changed, or belongs to another list.",
        )


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("q=realis vis", ["realistic-vision-51"]),
        ("q=photo&order=most_used", ["realistic-vision-51", "dream-xl"]),
        ("kind=lora", ["more_details", "flux-lora"]),
        ("kind=lora&family=flux", ["flux-lora"]),
        ("kind=lora,checkpoint&family=sdxl&family=flux", ["dream-xl", "flux-lora"]),
        ("tag=photo&tag=portrait", ["realistic-vision-51"]),
        ("tag=photo,portrait", ["realistic-vision-51"]),
        ("variant=turbo", ["dream-xl"]),
        ("provider=acme", ["realistic-vision-51"]),
        ("commercial=true", []),
        ("licence=Apache-2.0&limit=1", ["realistic-vision-51"]),
        ("mine=true", ["adas"]),
        ("visibility=private", ["adas"]),
        ("order=name&limit=2", ["adas", "dream-xl"]),
        ("order=name_descending&limit=1", ["tiny"]),
        ("q=%00", []),
        ("q=!!!", []),
        ("q=", ["realistic-vision-51", "more_details", "dream-xl", "flux-lora", "adas", "tiny"]),
    ],
)
def test_filters(ada: ApiClient, query: str, names: list[str]) -> None:
    assert _names(ada.get(f"{MODELS}?{query}")) == names


@pytest.mark.parametrize(
    ("query", "detail"),
    [
        ("limit=0", "limit must be a whole number from 1 to 100"),
        ("limit=101", "limit must be a whole number from 1 to 100"),
        ("limit=٣", "limit must be a whole number from 1 to 100"),
        ("kind=tensor", "kind must be one of checkpoint, lora"),
        ("order=best", "order must be one of most_used"),
        ("order=relevance", "order relevance needs q"),
        ("commercial=maybe", "commercial must be true or false"),
        ("colour=red", "colour is not a parameter of this list"),
        ("enabled=true", "enabled only counts with all=true"),
        ("owner=ada", "owner only counts with all=true"),
        (f"q={'x' * 2001}", "q must be at most 2000 characters"),
    ],
)
def test_unknown_and_wrong_parameters_are_refused(ada: ApiClient, query: str, detail: str) -> None:
    status, code, text = _problem(ada.get(f"{MODELS}?{query}"))
    assert (status, code) == (400, "invalid_field")
    assert text.startswith(detail)


def test_operators_see_all(otto: ApiClient, ada: ApiClient) -> None:
    assert _names(otto.get(f"{MODELS}?all=true&limit=2")) == ["switched-off", "realistic-vision-51"]
    assert _names(otto.get(f"{MODELS}?all=true&enabled=false")) == ["switched-off"]
    assert _names(otto.get(f"{MODELS}?all=true&owner=ada")) == ["adas"]
    assert "switched-off" not in _names(otto.get(MODELS))
    assert _problem(otto.get(f"{MODELS}?all=true&owner=nobody"))[1] == "invalid_field"
    assert _problem(ada.get(f"{MODELS}?all=true"))[:2] == (403, "scope_missing")


def test_detail_by_name_and_alias(ada: ApiClient) -> None:
    body = ada.get(f"{MODELS}/sdxl").json()
    assert (body["name"], body["aliases"], body["defaults"]["steps"]) == ("tiny", ["sdxl"], 25)
    assert "path" not in body and "owner" not in body


def test_operators_read_what_concerns_the_server(otto: ApiClient) -> None:
    entry = CatalogEntry.objects.get(name="adas")
    CatalogEntry.objects.filter(pk=entry.pk).update(details={"rank": 8, "source": {"fingerprint": "x"}})
    body = otto.get(f"{MODELS}/adas").json()
    assert {name: body[name] for name in ("path", "owner", "allowed_accounts", "residency_policy")} == {
        "path": "/nowhere/adas",
        "owner": "ada",
        "allowed_accounts": [],
        "residency_policy": "on_demand",
    }
    assert body["details"] == {"rank": 8, "source": {"fingerprint": "x"}}
    assert otto.get(f"{MODELS}/switched-off").json()["is_enabled"] is False


def test_owners_do_not_read_where_files_came_from(ada: ApiClient) -> None:
    CatalogEntry.objects.filter(name="adas").update(details={"rank": 8, "source": {"fingerprint": "x"}})
    assert ada.get(f"{MODELS}/adas").json()["details"] == {"rank": 8}


@pytest.mark.parametrize("name", ["nothing", "switched-off", "%00", "x" * 3000])
def test_an_unknown_model_is_404(ada: ApiClient, name: str) -> None:
    assert _problem(ada.get(f"{MODELS}/{name}"))[:2] == (404, "not_found")


def test_facets(ada: ApiClient, cleo: ApiClient) -> None:
    body = ada.get(f"{MODELS}/facets").json()
    assert body["total"] == 6
    assert body["kind"] == [{"value": "checkpoint", "count": 4}, {"value": "lora", "count": 2}]
    assert body["tag"][0] == {"value": "photo", "count": 2}
    assert body.keys() - {"total"} <= LIST_PARAMETERS.keys()
    assert cleo.get(f"{MODELS}/facets").json()["total"] == 5


def test_a_change_is_written_and_audited(otto: ApiClient, cast: Cast) -> None:
    changes = {
        "title": "Tiny",
        "aliases": ["little"],
        "tags": ["New"],
        "is_enabled": False,
        "visibility": "accounts",
        "allowed_accounts": ["ada"],
        "owner": "cleo",
        "residency_policy": "warm",
        "keep_alive_s": 90,
        "defaults": {"steps": 9, "guidance_scale": 2, "sampler": "ddim"},
    }
    answer = _patch(otto, "tiny", changes)
    assert answer.status_code == 200, answer.json()
    body = answer.json()
    assert {name: body[name] for name in changes} == changes | {"tags": ["new"]}
    assert body["updated_at"] == "2026-03-02T12:00:00.000000Z"
    event = AuditEvent.objects.latest("id")
    assert (event.name, event.actor_kind) == ("catalog.entry.changed", "api_key")
    assert event.data["fields"] == sorted(changes)
    assert list(CatalogEntry.objects.get(name="tiny").allowed_accounts.all()) == [cast.account]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"path": "/etc"}, "invalid_field"),
        ({"use_count": 5}, "invalid_field"),
        ({"name": "x"}, "invalid_field"),
        ({"title": 5}, "invalid_field"),
        ({"title": None}, "invalid_field"),
        ({"title": ""}, "invalid_field"),
        ({"title": "a\x00b"}, "invalid_field"),
        ({"title": "\ud800"}, "invalid_field"),
        ({"aliases": "little"}, "invalid_field"),
        ({"aliases": [5]}, "invalid_field"),
        ({"aliases": ["with space"]}, "invalid_field"),
        ({"aliases": ["facets"]}, "invalid_field"),
        ({"aliases": ["dream-xl"]}, "conflict"),
        ({"tags": ["x" * 61]}, "invalid_field"),
        ({"is_enabled": "no"}, "invalid_field"),
        ({"keep_alive_s": -1}, "invalid_field"),
        ({"keep_alive_s": 1.5}, "invalid_field"),
        ({"keep_alive_s": 2**40}, "invalid_field"),
        ({"min_side_px": 4096}, "invalid_field"),
        ({"defaults": []}, "invalid_field"),
        ({"defaults": {"steps": 9}}, "invalid_field"),
        (
            {
                "defaults": {
                    "steps": 9,
                    "guidance_scale": 1,
                    "sampler": "ddim",
                    "negative_prompt": "\x00",
                }
            },
            "invalid_field",
        ),
        ({"visibility": "secret"}, "invalid_field"),
        ({"visibility": ["public"]}, "invalid_field"),
        ({"visibility": "private"}, "invalid_field"),
        ({"owner": "nobody"}, "invalid_field"),
        ({"allowed_accounts": ["nobody"]}, "invalid_field"),
        ({"allowed_accounts": ["\x00"]}, "invalid_field"),
        ({"source_url": "javascript:alert(1)"}, "invalid_field"),
        ([], "malformed_body"),
    ],
)
def test_what_cannot_be_meant_changes_nothing(otto: ApiClient, changes: Any, code: str) -> None:
    before = otto.get(f"{MODELS}/tiny").json()
    if isinstance(changes, dict):
        changes = {"licence": "MIT"} | changes
    answer = _patch(otto, "tiny", changes)
    assert _problem(answer)[:2] == (409 if code == "conflict" else 400, code)
    assert otto.get(f"{MODELS}/tiny").json() == before
    assert AuditEvent.objects.filter(name="catalog.entry.changed").count() == 0


def test_customers_change_nothing(ada: ApiClient, cleo: ApiClient) -> None:
    for client in (ada, cleo):
        for name in ("tiny", "adas"):
            assert _problem(_patch(client, name, {"title": "x"}))[:2] == (403, "scope_missing")
    assert not CatalogEntry.objects.filter(title="x").exists()


def test_owners_delete_their_own_private_models_alone(ada: ApiClient, cleo: ApiClient, cast: Cast) -> None:
    assert _problem(cleo.delete(f"{MODELS}/adas"))[:2] == (404, "not_found")
    assert _problem(reader(cast).delete(f"{MODELS}/adas"))[:2] == (403, "scope_missing")
    for client in (ada, cleo):
        assert _problem(client.delete(f"{MODELS}/tiny")) == (
            403,
            "scope_missing",
            "This API key lacks the scope models:admin.",
        )
    assert CatalogEntry.objects.filter(deleted_at=None).count() == 7
    answer = ada.delete(f"{MODELS}/adas")
    assert (answer.status_code, answer.content) == (204, b"")
    assert _problem(ada.delete(f"{MODELS}/adas"))[:2] == (404, "not_found")


def test_owners_delete_what_an_operator_disabled(ada: ApiClient) -> None:
    CatalogEntry.objects.filter(name="adas").update(is_enabled=False)
    assert ada.delete(f"{MODELS}/adas").status_code == 204


def test_operators_delete_any_model_that_is_not_in_use(otto: ApiClient, ada: ApiClient) -> None:
    assert otto.delete(f"{MODELS}/adas").status_code == 204
    assert ada.submit().status_code == 200
    assert _problem(otto.delete(f"{MODELS}/tiny"))[:2] == (409, "conflict")


def test_a_preview_is_added_and_removed(ada: ApiClient, cleo: ApiClient, tmp_path: Path) -> None:
    answer = ada.http.post(f"{MODELS}/adas/previews", png_bytes(), "image/png", headers=ada.headers)
    assert answer.status_code == 201
    [preview] = answer.json()["previews"]
    assert (preview["width"], preview["height"], preview["media_type"]) == (8, 8, "image/webp")
    path = preview["url"].removeprefix("http://testserver")
    assert ada.http.get(path).status_code == 200
    file = path.rsplit("/", 1)[-1]
    assert _problem(cleo.delete(f"{MODELS}/adas/previews/{file}"))[:2] == (404, "not_found")
    assert ada.delete(f"{MODELS}/adas/previews/{file}").status_code == 204
    assert _problem(ada.delete(f"{MODELS}/adas/previews/{file}"))[:2] == (404, "not_found")
    assert list((tmp_path / "previews").iterdir()) == []


def test_a_preview_may_come_as_a_form(otto: ApiClient) -> None:
    form = {"file": SimpleUploadedFile("any.png", png_bytes(), "image/png")}
    answer = otto.http.post(f"{MODELS}/tiny/previews", form, headers=otto.headers)
    assert (answer.status_code, len(answer.json()["previews"])) == (201, 1)
    two = {name: SimpleUploadedFile("a.png", png_bytes(), "image/png") for name in ("a", "b")}
    answer = otto.http.post(f"{MODELS}/tiny/previews", two, headers=otto.headers)
    assert _problem(answer) == (400, "preview_unusable", "The preview must be the one file of the form.")


@pytest.mark.parametrize("data", [b"", b"<html></html>", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_is_refused(ada: ApiClient, data: bytes) -> None:
    answer = ada.http.post(f"{MODELS}/adas/previews", data, "image/png", headers=ada.headers)
    assert _problem(answer)[:2] == (400, "preview_unusable")
    assert CatalogEntry.objects.get(name="adas").previews == []


def test_nobody_illustrates_what_is_not_theirs(ada: ApiClient, cleo: ApiClient, cast: Cast) -> None:
    def post(client: ApiClient, name: str) -> Any:
        return client.http.post(f"{MODELS}/{name}/previews", png_bytes(), "image/png", headers=client.headers)

    assert _problem(post(cleo, "adas"))[:2] == (404, "not_found")
    assert _problem(post(ada, "tiny"))[:2] == (403, "scope_missing")
    assert _problem(post(reader(cast), "adas"))[:2] == (403, "scope_missing")


def test_a_reload_is_the_operators(otto: ApiClient, ada: ApiClient) -> None:
    assert _problem(ada.post(f"{MODELS}/adas/reload"))[:2] == (403, "scope_missing")
    answer = otto.post(f"{MODELS}/sdxl/reload")
    assert (answer.status_code, answer.json()) == (202, {"name": "tiny", "state": "reload_requested"})


@pytest.mark.parametrize("path", [MODELS, f"{MODELS}/facets", f"{MODELS}/tiny"])
def test_models_are_shown_to_nobody_without_a_key(anybody: ApiClient, cast: Cast, path: str) -> None:
    assert _problem(anybody.get(path))[:2] == (401, "api_key_missing")
    jobs_only = ApiClient(make_key(cast.account, scopes=[Scope.JOBS_READ]).plaintext)
    assert _problem(jobs_only.get(path))[:2] == (403, "scope_missing")


def test_without_a_key_nothing_is_changed(anybody: ApiClient) -> None:
    assert _patch(anybody, "tiny", {"title": "x"}).status_code == 401
    for path in ("adas", "adas/previews/x"):
        assert anybody.delete(f"{MODELS}/{path}").status_code == 401
    for path in ("adas/previews", "adas/reload"):
        assert anybody.post(f"{MODELS}/{path}").status_code == 401


def test_other_methods_are_named(ada: ApiClient) -> None:
    answer = ada.post(MODELS)
    assert (_problem(answer)[:2], answer["Allow"]) == ((405, "method_not_allowed"), "GET, HEAD")


@pytest.mark.parametrize(
    ("path", "count"), [(MODELS, 2), (f"{MODELS}?q=photo", 2), (f"{MODELS}/tiny", 2), (f"{MODELS}/facets", 9)]
)
def test_queries_are_few_however_many_models(ada: ApiClient, path: str, count: int) -> None:
    ada.get(f"{MODELS}/more_details")  # notes the use of the key, once a minute
    for number in range(30):
        make_checkpoint(f"photo-{number}", tags=["photo"])
    with CaptureQueriesContext(connection) as queries:
        assert ada.get(path).status_code == 200
    assert len(queries) == count


def test_what_may_be_changed_is_what_the_catalogue_lets() -> None:
    assert CHANGES.keys() == CHANGEABLE | {"allowed_accounts"}
