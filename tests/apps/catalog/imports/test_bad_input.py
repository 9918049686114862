"""What can be wrong with a source: each has its message, the import fails cleanly, and a retry resumes."""

from __future__ import annotations

import errno
import os
import pickle
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from apps.catalog.choices import ImportSource
from apps.catalog.imports import conversion
from apps.catalog.imports.options import ImportOptions
from apps.catalog.imports.services import cancel_import, retry_import
from apps.catalog.models import CatalogEntry, ModelImport
from apps.core import clock
from apps.core.errors import Conflict
from apps.core.http import READ_TIMEOUT_S
from gpu_runtime.weights.importing.launch import ImportRequest
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from tests.apps.catalog.imports.studio import (
    OPERATOR,
    TOOLS,
    bring_in,
    hub,
    run,
    staged,
    stored,
    submit,
    trail,
    url,
)
from tests.apps.catalog.imports.weights_files import write_lora, write_sizable_lora
from tests.harness.model_server import Fault, ModelServer
from tests.harness.waits import wait_until

pytestmark = pytest.mark.django_db


@pytest.fixture
def big(server: ModelServer, tmp_path: Path) -> str:
    """A direct link to a file of 3.7 MB."""
    return server.add_file("/big.safetensors", write_sizable_lora(tmp_path / "big.safetensors"))


@pytest.fixture
def repository(server: ModelServer, tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    write_lora(folder / "tiny.safetensors")
    server.add_repository("lab/tiny-lora", folder)
    return folder


def assert_failed(row: ModelImport, code: str, *words: str) -> None:
    """Failed with this code and message; nothing of it in the catalogue, the store or the secrets."""
    assert (row.state, row.error_code) == ("failed", code)
    for word in words:
        assert word in row.error_message
    assert row.finished_at is not None
    assert CatalogEntry.objects.count() == 0
    assert trail(row)[-1] == "failed"


def retry(row: ModelImport, token: str = "") -> ModelImport:
    return run(retry_import(model_import=row, token=token, actor=OPERATOR, now=clock.now()))


def test_a_web_page_instead_of_a_file(server: ModelServer, settings: Any) -> None:
    address = server.add_file(
        "/model.safetensors", b"<!DOCTYPE html><html>Buy now</html>", content_type="text/html"
    )
    row = bring_in(url(address))
    assert_failed(row, "not_weights", "sent an HTML page", "a licence click or a login may be needed")
    assert staged(row) == []
    assert stored(settings) == []


def test_a_web_page_that_claims_to_be_a_file(server: ModelServer) -> None:
    row = bring_in(url(server.add_file("/model.safetensors", b"\n <!-- x --><HTML><body>no</body></html>")))
    assert_failed(row, "not_weights", "sent an HTML page")


def test_a_login_page_in_place_of_a_download(server: ModelServer, tmp_path: Path) -> None:
    address = server.add_download(7, write_lora(tmp_path / "a.safetensors"), token="civ-secret")
    row = bring_in(url(address))
    assert_failed(row, "not_weights", "a licence click or a login may be needed")
    assert retry(row, token="civ-secret").state == "succeeded"


def test_a_page_that_only_the_download_itself_turns_into(server: ModelServer, repository: Path) -> None:
    server.fault("lab/tiny-lora/tiny.safetensors", Fault(html=True))
    assert_failed(bring_in(hub()), "not_weights", "sent an HTML page")


def test_a_repository_without_weights(server: ModelServer, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "README.md").write_text("# Coming soon")
    (tmp_path / "empty" / "config.json").write_text("{}")
    server.add_repository("lab/empty", tmp_path / "empty")
    row = bring_in(hub("lab/empty"))
    assert_failed(row, "no_weights", "lab/empty has no weights: it holds README.md, config.json.")
    assert server.bytes_sent("/lab/") == 0


def test_a_repository_with_weights_for_other_frameworks_alone(server: ModelServer, tmp_path: Path) -> None:
    for name in ("flax_model.msgpack", "openvino_model.bin", "tf_model.h5", "unet/model.onnx"):
        path = tmp_path / "foreign" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 2000)
    server.add_repository("lab/foreign", tmp_path / "foreign")
    assert_failed(bring_in(hub("lab/foreign")), "no_weights", "flax_model.msgpack")


