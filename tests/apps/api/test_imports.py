"""Imports over the native API: who may ask for what, what is answered, and files that are sent along."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import OperationalError, connection
from django.test import Client

from apps.api.native import repeats
from apps.apikeys.choices import Scope
from apps.audit.models import AuditEvent
from apps.catalog.choices import ImportState
from apps.catalog.imports.secrets import find_token
from apps.catalog.imports.uploads import access_upload
from apps.catalog.models import CatalogEntry, ModelImport
from tests.apps.api.client import ApiClient
from tests.apps.catalog.imports.studio import TOOLS, run
from tests.apps.catalog.imports.weights_files import write_lora
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.factories import make_checkpoint, make_key
from tests.harness.model_server import ModelServer

pytestmark = pytest.mark.django_db
REAL_COMMITS = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def model_dir(tmp_path: Path, settings: Any) -> Path:
    settings.MODEL_DIR = tmp_path / "models"
    settings.HOME_DIR = tmp_path / "home"
    return tmp_path / "models"


@pytest.fixture
def server(settings: Any) -> Iterator[ModelServer]:
    with ModelServer() as server:
        settings.HF_ENDPOINT = server.url
        settings.FETCH_ALLOW = [f"127.0.0.1/32:{server.port}"]
        yield server


@pytest.fixture
def writer(cast: Cast) -> ApiClient:
    """Ada's key as customers have it, allowed to import."""
    return ApiClient(make_key(cast.account, scopes=[Scope.MODELS_WRITE]).plaintext)


@pytest.fixture
def reader(cast: Cast) -> ApiClient:
    return ApiClient(make_key(cast.account, scopes=[Scope.MODELS_READ, Scope.IMAGES_GENERATE]).plaintext)


@pytest.fixture
def stranger(cast: Cast) -> ApiClient:
    return ApiClient(make_key(cast.strangers_account, scopes=[Scope.MODELS_WRITE]).plaintext)


@pytest.fixture
def operator(cast: Cast) -> ApiClient:
    return ApiClient(make_key(cast.account, scopes=[Scope.MODELS_ADMIN]).plaintext)


def send_file(client: ApiClient, data: bytes, file_name: str = "a.safetensors", **fields: str) -> Any:
    form = {**fields, "file": SimpleUploadedFile(file_name, data)}
    return client.http.post("/v1/imports", form, headers=client.headers)


def staged_uploads(model_dir: Path) -> list[str]:
    folder = model_dir / "staging" / "uploads"
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


def nothing_happened(model_dir: Path) -> bool:
    return not ModelImport.objects.exists() and staged_uploads(model_dir) == []


def test_asking_for_a_repository(writer: ApiClient, cast: Cast, clock: FrozenClock) -> None:
    response = writer.post(
        "/v1/imports",
        {"repository": "lab/tiny-lora", "name": "my-lora", "tags": ["style"], "token": "hf_secret"},
    )
    row = ModelImport.objects.get()
    assert (response.status_code, response["Location"]) == (202, f"/v1/imports/{row.pk}")
    assert response.json() == {
        "id": row.pk,
        "state": "queued",
        "source": "hub",
        "address": "lab/tiny-lora",
        "revision": "",
        "name": "my-lora",
        "visibility": "private",
        "requested_by": row.requested_by,
        "progress": {
            "phase": "",
            "bytes_done": 0,
            "bytes_total": 0,
            "percent": None,
            "speed_bps": 0.0,
            "eta_s": None,
            "files_done": 0,
            "files_total": 0,
        },
        "identified": None,
        "model": None,
        "error": None,
        "is_cancel_requested": False,
        "attempt": 0,
        "created_at": "2026-03-02T12:00:00.000000Z",
        "started_at": None,
        "finished_at": None,
    }
    assert row.account == cast.account
    assert find_token(row.pk) == "hf_secret"
    assert "hf_secret" not in json.dumps(row.options)
    event = AuditEvent.objects.get(name="catalog.import.submitted")
    assert "hf_secret" not in json.dumps(event.data)
    assert event.account_id == cast.account.pk


