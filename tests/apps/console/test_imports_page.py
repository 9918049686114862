"""The console's imports: the list with its bars, the form, and what its buttons do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from apps.catalog.choices import ImportSource
from apps.catalog.imports.options import ImportOptions
from apps.catalog.imports.secrets import find_token
from apps.catalog.models import ModelImport
from apps.console.imports_page import duration_text, line_of, size_text
from tests.apps.catalog.imports.studio import hub, run, submit
from tests.apps.catalog.imports.weights_files import write_lora
from tests.cast import Cast

pytestmark = pytest.mark.django_db

LIST = "/console/catalog/modelimport/"


@pytest.fixture(autouse=True)
def model_dir(tmp_path: Path, settings: Any) -> Path:
    settings.MODEL_DIR = tmp_path / "models"
    settings.HOME_DIR = tmp_path / "home"
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture
def otto(cast: Cast, client: Client) -> Client:
    client.force_login(cast.otto)
    return client


def uploads(model_dir: Path) -> list[Path]:
    return list((model_dir / "staging" / "uploads").glob("*/*"))


def test_only_operators_come_in(cast: Cast, client: Client, model_dir: Path) -> None:
    paths = [LIST, f"{LIST}add/", f"{LIST}progress"]
    client.force_login(cast.ada)
    assert {client.get(path).status_code for path in paths} == {302}
    form = {"source": "a/b", "file": SimpleUploadedFile("a.bin", b"x")}
    assert client.post(f"{LIST}submit", form).status_code == 302
    assert not ModelImport.objects.exists()
    assert uploads(model_dir) == []


def test_the_form_asks_for_a_repository(otto: Client, cast: Cast) -> None:
    page = otto.get(f"{LIST}add/").content.decode()
    assert 'enctype="multipart/form-data"' in page
    fields = {
        "source": "lab/tiny/file.safetensors",
        "account": cast.account.pk,
        "token": "secret",
        "tags": "a, b",
    }
    response = otto.post(f"{LIST}submit", fields)
    assert (response.status_code, response["Location"]) == (302, LIST)
    row = ModelImport.objects.get()
    assert (row.address, row.options["file"], row.account) == ("lab/tiny", "file.safetensors", cast.account)
    assert (row.options["visibility"], row.options["tags"]) == ("private", ["a", "b"])
    assert row.requested_by == cast.otto.ref.label
    assert find_token(row.pk) == "secret"


def test_the_form_takes_a_file(otto: Client, tmp_path: Path, model_dir: Path) -> None:
    data = write_lora(tmp_path / "a.safetensors").read_bytes()
    form = {"file": SimpleUploadedFile("My Style.safetensors", data), "commercial_use": "true"}
    assert otto.post(f"{LIST}submit", form).status_code == 302
    ended = run(ModelImport.objects.get())
    assert ended.entry is not None
    assert (ended.entry.name, ended.entry.visibility) == ("my_style", "public")
    assert ended.entry.is_commercial_use_allowed
    assert uploads(model_dir) == []


def test_the_form_takes_from_the_incoming_folder(otto: Client, model_dir: Path) -> None:
    file = write_lora(model_dir / "incoming" / "Dropped.safetensors")
    (model_dir / "incoming" / "old.ckpt.refused").write_text("x")
    (model_dir / "incoming" / "old.ckpt.refused.txt").write_text("no")
    page = otto.get(f"{LIST}add/").content.decode()
    assert "Dropped.safetensors" in page
    assert "old.ckpt" not in page
    assert otto.post(f"{LIST}submit", {"folder": "Dropped.safetensors"}).status_code == 302
    assert run(ModelImport.objects.get()).state == "succeeded"
    assert not file.exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({}, "Give one source"),
        ({"source": "a/b", "folder": "x"}, "Select a valid choice"),
        ({"source": "/etc/passwd"}, "must be a hub repository (organisation/name), a URL"),
        ({"source": "a/b", "name": "no spaces"}, "must be letters, digits"),
        ({"source": "a/b", "sha256": "abc"}, "must be 64 hexadecimal digits"),
    ],
)
def test_what_is_wrong_stands_on_the_form(
    otto: Client, fields: dict[str, str], words: str, model_dir: Path
) -> None:
    response = otto.post(f"{LIST}submit", fields)
    assert response.status_code == 200
    assert words in response.content.decode()
    assert not ModelImport.objects.exists()


def test_of_a_refused_form_no_file_is_kept(otto: Client, model_dir: Path) -> None:
    form = {"file": SimpleUploadedFile("a.bin", b"x" * 10), "source": "a/b"}
    assert "Give one source" in otto.post(f"{LIST}submit", form).content.decode()
    assert uploads(model_dir) == []


def test_a_file_that_is_too_large_stands_on_the_form(otto: Client, model_dir: Path, settings: Any) -> None:
    settings.IMPORT_MAX_BYTES = 1000
    response = otto.post(f"{LIST}submit", {"file": SimpleUploadedFile("a.bin", b"x" * 5000)})
    assert "is larger than" in response.content.decode()
    assert uploads(model_dir) == []


def test_without_its_csrf_token_a_form_does_nothing(cast: Cast, model_dir: Path) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(cast.otto)
    form = {"file": SimpleUploadedFile("a.bin", b"x")}
    assert strict.post(f"{LIST}submit", form).status_code == 403
    row = submit(hub())
    for act in ("cancel", "retry"):
        assert strict.post(f"{LIST}{row.pk}/{act}").status_code == 403
    row.refresh_from_db()
    assert row.state == "queued"
    assert uploads(model_dir) == []


def test_the_list_shows_how_far_imports_are(otto: Client) -> None:
    row = submit(hub())
    ModelImport.objects.filter(pk=row.pk).update(
        state="running",
        phase="downloading",
        claimed_by="x",
        lease_expires_at=row.created_at,
        bytes_done=1_500_000,
        bytes_total=3_000_000,
        speed_bps=500_000.0,
    )
    page = otto.get(LIST).content.decode()
    assert "1.5 MB of 3.0 MB, 500.0 kB/s, 3 s left" in page
    assert 'value="50"' in page
    [line] = otto.get(f"{LIST}progress?ids={row.pk},x,").json()["imports"]
    assert (line["state"], line["label"], line["percent"]) == ("running", "Downloading", 50)
    assert otto.get(f"{LIST}progress").json() == {"imports": []}


def test_addresses_lose_what_may_be_secret(otto: Client) -> None:
    options = ImportOptions(
        source=ImportSource.URL, address="http://example.com/a.safetensors?signature=s3cret"
    )
    submit(options)
    assert "s3cret" not in otto.get(LIST).content.decode()


def test_cancel_and_retry_by_their_buttons(otto: Client, cast: Cast) -> None:
    row = submit(hub())
    assert f"{LIST}{row.pk}/cancel" in otto.get(LIST).content.decode()
    otto.post(f"{LIST}{row.pk}/cancel")
    row.refresh_from_db()
    assert row.state == "canceled"
    page = otto.get(LIST).content.decode()
    assert "is being stopped" in page
    assert f"{LIST}{row.pk}/retry" in page
    otto.post(f"{LIST}{row.pk}/retry", {"token": "fresh"})
    row.refresh_from_db()
    assert (row.state, find_token(row.pk)) == ("queued", "fresh")
    otto.post(f"{LIST}{row.pk}/retry")
    assert "Only a failed or canceled import can be retried" in otto.get(LIST).content.decode()
    assert otto.get(f"{LIST}{row.pk}/cancel").status_code == 405


def test_a_failure_is_told_in_full(otto: Client) -> None:
    row = submit(hub())
    ModelImport.objects.filter(pk=row.pk).update(
        state="failed", finished_at=row.created_at, error_code="token_required", error_message="Give one."
    )
    page = otto.get(LIST).content.decode()
    assert "Give one." in page
    assert 'name="token"' in page


def test_old_imports_are_on_further_pages(otto: Client) -> None:
    rows = [submit(hub(f"lab/model-{number}")) for number in range(27)]
    first = otto.get(LIST).content.decode()
    assert f"Import {rows[26].pk}," in first
    assert f"Import {rows[1].pk}," not in first
    assert f"Import {rows[1].pk}," in otto.get(f"{LIST}?before={rows[2].pk}").content.decode()


def test_words_for_sizes_and_times() -> None:
    assert [size_text(count) for count in (0, 999, 1_500, 12_300_000, 7_000_000_000, 2.5e12)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "12.3 MB",
        "7.0 GB",
        "2.5 TB",
    ]
    assert [duration_text(seconds) for seconds in (3, 99, 720, 11_100)] == [
        "3 s",
        "99 s",
        "12 min",
        "3 h 5 min",
    ]


def test_a_stopping_import_says_so(cast: Cast) -> None:
    row = submit(hub())
    row.is_cancel_requested = True
    assert line_of(row).label == "Stopping"
