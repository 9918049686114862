"""`manage.py models`: what operators type, and what they read."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.catalog.models import CatalogEntry, ModelImport
from apps.console import import_follow
from tests.apps.catalog.imports.studio import TOOLS, hub, submit
from tests.apps.catalog.imports.weights_files import write_lora, write_sizable_lora
from tests.cast import Cast
from tests.harness.model_server import Fault, ModelServer
from tests.harness.waits import wait_until

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def model_dir(tmp_path: Path, settings: Any) -> Path:
    settings.MODEL_DIR = tmp_path / "models"
    settings.HOME_DIR = tmp_path / "home"
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The conversion of the import tests, which needs no process of its own."""
    run = import_follow.run_import
    monkeypatch.setattr(import_follow, "run_import", lambda **facts: run(**facts, tools=TOOLS))


@pytest.fixture
def server(settings: Any) -> Iterator[ModelServer]:
    with ModelServer() as server:
        settings.HF_ENDPOINT = server.url
        settings.FETCH_ALLOW = [f"127.0.0.1/32:{server.port}"]
        yield server


def models(*arguments: str) -> str:
    out = io.StringIO()
    call_command("models", *arguments, stdout=out)
    return out.getvalue()


def test_a_file_is_imported_in_this_process(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = write_lora(tmp_path / "Ink.safetensors")
    said = models(
        "import", str(file), "--here", "--tag", "style", "--trigger-word", "ink", "--commercial-use"
    )
    assert said.startswith("ink is ready: lora sd15, 0.1 MB")
    entry = CatalogEntry.objects.get()
    assert (entry.tags, entry.trigger_words, entry.is_commercial_use_allowed) == (["style"], ["ink"], True)
    # Without a terminal: a line for each phase.
    assert capfd.readouterr().err.startswith("ink: looking up files\n")


def test_without_a_cluster_the_command_does_it_itself_after_a_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(import_follow, "CLUSTER_PATIENCE_S", 0.3)
    assert "a is ready" in models("import", str(write_lora(tmp_path / "a.safetensors")))


def test_what_a_cluster_takes_is_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = submit(hub())
    looks = iter(["running", "running", "succeeded"])
    entry = CatalogEntry(name="x", kind="lora", family="sd15", size_bytes=5)

    def look(self: ModelImport, *arguments: Any, **options: Any) -> None:
        self.state, self.phase, self.entry = next(looks), "downloading", entry

    monkeypatch.setattr(ModelImport, "refresh_from_db", look)
    monkeypatch.setattr(import_follow, "POLL_S", 0.0)
    monkeypatch.setattr(import_follow, "run_import", lambda **facts: pytest.fail("it was taken already"))
    assert import_follow.follow_import(row).state == "succeeded"


def test_a_repository_for_one_account(server: ModelServer, tmp_path: Path, cast: Cast) -> None:
    write_lora(tmp_path / "r" / "a.safetensors")
    server.add_repository("lab/tiny", tmp_path / "r", is_gated=True, token="hf_secret")
    (tmp_path / "token").write_text("hf_secret\n")
    said = models(
        "import",
        "lab/tiny",
        "--here",
        "--private-to",
        "ada",
        "--name",
        "adas",
        "--token-file",
        str(tmp_path / "token"),
    )
    assert said.startswith("adas is ready")
    assert CatalogEntry.objects.get().owner == cast.account


def test_a_failure_says_what_to_do_and_a_retry_goes_on(server: ModelServer, tmp_path: Path) -> None:
    address = server.add_file("/a.safetensors", write_lora(tmp_path / "a.safetensors"))
    server.fault("/a.safetensors", Fault(status=503))
    with pytest.raises(CommandError) as caught:
        models("import", address, "--here")
    row = ModelImport.objects.get()
    assert "answered 503" in str(caught.value)
    assert f"models retry {row.pk}" in str(caught.value)
    server.fault("/a.safetensors", None)
    assert "a is ready" in models("retry", str(row.pk), "--here")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("import", "nonsense"), "must be a hub repository"),
        (("import", "lab/x", "--name", "a b"), "name must be letters"),
        (("import", "lab/x", "--private-to", "nobody"), "there is no account 'nobody'"),
        (("import", "lab/x", "--token-file", "/nowhere"), "No such file"),
        (("cancel", "77"), "Import 77 was not found"),
        (("verify", "nothing"), "there is no model 'nothing'"),
    ],
)
def test_what_cannot_be_done(cast: Cast, arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        models(*arguments)
    assert not ModelImport.objects.exists()


def test_only_queueing_listing_and_canceling() -> None:
    said = models("import", "lab/tiny", "--no-wait")
    row = ModelImport.objects.get()
    assert f"import {row.pk} is queued" in said
    assert [line.split() for line in models("imports").splitlines()] == [[str(row.pk), "queued", "tiny"]]
    assert models("cancel", str(row.pk)) == f"import {row.pk}: canceled\n"
    assert models("imports", "--open") == ""


def test_the_list_of_models(tmp_path: Path) -> None:
    models("import", str(write_lora(tmp_path / "Ink.safetensors")), "--here")
    models("import", str(write_lora(tmp_path / "Oil.safetensors", seed=2)), "--here")
    assert [line.split()[0] for line in models("list").splitlines()] == ["ink", "oil"]
    assert [line.split()[0] for line in models("list", "oi", "--kind", "lora").splitlines()] == ["oil"]
    assert models("list", "--family", "sdxl") == ""


def test_verify_finds_what_was_changed_on_the_disk(tmp_path: Path) -> None:
    models("import", str(write_lora(tmp_path / "ink.safetensors")), "--here")
    assert models("verify") == "ink: ok\n"
    weights = Path(CatalogEntry.objects.get().path) / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(bytes(data))
    with pytest.raises(CommandError, match="1 models are damaged"):
        models("verify", "ink")


@pytest.mark.slow
def test_tiny_models_are_built_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models("make-tiny", "sd15", str(tmp_path), "--kind", "lora", "--name", "mini")
    assert (tmp_path / "mini.safetensors").stat().st_size > 10_000
    # Another of these would load torch for seconds; tests of the program itself see to its exit status.
    monkeypatch.setattr(sys, "executable", "false")
    with pytest.raises(CommandError, match="nothing was built"):
        models("make-tiny", "no-such-family", str(tmp_path))


@pytest.mark.django_db(transaction=True)
def test_ctrl_c_ends_a_stalled_download(server: ModelServer, tmp_path: Path) -> None:
    address = server.add_file("/big.safetensors", write_sizable_lora(tmp_path / "big.safetensors"))
    server.fault("/big.safetensors", Fault(stall_at=0.5))
    pressed: list[float] = []

    def press() -> None:
        wait_until(lambda: server.bytes_sent("/big") > 1_000_000, what="half of the download")
        pressed.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
        connection.close()

    thread = threading.Thread(target=press)
    thread.start()
    with pytest.raises(CommandError, match="was canceled; nothing of it is left"):
        models("import", address, "--here")
    assert pressed
    thread.join()
    assert ModelImport.objects.get().state == "canceled"
    assert ModelImport.objects.get().finished_at is not None
