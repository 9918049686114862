"""Imports from claim to end, against a server that speaks the hub's and CivitAI's wire forms."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from apps.catalog.choices import ImportSource, Visibility
from apps.catalog.imports.options import ImportOptions
from apps.catalog.imports.runner import run_import
from apps.catalog.imports.secrets import find_token
from apps.catalog.models import CatalogEntry
from apps.core.errors import Conflict
from tests.apps.catalog.imports.studio import WORKER, bring_in, hub, run, staged, stored, submit, trail, url
from tests.apps.catalog.imports.weights_files import sha256_of, write_lora, write_sizable_lora
from tests.cast import Cast
from tests.harness.model_server import ModelServer

pytestmark = pytest.mark.django_db


@pytest.fixture
def repository(server: ModelServer, tmp_path: Path) -> Path:
    """`lab/tiny-lora`: a LoRA with what such repositories carry beside it."""
    folder = tmp_path / "repository"
    write_lora(folder / "tiny.safetensors")
    (folder / "README.md").write_text("# A LoRA")
    server.add_repository("lab/tiny-lora", folder, card={"license": "apache-2.0"})
    return folder


def test_a_hub_repository_becomes_an_entry(server: ModelServer, repository: Path, settings: Any) -> None:
    row = bring_in(hub(name="my-lora", tags=("Style",), trigger_words=("tiny",)))
    assert (row.state, row.error_message) == ("succeeded", "")
    entry = CatalogEntry.objects.get()
    assert row.entry == entry
    assert (entry.name, entry.kind, entry.family, entry.licence) == ("my-lora", "lora", "sd15", "apache-2.0")
    assert entry.is_commercial_use_allowed
    assert entry.source_url == f"{server.url}/lab/tiny-lora"
    assert (entry.tags, entry.trigger_words, entry.imported_by) == (["style"], ["tiny"], "manage.py")
    assert stored(settings) == [entry.digest]
    weights = Path(entry.path) / "weights.safetensors"
    assert sha256_of(weights) == sha256_of(repository / "tiny.safetensors")
    assert staged(row) == []
    assert trail(row) == ["submitted", "succeeded"]
    assert [request.path for request in server.requests if "README" in request.path] == []


def test_the_files_of_the_listed_commit_are_fetched(server: ModelServer, repository: Path) -> None:
    bring_in(hub())
    commit = server.repositories["lab/tiny-lora"].commit
    assert len(server.asked(f"/lab/tiny-lora/resolve/{commit}/tiny.safetensors")) == 1
    assert CatalogEntry.objects.get().details["source"]["revision"] == commit


def test_nothing_of_the_environments_hub_settings_is_used(
    server: ModelServer, repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret_of_the_environment")
    monkeypatch.setattr("huggingface_hub.constants.HF_TOKEN_PATH", str(tmp_path / "token"))
    (tmp_path / "token").write_text("hf_secret_of_the_home")
    assert bring_in(hub()).state == "succeeded"
    assert all("Authorization" not in request.headers for request in server.requests)
    assert {request.headers["User-Agent"] for request in server.requests} == {"darkroom"}


def test_a_civitai_download_with_a_name_and_a_token(server: ModelServer, tmp_path: Path) -> None:
    file = write_lora(tmp_path / "source.bin")
    address = server.add_download(4711, file, name="../../My Löra v1.0.safetensors", token="civ-secret")
    row = bring_in(url(address, token="civ-secret"))
    assert (row.state, row.error_message) == ("succeeded", "")
    assert CatalogEntry.objects.get().name == "my_l_ra_v1.0"
    assert row.requested_name == "my_l_ra_v1.0"
    # The token goes to the host it is for; the CDN here is the same host, and gets it as well.
    assert server.asked("/api/download/models/4711")[0].headers["Authorization"] == "Bearer civ-secret"


def test_a_token_in_the_address_is_sent_as_it_was_given_and_kept_nowhere(
    server: ModelServer, tmp_path: Path
) -> None:
    address = server.add_download(4711, write_lora(tmp_path / "a.safetensors"), token="civ-secret")
    row = submit(url(f"{address}?type=Model&token=civ-secret"))
    assert row.address == f"{address}?type=Model"
    assert find_token(row.pk) == "civ-secret"
    ended = run(row)
    assert ended.state == "succeeded"
    assert server.asked("/api/download/models/4711")[0].query == "type=Model&token=civ-secret"
    assert find_token(row.pk) == ""
    assert "civ-secret" not in str(ended.__dict__)


def test_a_promised_digest_in_the_headers_is_checked(server: ModelServer, tmp_path: Path) -> None:
    file = write_lora(tmp_path / "a.safetensors")
    address = server.add_download(1, file, headers={"X-Checksum-Sha256": "0" * 64})
    row = bring_in(url(address))
    assert (row.state, row.error_code) == ("failed", "digest_mismatch")
    assert CatalogEntry.objects.count() == 0
    assert staged(row) == []


def test_one_file_of_a_repository(server: ModelServer, repository: Path) -> None:
    write_lora(repository / "other" / "second.safetensors", seed=2)
    server.add_repository("lab/tiny-lora", repository)
    row = bring_in(hub("lab/tiny-lora/other/second.safetensors"))
    assert row.state == "succeeded"
    assert CatalogEntry.objects.get().name == "second"
    assert [request.path for request in server.requests if "/cdn/" in request.path] == [
        f"/cdn/{sha256_of(repository / 'other' / 'second.safetensors')}"
    ]


def test_a_folder_on_the_server(tmp_path: Path) -> None:
    file = write_lora(tmp_path / "My Style.safetensors")
    row = bring_in(ImportOptions(source=ImportSource.FOLDER, address=str(file), is_anywhere=True))
    assert row.state == "succeeded"
    assert CatalogEntry.objects.get().name == "my-style"
    assert file.exists()


def test_a_folder_of_links_such_as_a_download_cache(tmp_path: Path) -> None:
    blob = write_lora(tmp_path / "blobs" / "0123abcd")
    snapshot = tmp_path / "snapshots" / "tiny"
    snapshot.mkdir(parents=True)
    (snapshot / "tiny.safetensors").symlink_to(blob)
    row = bring_in(
        ImportOptions(
            source=ImportSource.FOLDER, address=str(snapshot / "tiny.safetensors"), is_anywhere=True
        )
    )
    assert (row.state, row.error_message) == ("succeeded", "")
    assert staged(row) == []
    assert blob.exists()


def test_a_link_in_the_watched_folder_is_not_followed(model_dir: Path, tmp_path: Path) -> None:
    secret = write_lora(tmp_path / "secret.safetensors")
    folder = model_dir / "incoming" / "model"
    folder.mkdir(parents=True)
    (folder / "a.safetensors").symlink_to(secret)
    row = bring_in(ImportOptions(source=ImportSource.FOLDER, address=str(folder)))
    assert (row.state, row.error_code) == ("failed", "address_refused")


def test_an_upload_that_lies_in_staging(model_dir: Path) -> None:
    write_lora(model_dir / "staging" / "uploads" / "abc123" / "Up Loaded.safetensors")
    row = bring_in(ImportOptions(source=ImportSource.UPLOAD, address="abc123"))
    assert row.state == "succeeded"
    assert CatalogEntry.objects.get().name == "up-loaded"
    assert staged(row) == []
    assert not (model_dir / "staging" / "uploads" / "abc123").exists()


def test_importing_again_fetches_nothing_and_changes_nothing(server: ModelServer, repository: Path) -> None:
    first = bring_in(hub())
    CatalogEntry.objects.update(title="Edited by an operator")
    before = server.bytes_sent("/cdn/")
    second = bring_in(hub())
    assert (second.state, second.entry) == ("succeeded", first.entry)
    assert second.pk != first.pk
    assert server.bytes_sent("/cdn/") == before
    assert CatalogEntry.objects.get().title == "Edited by an operator"


def test_the_same_file_from_elsewhere_under_the_same_name_is_a_no_op(
    server: ModelServer, repository: Path, tmp_path: Path
) -> None:
    first = bring_in(hub(name="tiny"))
    address = server.add_file("/files/tiny.safetensors", repository / "tiny.safetensors")
    digest = sha256_of(repository / "tiny.safetensors")
    second = bring_in(url(address, name="tiny", expected_sha256=digest.upper()))
    assert (second.state, second.entry) == ("succeeded", first.entry)
    # Only the look at the first bytes.
    assert server.bytes_sent("/files/") == 512


def test_the_same_file_under_another_name_shares_its_weights(
    server: ModelServer, repository: Path, settings: Any
) -> None:
    bring_in(hub(name="first"))
    bring_in(hub(name="second"))
    digests = set(CatalogEntry.objects.values_list("digest", flat=True))
    assert CatalogEntry.objects.count() == 2
    assert stored(settings) == list(digests)


def test_a_changed_repository_under_the_same_name_is_refused_before_a_byte_is_fetched(
    server: ModelServer, repository: Path
) -> None:
    bring_in(hub())
    write_lora(repository / "tiny.safetensors", seed=9)
    server.add_repository("lab/tiny-lora", repository)
    before = server.bytes_sent("/cdn/")
    row = bring_in(hub())
    assert (row.state, row.error_code) == ("failed", "name_taken")
    assert "already names other weights" in row.error_message
    assert server.bytes_sent("/cdn/") == before


def test_force_replaces_the_weights_of_an_entry(server: ModelServer, repository: Path) -> None:
    bring_in(hub())
    old = CatalogEntry.objects.get().digest
    write_lora(repository / "tiny.safetensors", seed=9)
    server.add_repository("lab/tiny-lora", repository)
    row = bring_in(hub(force=True))
    assert row.state == "succeeded"
    assert CatalogEntry.objects.get().digest != old


def test_somebody_elses_private_model_is_no_reason_to_do_nothing(
    server: ModelServer, repository: Path, cast: Cast
) -> None:
    private = hub(name="adas", visibility=Visibility.PRIVATE)
    bring_in(private, account=cast.account)
    # Her own again is there already; a stranger gets a name of his own.
    assert bring_in(private, account=cast.account).state == "succeeded"
    for options in (private, replace(private, force=True), hub(name="adas")):
        with pytest.raises(Conflict):
            submit(options, account=cast.strangers_account if options.visibility == "private" else None)
    assert CatalogEntry.objects.count() == 1


def test_force_does_not_take_a_public_model_over_for_an_account(
    server: ModelServer, repository: Path, cast: Cast
) -> None:
    bring_in(hub())
    write_lora(repository / "tiny.safetensors", seed=9)
    server.add_repository("other/tiny-lora", repository)
    with pytest.raises(Conflict):
        submit(hub("other/tiny-lora", force=True, visibility=Visibility.PRIVATE), account=cast.account)


def test_an_entry_whose_files_are_gone_is_brought_back(server: ModelServer, repository: Path) -> None:
    first = bring_in(hub())
    folder = Path(CatalogEntry.objects.get().path)
    shutil.rmtree(folder)
    again = bring_in(hub())
    assert (again.state, again.entry) == ("succeeded", first.entry)
    assert (folder / "weights.safetensors").exists()


def test_the_same_link_again_is_a_no_op_once_it_is_fetched(server: ModelServer, tmp_path: Path) -> None:
    file = write_lora(tmp_path / "a.safetensors")
    address = server.add_file("/a.safetensors", file)
    first = bring_in(url(address))
    again = bring_in(url(address))
    assert (again.state, again.entry) == ("succeeded", first.entry)
    server.add_file("/a.safetensors", write_lora(tmp_path / "b.safetensors", seed=4))
    other = bring_in(url(address))
    assert (other.state, other.error_code) == ("failed", "name_taken")
    assert CatalogEntry.objects.count() == 1


def test_a_private_model_belongs_to_the_account_that_imports_it(
    server: ModelServer, repository: Path, cast: Cast
) -> None:
    row = bring_in(hub(visibility=Visibility.PRIVATE), account=cast.account)
    assert row.state == "succeeded"
    entry = CatalogEntry.objects.get()
    assert (entry.visibility, entry.owner) == ("private", cast.account)
    assert not CatalogEntry.objects.visible_to(cast.strangers_account).exists()


def test_the_operators_token_is_for_imports_that_may_use_it(
    server: ModelServer, repository: Path, settings: Any
) -> None:
    settings.HF_TOKEN = "operators"
    server.add_repository("lab/tiny-lora", repository, is_gated=True, token="operators")
    refused = bring_in(hub())
    assert (refused.state, refused.error_code) == ("failed", "token_required")
    assert all("Authorization" not in request.headers for request in server.requests)
    assert bring_in(hub(uses_server_tokens=True)).state == "succeeded"


def test_tokens_of_other_hosts_come_from_the_list(server: ModelServer, tmp_path: Path, settings: Any) -> None:
    settings.IMPORT_TOKENS = "example.com=other, 127.0.0.1 = civ-secret"
    address = server.add_download(1, write_lora(tmp_path / "a.safetensors"), token="civ-secret")
    assert bring_in(url(address, uses_server_tokens=True)).state == "succeeded"


def test_a_large_file_comes_in_several_ranges_at_once(server: ModelServer, tmp_path: Path) -> None:
    file = write_sizable_lora(tmp_path / "big.safetensors")
    row = bring_in(url(server.add_file("/big.safetensors", file)))
    assert row.state == "succeeded"
    ranges = [request.headers.get("Range") for request in server.asked("/big.safetensors")]
    size = file.stat().st_size
    expected = [f"bytes={at}-{min(at + 262144, size) - 1}" for at in range(0, size, 262144)]
    # The first look, then the first range by itself, then all others in any order.
    assert ranges[:2] == ["bytes=0-511", expected[0]]
    assert sorted(ranges[2:]) == sorted(expected[1:])


def test_nothing_is_claimed_twice(server: ModelServer, repository: Path) -> None:
    row = submit(hub())
    run(row)
    assert run_import(import_id=row.pk, worker=WORKER) is None
    assert run_import(worker=WORKER) is None