def test_the_whole_way_of_a_url(writer: ApiClient, server: ModelServer, tmp_path: Path) -> None:
    address = server.add_file("/Tiny.safetensors", write_lora(tmp_path / "a.safetensors"))
    imported = writer.post("/v1/imports", {"url": f"{address}?signature=abc"}).json()
    assert imported["address"] == address
    run(ModelImport.objects.get())
    body = writer.get(f"/v1/imports/{imported['id']}").json()
    assert (body["state"], body["model"], body["error"]) == ("succeeded", "tiny", None)
    assert body["identified"] == {"kind": "lora", "family": "sd15", "variant": ""}
    assert CatalogEntry.objects.get().owner is not None


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({}, "repository or url or upload or path must be given, exactly one of them"),
        ({"repository": "a/b", "url": "http://example.com/a"}, "exactly one of them"),
        ({"repository": "justaname"}, "address must look like organisation/name"),
        ({"url": "ftp://example.com/a"}, "address must be an http or https URL"),
        ({"url": "https://user:pass@example.com/a"}, "must not contain a password"),
        ({"repository": "a/b", "name": "no spaces"}, "name must be letters, digits and -._ within"),
        ({"repository": "a/b", "kind": "poem"}, "kind must be one of checkpoint, lora"),
        ({"repository": "a/b", "family": "sd99"}, "family must be one of"),
        ({"repository": "a/b", "sha256": "abc"}, "sha256 must be 64 hexadecimal digits"),
        ({"repository": "a/b", "precision": "int4"}, "precision must be one of keep, float16, bfloat16"),
        ({"repository": "a/b", "force": "perhaps"}, "force must be true or false"),
        ({"repository": "a/b", "visibility": "accounts"}, "visibility must be public or private"),
        ({"repository": "a/b", "tags": "x" * 61}, "tags must be at most 100 words of 1 to 60 characters"),
        ({"repository": "a/b", "token": "späß"}, "token must be printable ASCII"),
        (
            {"repository": "a/b", "colour": "red"},
            "colour is not a field of an import; there are repository, url",
        ),
        ({"repository": 7}, "repository must be a text"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_field(
    writer: ApiClient, body: dict[str, Any], detail: str, model_dir: Path
) -> None:
    response = writer.post("/v1/imports", body)
    assert (response.status_code, response.json()["code"]) == (400, "invalid_field")
    assert detail in response.json()["detail"]
    assert nothing_happened(model_dir)


def test_scopes(reader: ApiClient, writer: ApiClient, operator: ApiClient, model_dir: Path) -> None:
    incoming = write_lora(model_dir / "incoming" / "a.safetensors")
    asks: list[dict[str, Any]] = [
        {"repository": "a/b"},
        {"repository": "a/c", "visibility": "public"},
        {"path": str(incoming), "visibility": "private"},
    ]
    statuses = {
        name: [client.post("/v1/imports", ask).status_code for ask in asks]
        for name, client in (("reader", reader), ("writer", writer))
    }
    assert statuses == {"reader": [403, 403, 403], "writer": [202, 403, 403]}
    assert [operator.post("/v1/imports", ask).status_code for ask in asks[1:]] == [202, 202]
    assert ApiClient(None).post("/v1/imports", asks[0]).status_code == 401
    assert [row.options["uses_server_tokens"] for row in ModelImport.objects.order_by("pk")] == [
        False,
        True,
        True,
    ]


def test_a_path_outside_the_incoming_folder_is_refused(
    operator: ApiClient, model_dir: Path, tmp_path: Path
) -> None:
    outside = write_lora(tmp_path / "secret.safetensors")
    link = model_dir / "incoming" / "link.safetensors"
    link.parent.mkdir(parents=True)
    link.symlink_to(outside)
    for path in (
        outside,
        link,
        model_dir / "incoming" / ".." / ".." / "secret.safetensors",
        Path("relative"),
    ):
        response = operator.post("/v1/imports", {"path": str(path)})
        assert (response.status_code, response.json()["code"]) == (400, "invalid_field")
    assert not ModelImport.objects.exists()


def test_a_name_that_means_something_else_is_a_conflict(writer: ApiClient, cast: Cast) -> None:
    make_checkpoint("taken", aliases=["also-taken"])
    for name in ("taken", "also-taken"):
        response = writer.post("/v1/imports", {"repository": "a/b", "name": name})
        assert (response.status_code, response.json()["code"]) == (409, "conflict")
    assert not ModelImport.objects.exists()


def test_two_imports_of_one_name_at_once_are_a_conflict(writer: ApiClient, stranger: ApiClient) -> None:
    assert writer.post("/v1/imports", {"repository": "a/b"}).status_code == 202
    assert stranger.post("/v1/imports", {"repository": "c/b"}).status_code == 409
    assert ModelImport.objects.count() == 1


def test_a_repeat_with_its_key_makes_no_second_import(writer: ApiClient, stranger: ApiClient) -> None:
    ask = {"url": "https://example.com/api/download/models/4711"}
    first = writer.post("/v1/imports", ask, Idempotency_Key="import-1")
    again = writer.post("/v1/imports", ask, Idempotency_Key="import-1")
    assert (again.status_code, again.content) == (202, first.content)
    assert (first.headers.get("Idempotent-Replayed"), again["Idempotent-Replayed"]) == (None, "true")
    assert ModelImport.objects.count() == 1
    other = writer.post("/v1/imports", {"repository": "a/b"}, Idempotency_Key="import-1")
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")
    assert writer.post("/v1/imports", ask, Idempotency_Key="").json()["code"] == "invalid_idempotency_key"
    assert ModelImport.objects.count() == 1
    # Keys belong to accounts, and a refused request leaves its key free.
    assert stranger.post("/v1/imports", {}, Idempotency_Key="import-1").status_code == 400
    assert stranger.post("/v1/imports", {"repository": "a/b"}, Idempotency_Key="import-1").status_code == 202


def test_strangers_see_nothing(writer: ApiClient, stranger: ApiClient) -> None:
    mine = writer.post("/v1/imports", {"repository": "a/b"}).json()["id"]
    for path in (f"/v1/imports/{mine}", f"/v1/imports/{mine}/events"):
        assert stranger.get(path).status_code == 404
    for act in ("cancel", "retry"):
        assert stranger.post(f"/v1/imports/{mine}/{act}").status_code == 404
    assert stranger.delete(f"/v1/imports/{mine}").status_code == 404
    assert stranger.get("/v1/imports").json() == {"items": [], "next_cursor": None}
    assert ModelImport.objects.get().state == "queued"


def test_lists_in_pages(writer: ApiClient, operator: ApiClient, stranger: ApiClient) -> None:
    ids = [writer.post("/v1/imports", {"repository": f"a/b{number}"}).json()["id"] for number in range(3)]
    other = stranger.post("/v1/imports", {"repository": "a/other"}).json()["id"]
    first = writer.get("/v1/imports?limit=2").json()
    assert [item["id"] for item in first["items"]] == [ids[2], ids[1]]
    second = writer.get(f"/v1/imports?limit=2&cursor={first['next_cursor']}").json()
    assert ([item["id"] for item in second["items"]], second["next_cursor"]) == ([ids[0]], None)
    everybody = operator.get("/v1/imports?all=true").json()["items"]
    assert [item["id"] for item in everybody] == [other, *reversed(ids)]
    assert writer.get("/v1/imports?all=true").status_code == 403
    writer.delete(f"/v1/imports/{ids[0]}")
    canceled = writer.get("/v1/imports?state=canceled,failed").json()["items"]
    assert [item["id"] for item in canceled] == [ids[0]]
    for query in ("state=odd", "limit=0", "limit=101", "cursor=x", "colour=red"):
        assert writer.get(f"/v1/imports?{query}").json()["code"] == "invalid_field"


def test_cancel_and_retry(writer: ApiClient) -> None:
    mine = writer.post("/v1/imports", {"repository": "a/b", "token": "secret"}).json()["id"]
    canceled = writer.post(f"/v1/imports/{mine}/cancel")
    assert (canceled.status_code, canceled.json()["state"]) == (200, "canceled")
    assert find_token(mine) == ""
    assert writer.post(f"/v1/imports/{mine}/cancel").json()["code"] == "conflict"
    again = writer.post(f"/v1/imports/{mine}/retry", {"token": "other"})
    assert (again.status_code, again.json()["state"]) == (202, "queued")
    assert find_token(mine) == "other"
    assert writer.post(f"/v1/imports/{mine}/retry").json()["code"] == "conflict"


def test_a_file_in_a_form(writer: ApiClient, tmp_path: Path, model_dir: Path) -> None:
    data = write_lora(tmp_path / "a.safetensors").read_bytes()
    response = send_file(writer, data, file_name="../../My Style!.safetensors", tags="one, two", title="Mine")
    assert response.status_code == 202, response.content
    row = ModelImport.objects.get()
    assert (row.source, row.options["tags"], row.options["title"]) == ("upload", ["one", "two"], "Mine")
    ended = run(row, TOOLS)
    assert (ended.state, ended.entry.name if ended.entry else "") == ("succeeded", "my_style")
    assert staged_uploads(model_dir) == []


def test_a_form_that_is_sent_again_with_its_key_makes_one_import(writer: ApiClient, model_dir: Path) -> None:
    def send(data: bytes, key: str = "once", **fields: str) -> Any:
        form = {**fields, "file": SimpleUploadedFile("a.safetensors", data)}
        headers = writer.headers | {"Idempotency-Key": key}
        return writer.http.post("/v1/imports", form, headers=headers)

    first, second = send(b"weights"), send(b"weights")

    assert (first.status_code, second.status_code, second.content) == (202, 202, first.content)
    assert second["Idempotent-Replayed"] == "true"
    assert first["Location"] == second["Location"] == f"/v1/imports/{first.json()['id']}"
    assert staged_uploads(model_dir) == [ModelImport.objects.get().options["address"]]
    for other in (send(b"other weights"), send(b"weights", title="Other")):
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")
    assert len(staged_uploads(model_dir)) == 1
    assert send(b"weights", key="twice", name="another").status_code == 202
    assert len(staged_uploads(model_dir)) == 2


def test_a_file_stays_with_its_import_when_keeping_the_answer_fails(
    writer: ApiClient, model_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The import is committed by then, and wants its file."""

    def lose_database(**_: object) -> None:
        raise OperationalError("the connection is gone")

    monkeypatch.setattr(repeats, "take_key", lose_database)
    form = {"file": SimpleUploadedFile("a.safetensors", b"weights")}
    response = writer.http.post("/v1/imports", form, headers=writer.headers | {"Idempotency-Key": "once"})
    assert response.status_code == 503
    assert staged_uploads(model_dir) == [ModelImport.objects.get().options["address"]]


def test_a_form_without_its_file(writer: ApiClient, model_dir: Path) -> None:
    response = writer.http.post("/v1/imports", {"name": "x"}, headers=writer.headers)
    assert response.json()["detail"] == "The file is missing: send it in the field file."
    assert nothing_happened(model_dir)


@pytest.mark.parametrize(
    ("fields", "code"),
    [({"name": "no spaces"}, "invalid_field"), ({"visibility": "public"}, "scope_missing")],
)
def test_of_a_refused_form_no_file_is_kept(
    writer: ApiClient, model_dir: Path, fields: dict[str, str], code: str
) -> None:
    assert send_file(writer, b"x" * 1000, **fields).json()["code"] == code
    assert nothing_happened(model_dir)


def test_a_file_of_somebody_without_the_scope_is_not_read(reader: ApiClient, model_dir: Path) -> None:
    assert send_file(reader, b"x" * 1000).json()["code"] == "scope_missing"
    assert nothing_happened(model_dir)


def test_a_file_that_is_too_large(writer: ApiClient, model_dir: Path, settings: Any) -> None:
    settings.IMPORT_MAX_BYTES = 10_000
    response = send_file(writer, b"x" * 20_000)
    assert (response.status_code, response.json()["code"]) == (400, "upload_refused")
    assert nothing_happened(model_dir)


def test_a_second_file_in_the_form(writer: ApiClient, model_dir: Path) -> None:
    form = {"file": SimpleUploadedFile("a.bin", b"x"), "other": SimpleUploadedFile("b.bin", b"x")}
    response = writer.http.post("/v1/imports", form, headers=writer.headers)
    assert response.json()["code"] == "upload_refused"
    assert nothing_happened(model_dir)


def put(client: ApiClient, upload: str, data: bytes, content_range: str) -> Any:
    return client.http.put(
        f"/v1/imports/uploads/{upload}",
        data,
        "application/octet-stream",
        headers=client.headers | {"Content-Range": content_range},
    )


def test_an_upload_in_pieces_that_is_taken_up_again(
    writer: ApiClient, tmp_path: Path, cast: Cast, settings: Any
) -> None:
    # Pieces may be larger than any other body.
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    data = write_lora(tmp_path / "a.safetensors", rank=2).read_bytes()
    begun = writer.post("/v1/imports/uploads", {"filename": "Piece.safetensors", "size_bytes": len(data)})
    assert begun.status_code == 201
    upload = begun.json()["id"]
    half = len(data) // 2
    assert (
        put(writer, upload, data[:half], f"bytes 0-{half - 1}/{len(data)}").json()["received_bytes"] == half
    )
    too_early = writer.post("/v1/imports", {"upload": upload})
    assert f"has {half} of {len(data)} bytes" in too_early.json()["detail"]
    # The line broke; the client asks how far it is.
    assert writer.get(f"/v1/imports/uploads/{upload}").json()["received_bytes"] == half
    gap = put(writer, upload, data[half + 1 :], f"bytes {half + 1}-{len(data) - 1}/{len(data)}")
    assert (gap.status_code, gap.json()["detail"]) == (409, f"{half} bytes have arrived; go on from there.")
    put(writer, upload, data[half:], f"bytes {half}-{len(data) - 1}/{len(data)}")
    assert access_upload(upload, account_id=cast.account.pk).file.read_bytes() == data
    assert writer.post("/v1/imports", {"upload": upload}).status_code == 202
    assert run(ModelImport.objects.get()).state == "succeeded"


def test_uploads_of_others_are_not_there(writer: ApiClient, stranger: ApiClient) -> None:
    upload = writer.post("/v1/imports/uploads", {"filename": "a.bin", "size_bytes": 4}).json()["id"]
    assert stranger.get(f"/v1/imports/uploads/{upload}").status_code == 404
    assert put(stranger, upload, b"abcd", "bytes 0-3/4").status_code == 404
    assert stranger.post("/v1/imports", {"upload": upload}).json()["code"] == "not_found"
    assert writer.get("/v1/imports/uploads/..").status_code == 404


@pytest.mark.parametrize("content_range", ["", "bytes 0-3/5", "bytes 3-0/4", "bytes 0-9/4", "items 0-3/4"])
def test_pieces_that_do_not_fit(writer: ApiClient, content_range: str) -> None:
    upload = writer.post("/v1/imports/uploads", {"filename": "a.bin", "size_bytes": 4}).json()["id"]
    assert put(writer, upload, b"abcd", content_range).json()["code"] == "invalid_field"
    assert writer.get(f"/v1/imports/uploads/{upload}").json()["received_bytes"] == 0


def test_an_upload_that_does_not_fit_on_the_disk(writer: ApiClient, model_dir: Path, settings: Any) -> None:
    settings.IMPORT_MAX_BYTES = 10**18
    response = writer.post("/v1/imports/uploads", {"filename": "a.bin", "size_bytes": 10**17})
    assert response.json()["code"] == "upload_refused"
    assert "GB are needed" in response.json()["detail"]
    assert nothing_happened(model_dir)


def events(response: Any) -> list[tuple[str, Any]]:
    """(event, data) of a whole stream."""
    text = b"".join(response.streaming_content).decode()
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[0] != ":")
        if "event" in lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


@REAL_COMMITS
def test_events_of_an_import_that_has_ended(writer: ApiClient, server: ModelServer, tmp_path: Path) -> None:
    address = server.add_file("/a.safetensors", write_lora(tmp_path / "a.safetensors"))
    mine = writer.post("/v1/imports", {"url": address}).json()["id"]
    run(ModelImport.objects.get())
    response = writer.get(f"/v1/imports/{mine}/events")
    assert response["Content-Type"] == "text/event-stream"
    names = events(response)
    assert [name for name, _ in names] == ["state", "progress", "done"]
    assert names[-1][1]["model"] == "a"


@REAL_COMMITS
def test_events_while_it_runs(writer: ApiClient, server: ModelServer, tmp_path: Path) -> None:
    address = server.add_file("/a.safetensors", write_lora(tmp_path / "a.safetensors"))
    mine = writer.post("/v1/imports", {"url": address}).json()["id"]
    response = writer.get(f"/v1/imports/{mine}/events")
    stream = iter(response.streaming_content)
    assert next(stream).startswith(b"retry:")
    assert b'"state":"queued"' in next(stream)

    def work() -> None:
        run(ModelImport.objects.get())
        connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    rest = b"".join(stream).decode()
    thread.join()
    assert "event: done" in rest
    assert '"state":"succeeded"' in rest
    assert ModelImport.objects.get().state == ImportState.SUCCEEDED


def test_other_methods_are_refused(writer: ApiClient, client: Client) -> None:
    response = client.patch("/v1/imports", headers=writer.headers)
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD, POST")