def test_several_models_in_one_repository(server: ModelServer, repository: Path) -> None:
    write_lora(repository / "second.safetensors", seed=2)
    server.add_repository("lab/tiny-lora", repository)
    row = bring_in(hub())
    assert_failed(row, "choose_file", "name one file of second.safetensors, tiny.safetensors")


def test_a_file_the_repository_does_not_have(server: ModelServer, repository: Path) -> None:
    row = bring_in(hub("lab/tiny-lora/missing.safetensors"))
    assert_failed(row, "file_not_found", "has no file missing.safetensors. It has tiny.safetensors.")


def test_a_repository_that_is_not_there(server: ModelServer) -> None:
    row = bring_in(hub("lab/nothing"))
    assert_failed(row, "source_not_found", "has no repository lab/nothing", "If it is private, give a token")


def test_a_private_repository_looks_like_a_missing_one(server: ModelServer, repository: Path) -> None:
    server.add_repository("lab/tiny-lora", repository, is_private=True, token="members")
    row = bring_in(hub())
    assert_failed(row, "source_not_found", "If it is private, give a token")
    assert retry(row, token="members").state == "succeeded"


def test_a_revision_that_is_not_there(server: ModelServer, repository: Path) -> None:
    row = bring_in(hub(revision="v99"))
    assert_failed(row, "source_not_found", "but not the revision asked for")


def test_a_gated_repository_without_a_token(server: ModelServer, repository: Path) -> None:
    server.add_repository("lab/tiny-lora", repository, is_gated=True, token="members")
    row = bring_in(hub())
    assert_failed(row, "token_required", "tiny.safetensors is gated: accept its licence")
    assert staged(row) == ["files/tiny.safetensors.part", "files/tiny.safetensors.part.json"]
    assert retry(row, token="members").state == "succeeded"


def test_a_licence_that_was_not_accepted(server: ModelServer, repository: Path) -> None:
    server.add_repository("lab/tiny-lora", repository, is_gated=True, token="members")
    server.tokens.add("somebody")
    row = bring_in(hub(token="somebody"))
    assert_failed(row, "licence_required", "has not accepted its licence", "then retry")
    # The token is gone with the failure: the retry brings another.
    assert retry(row, token="members").state == "succeeded"


def test_a_direct_link_that_wants_a_token(server: ModelServer, tmp_path: Path) -> None:
    address = server.add_file("/a.safetensors", write_lora(tmp_path / "a.safetensors"), needs_token="secret")
    assert_failed(bring_in(url(address)), "token_required", "wants a token")
    assert_failed(bring_in(url(address, token="wrong")), "token_required", "refuses the token")


def test_a_link_that_leads_nowhere(server: ModelServer) -> None:
    row = bring_in(url(server.url + "/gone.safetensors?signature=secret"))
    assert_failed(row, "source_not_found")
    assert "secret" not in row.error_message


def test_an_address_inside_the_network(server: ModelServer, settings: Any) -> None:
    settings.FETCH_ALLOW = []
    row = bring_in(url(server.add_file("/a.safetensors", b"x")))
    assert_failed(row, "address_refused", "inside a private network")
    assert server.requests == []


def test_a_host_that_is_not_in_the_list(server: ModelServer, settings: Any) -> None:
    settings.IMPORT_HOSTS = ["*.example.com"]
    assert_failed(bring_in(hub()), "address_refused", "The host 127.0.0.1 is not among those")
    assert server.requests == []


def test_a_disk_that_is_too_full(
    server: ModelServer, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage("/")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=300_000_000))
    row = bring_in(hub())
    assert_failed(row, "disk_full", "1.0 GB are needed, 0.3 GB are free", "then retry")
    assert server.bytes_sent("/cdn/") == 0
    monkeypatch.undo()
    assert retry(row).state == "succeeded"


