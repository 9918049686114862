"""The watched folder: files are taken when they have stopped growing, and refusals lie beside them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from apps.catalog.choices import ImportSource
from apps.catalog.imports.options import ImportOptions
from apps.catalog.imports.services import retry_import
from apps.catalog.imports.tasks import watch
from apps.catalog.models import CatalogEntry, ModelImport
from apps.core import clock
from tests.apps.catalog.imports.studio import OPERATOR, run, submit, trail
from tests.apps.catalog.imports.weights_files import write_lora
from tests.factories import make_checkpoint

pytestmark = pytest.mark.django_db


@pytest.fixture
def incoming(model_dir: Path) -> Path:
    (model_dir / "incoming").mkdir()
    return model_dir / "incoming"


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_folder_is_made_when_it_is_missing(model_dir: Path) -> None:
    assert watch() == 0
    assert (model_dir / "incoming").is_dir()


def test_a_file_that_has_settled_is_imported_and_removed(incoming: Path) -> None:
    write_lora(incoming / "My Style.safetensors")
    assert watch() == 0
    assert not ModelImport.objects.exists()
    assert watch() == 1
    row = ModelImport.objects.get()
    assert (row.requested_name, row.requested_by, row.account) == ("my-style", "watched folder", None)
    # Neither is it taken again while it waits.
    assert watch() == 0
    assert watch() == 0
    assert run(row).state == "succeeded"
    assert names(incoming) == []
    assert CatalogEntry.objects.get().name == "my-style"
    assert watch() == 0


def test_a_file_that_still_grows_is_left_alone(incoming: Path) -> None:
    file = incoming / "big.safetensors"
    for size in (10, 20, 30):
        file.write_bytes(b"x" * size)
        assert watch() == 0
    # The same length, but written again.
    os.utime(file, ns=(1, 1))
    assert watch() == 0
    assert watch() == 1


@pytest.mark.parametrize(
    "name",
    [".hidden.safetensors", "a.safetensors.part", "a.crdownload", "notes.txt", "a.ckpt.refused", "a.png"],
)
def test_what_is_no_model_or_not_ready_is_left_alone(incoming: Path, name: str) -> None:
    (incoming / name).write_bytes(b"x")
    assert watch() == 0
    assert watch() == 0
    assert names(incoming) == [name]


def test_a_link_is_not_followed(incoming: Path, tmp_path: Path) -> None:
    (incoming / "a.safetensors").symlink_to(write_lora(tmp_path / "outside.safetensors"))
    watch()
    assert watch() == 0


def test_a_folder_counts_as_one_model(incoming: Path) -> None:
    write_lora(incoming / "my-model" / "tiny.safetensors")
    (incoming / "my-model" / "more.part").write_bytes(b"x")
    watch()
    assert watch() == 0
    (incoming / "my-model" / "more.part").unlink()
    watch()
    assert watch() == 1
    assert ModelImport.objects.get().requested_name == "my-model"


def test_a_broken_file_is_set_aside_with_the_reason(incoming: Path) -> None:
    (incoming / "broken.safetensors").write_bytes(b"this is no model" * 100)
    watch()
    watch()
    row = ModelImport.objects.get()
    assert run(row).state == "failed"
    assert names(incoming) == ["broken.safetensors.refused", "broken.safetensors.refused.txt"]
    row.refresh_from_db()
    assert (incoming / "broken.safetensors.refused.txt").read_text() == row.error_message + "\n"
    watch()
    assert watch() == 0


def test_what_was_set_aside_before_keeps_its_name(incoming: Path) -> None:
    file = incoming / "broken.safetensors.refused"
    file.write_bytes(b"this is no model" * 100)
    options = ImportOptions(source=ImportSource.FOLDER, address=str(file), is_watched=True)
    row = run(submit(options))
    assert row.state == "failed"
    assert names(incoming) == ["broken.safetensors.refused", "broken.safetensors.refused.txt"]
    assert (incoming / "broken.safetensors.refused.txt").read_text() == row.error_message + "\n"
    assert run(retry_import(model_import=row, actor=OPERATOR, now=clock.now())).state == "failed"
    assert names(incoming) == ["broken.safetensors.refused", "broken.safetensors.refused.txt"]


def test_a_folder_that_is_refused_again_replaces_the_former_one(incoming: Path) -> None:
    for page in ("first", "second"):
        (incoming / "model").mkdir()
        (incoming / "model" / "a.safetensors").write_text(page)
        watch()
        watch()
        assert run(ModelImport.objects.latest("pk")).state == "failed"
    assert names(incoming) == ["model.refused", "model.refused.txt"]
    assert (incoming / "model.refused" / "a.safetensors").read_text() == "second"


def test_a_name_that_is_taken_is_set_aside_at_once(incoming: Path) -> None:
    make_checkpoint("other", aliases=["style"])
    write_lora(incoming / "style.safetensors")
    watch()
    assert watch() == 0
    assert not ModelImport.objects.exists()
    assert names(incoming) == ["style.safetensors.refused", "style.safetensors.refused.txt"]
    assert "style already names another model" in (incoming / "style.safetensors.refused.txt").read_text()


def test_a_retry_takes_back_what_was_set_aside(incoming: Path) -> None:
    (incoming / "a.safetensors").write_bytes(b"this is no model" * 100)
    watch()
    watch()
    row = run(ModelImport.objects.get())
    write_lora(incoming / "a.safetensors.refused")
    again = retry_import(model_import=row, actor=OPERATOR, now=clock.now())
    assert names(incoming) == ["a.safetensors"]
    assert run(again).state == "succeeded"
    assert names(incoming) == []
    assert trail(row) == ["submitted", "failed", "retried", "succeeded"]


def test_a_file_that_is_in_the_catalogue_already_is_removed(incoming: Path) -> None:
    for _ in range(2):
        write_lora(incoming / "a.safetensors")
        watch()
        watch()
        assert run(ModelImport.objects.latest("pk")).state == "succeeded"
    assert names(incoming) == []
    assert CatalogEntry.objects.count() == 1