def test_a_disk_that_fills_up_on_the_way(
    server: ModelServer, big: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.IMPORT_CONNECTIONS = 1
    written = os.pwrite

    def short_of_room(descriptor: int, data: bytes, at: int) -> int:
        if at > 1_000_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return written(descriptor, data, at)

    monkeypatch.setattr(os, "pwrite", short_of_room)
    row = bring_in(url(big))
    assert_failed(row, "disk_full", "what was downloaded is kept")
    monkeypatch.setattr(os, "pwrite", written)
    before = server.bytes_sent("/big")
    assert retry(row).state == "succeeded"
    # A chunk short of the million that was there.
    assert server.bytes_sent("/big") - before < (tmp_path / "big.safetensors").stat().st_size - 900_000


def test_a_connection_lost_at_90_percent_for_a_moment(server: ModelServer, big: str, tmp_path: Path) -> None:
    server.fault("/big.safetensors", Fault(cut_at=0.9, times=2))
    row = bring_in(url(big), segment_bytes=100_000_000)
    assert row.state == "succeeded"
    size = (tmp_path / "big.safetensors").stat().st_size
    # The look, 90 percent, and the missing tenth: nothing twice.
    assert server.bytes_sent("/big") == 512 + size


def test_a_connection_lost_at_90_percent_for_good(server: ModelServer, big: str, tmp_path: Path) -> None:
    size = (tmp_path / "big.safetensors").stat().st_size
    server.fault("/big.safetensors", Fault(cut_at=0.9))
    row = bring_in(url(big), segment_bytes=100_000_000)
    assert_failed(
        row, "download_failed", "broke off at 89 %", "3.4 of 3.7 MB", "A retry continues from there"
    )
    server.fault("/big.safetensors", None)
    before = server.bytes_sent("/big")
    assert retry(row).state == "succeeded"
    assert server.bytes_sent("/big") - before == 512 + size - int(size * 0.9)
    assert trail(row) == ["submitted", "failed", "retried", "succeeded"]


def test_a_server_that_is_down_for_a_moment(server: ModelServer, repository: Path) -> None:
    server.fault("/api/models/lab/tiny-lora", Fault(status=503, times=2))
    server.fault("lab/tiny-lora/tiny.safetensors", Fault(status=502, times=2))
    assert bring_in(hub()).state == "succeeded"


def test_a_server_that_stays_down(server: ModelServer, repository: Path) -> None:
    server.fault("/api/models/lab/tiny-lora", Fault(status=503))
    row = bring_in(hub())
    assert_failed(row, "download_failed", "127.0.0.1 answered 503", "Retry later")
    assert len(server.requests) == 4
    server.fault("/api/models/lab/tiny-lora", None)
    assert retry(row).state == "succeeded"


def test_a_server_that_asks_for_patience(server: ModelServer, repository: Path) -> None:
    server.fault("/api/models/lab/tiny-lora", Fault(status=429, times=1, headers={"Retry-After": "1"}))
    started = time.monotonic()
    assert bring_in(hub()).state == "succeeded"
    assert time.monotonic() - started >= 1.0


def test_a_server_without_ranges_begins_anew(server: ModelServer, big: str, tmp_path: Path) -> None:
    size = (tmp_path / "big.safetensors").stat().st_size
    server.fault("/big.safetensors", Fault(no_ranges=True))
    assert bring_in(url(big)).state == "succeeded"
    # The look was cut off by us; one whole download followed.
    assert [request.status for request in server.asked("/big.safetensors")] == [200, 200]
    assert server.asked("/big.safetensors")[1].sent == size


def test_a_retry_at_a_server_without_ranges_begins_anew(server: ModelServer, big: str) -> None:
    server.fault("/big.safetensors", Fault(no_ranges=True, cut_at=0.5))
    row = bring_in(url(big))
    assert_failed(row, "source_changed")
    server.fault("/big.safetensors", Fault(no_ranges=True))
    assert retry(row).state == "succeeded"


def test_a_file_that_changes_between_its_ranges(server: ModelServer, big: str) -> None:
    server.fault("/big.safetensors", Fault(changes=True))
    row = bring_in(url(big))
    assert_failed(row, "source_changed", "another file each time it is asked for")
    server.fault("/big.safetensors", None)
    assert retry(row).state == "succeeded"


def test_a_file_that_changed_before_the_retry(server: ModelServer, big: str, tmp_path: Path) -> None:
    server.fault("/big.safetensors", Fault(cut_at=0.5))
    row = bring_in(url(big))
    assert_failed(row, "download_failed")
    server.fault("/big.safetensors", None)
    fresh = write_sizable_lora(tmp_path / "other.safetensors", seed=5)
    server.add_file("/big.safetensors", fresh)
    assert retry(row).state == "succeeded"
    weights = Path(CatalogEntry.objects.get().path) / "weights.safetensors"
    assert weights.read_bytes() == fresh.read_bytes()


def test_other_bytes_than_the_hub_promises(server: ModelServer, repository: Path) -> None:
    wrong = bytearray((repository / "tiny.safetensors").read_bytes())
    wrong[-1] ^= 1
    server.fault("lab/tiny-lora/tiny.safetensors", Fault(other_bytes=bytes(wrong)))
    row = bring_in(hub())
    assert_failed(row, "digest_mismatch", "tiny.safetensors has sha256", "A retry fetches it again")
    assert staged(row) == []
    server.fault("lab/tiny-lora/tiny.safetensors", None)
    assert retry(row).state == "succeeded"


def test_another_length_than_the_hub_promises(server: ModelServer, repository: Path) -> None:
    server.fault("lab/tiny-lora/tiny.safetensors", Fault(other_bytes=b"x" * 999))
    assert_failed(bring_in(hub()), "source_changed", "not as long as promised")


def test_more_is_announced_than_comes(server: ModelServer, repository: Path) -> None:
    size = (repository / "tiny.safetensors").stat().st_size
    server.fault("lab/tiny-lora/tiny.safetensors", Fault(says_length=size * 2))
    assert_failed(bring_in(hub()), "source_changed")


def test_an_answer_without_length(server: ModelServer, big: str) -> None:
    server.fault("/big.safetensors", Fault(no_length=True, no_ranges=True))
    assert bring_in(url(big)).state == "succeeded"


def test_a_compressed_answer(server: ModelServer, big: str) -> None:
    server.fault("/big.safetensors", Fault(gzip_header=True))
    assert_failed(bring_in(url(big)), "download_failed", "compresses although it was asked not to")


def test_more_than_this_server_imports(server: ModelServer, big: str, settings: Any) -> None:
    settings.IMPORT_MAX_BYTES = 1_000_000
    row = bring_in(url(big))
    assert_failed(row, "too_large", "It has 0.0 GB; this server imports up to 0.001 GB")
    assert server.bytes_sent("/big") == 512


def test_more_than_this_server_imports_from_one_who_does_not_say(
    server: ModelServer, big: str, settings: Any
) -> None:
    settings.IMPORT_MAX_BYTES = 1_000_000
    server.fault("/big.safetensors", Fault(no_length=True, no_ranges=True))
    assert_failed(bring_in(url(big)), "too_large")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"just some text " * 100, "not_weights"),
        (b'{"error": "Unauthorized"}', "not_weights"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "not_weights"),
        (b"GGUF\x03\x00\x00\x00" + bytes(64), "not_recognised"),
        ((2**40).to_bytes(8, "little") + b"{}", "weights_corrupt"),
    ],
)
def test_a_file_that_is_no_weights(server: ModelServer, content: bytes, code: str) -> None:
    assert_failed(bring_in(url(server.add_file("/model.safetensors", content))), code)


@pytest.mark.parametrize("suffix", ["safetensors", "ckpt"])
def test_a_web_page_that_was_saved_as_a_file(model_dir: Path, suffix: str) -> None:
    file = model_dir / "incoming" / f"page.{suffix}"
    file.parent.mkdir()
    file.write_bytes(b"<!DOCTYPE html><html>Sign in</html>")
    row = bring_in(ImportOptions(source=ImportSource.FOLDER, address=str(file)))
    assert_failed(row, "not_weights", f"page.{suffix} is a web page, not weights")


def test_a_web_page_in_a_folder_of_weights(model_dir: Path, tmp_path: Path) -> None:
    folder = model_dir / "incoming" / "repository"
    write_lora(folder / "tiny.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"<!DOCTYPE html><html>Sign in</html>")
    row = bring_in(ImportOptions(source=ImportSource.FOLDER, address=str(folder)))
    assert_failed(row, "not_weights", "pytorch_model.bin is a web page, not weights")


def test_a_conversion_gets_the_memory_that_is_set(
    model_dir: Path, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ImportRequest] = []

    def too_little(request: ImportRequest, **options: Any) -> None:
        asked.append(request)
        raise ImportRefused(RefusalCode.OUT_OF_MEMORY, "the conversion needed more")

    monkeypatch.setattr(conversion, "import_in_sandbox", too_little)
    settings.IMPORT_MEMORY_MB = 2048
    file = write_lora(model_dir / "incoming" / "a.safetensors")
    options = ImportOptions(source=ImportSource.FOLDER, address=str(file))
    row = bring_in(options, convert=conversion.convert_files)
    assert_failed(row, "out_of_memory", "The conversion needed more.")
    assert [request.memory_bytes for request in asked] == [2 << 30]


def test_a_pickle_with_code_in_it(server: ModelServer, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
            return os.system, (f"touch {tmp_path / 'executed'}",)

    row = bring_in(url(server.add_file("/model.ckpt", pickle.dumps({"state_dict": Payload()}))))
    assert_failed(row, "unsafe_file")
    assert not (tmp_path / "executed").exists()


@pytest.mark.django_db(transaction=True)
def test_cancel_ends_a_stalled_download_and_leaves_nothing_behind(
    server: ModelServer, big: str, settings: Any, model_dir: Path
) -> None:
    server.fault("/big.safetensors", Fault(stall_at=0.5))
    row = submit(url(big))
    ended: list[ModelImport] = []
    thread = threading.Thread(target=lambda: (ended.append(run(row)), connection.close()))
    thread.start()
    wait_until(lambda: server.bytes_sent("/big") > 1_000_000, what="half of the download")
    cancel_import(model_import=row, actor=OPERATOR, now=clock.now())
    # The server sends nothing more: an import that waited for it would take the whole read timeout.
    thread.join(READ_TIMEOUT_S / 3)
    assert not thread.is_alive()
    assert [(row.state, row.error_code) for row in ended] == [("canceled", "")]
    assert staged(row) == []
    assert not (model_dir / "staging" / str(row.pk)).exists()
    assert stored(settings) == []
    assert trail(row) == ["submitted", "cancel_requested", "canceled"]


def test_the_same_name_as_another_model(server: ModelServer, repository: Path) -> None:
    bring_in(hub(name="taken"))
    entry = CatalogEntry.objects.get()
    write_lora(repository / "tiny.safetensors", seed=3)
    server.add_repository("lab/other", repository)
    before = len(server.requests)
    with pytest.raises(Conflict, match="taken already names another model"):
        submit(hub("lab/other", name="taken"))
    assert len(server.requests) == before
    assert ModelImport.objects.count() == 1
    assert CatalogEntry.objects.get() == entry


def test_a_fault_of_ours_ends_the_import_with_a_code(server: ModelServer, repository: Path) -> None:
    def broken(path: Path) -> Any:
        raise RuntimeError("a bug")

    row = run(submit(hub()), TOOLS, inspect=broken)
    assert_failed(row, "internal_error", "its log has more")
    assert "a bug" not in row.error_message
