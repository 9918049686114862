"""The whole chain with the real conversion in its sandbox: tiny models in the real layouts, over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psutil
import pytest

from apps.catalog.choices import ImportPhase, ImportSource
from apps.catalog.imports.lifecycle import Snapshot
from apps.catalog.imports.options import ImportOptions
from apps.catalog.imports.runner import Tools, run_import
from apps.catalog.imports.services import cancel_import
from apps.catalog.models import CatalogEntry
from apps.core import clock
from gpu_runtime.tiny.original_layout import write_single_file
from gpu_runtime.tiny.pipelines import make_tiny
from tests.apps.catalog.imports.studio import (
    OPERATOR,
    WORKER,
    bring_in,
    hub,
    run,
    staged,
    submit,
    url,
)
from tests.harness.model_server import ModelServer

pytestmark = [pytest.mark.django_db, pytest.mark.slow]

REAL = Tools(backoff_s=(0.01,))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`sd15/` in diffusers layout and `sd15.safetensors` as a single file of the same weights."""
    folder = tmp_path_factory.mktemp("tiny")
    write_single_file("sd15", make_tiny("sd15", folder / "sd15"), folder / "sd15.safetensors")
    return folder


def test_a_diffusers_repository_and_a_single_file_share_their_components(
    server: ModelServer, tiny: Path, model_dir: Path
) -> None:
    server.add_repository("lab/tiny-sd", tiny / "sd15", card={"license": "mit"})
    row = bring_in(hub("lab/tiny-sd"), convert=REAL.convert)
    assert (row.state, row.error_message) == ("succeeded", "")
    entry = CatalogEntry.objects.get(name="tiny-sd")
    assert (entry.kind, entry.family, entry.licence) == ("checkpoint", "sd15", "mit")
    assert Path(entry.path) == (model_dir / "checkpoints" / entry.digest).resolve()
    assert entry.defaults["steps"] > 0
    assert row.identified["kind"] == "checkpoint"
    assert staged(row) == []

    address = server.add_download(1, tiny / "sd15.safetensors", name="Tiny SD.safetensors")
    single = bring_in(url(address, name="tiny-single"), convert=REAL.convert)
    assert (single.state, single.error_message) == ("succeeded", "")
    other = CatalogEntry.objects.get(name="tiny-single")
    shared = {part["digest"] for part in entry.components} & {part["digest"] for part in other.components}
    assert len(shared) >= 2


def test_a_truncated_checkpoint_is_refused_and_leaves_nothing(
    server: ModelServer, tiny: Path, settings: Any, model_dir: Path
) -> None:
    data = (tiny / "sd15.safetensors").read_bytes()
    row = submit(url(server.add_file("/cut.safetensors", data[: len(data) // 2])))
    ended = run(row, REAL)
    assert (ended.state, ended.error_code) == ("failed", "weights_corrupt")
    assert CatalogEntry.objects.count() == 0
    assert list((model_dir).glob("c*/*")) == []


def is_importer(process: psutil.Process) -> bool:
    try:
        return "gpu_runtime.weights.import_child" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def test_a_cancel_in_the_middle_of_the_conversion_leaves_nothing(
    tiny: Path, model_dir: Path, settings: Any
) -> None:
    address = str(tiny / "sd15.safetensors")
    row = submit(ImportOptions(source=ImportSource.FOLDER, address=address, is_anywhere=True))
    asked: list[str] = []

    def cancel(snapshot: Snapshot) -> None:
        if snapshot.phase == ImportPhase.CONVERTING and children() and not asked:
            asked.append(snapshot.phase)
            cancel_import(model_import=row, actor=OPERATOR, now=clock.now())

    def children() -> list[psutil.Process]:
        # Others are of the appliance that tests of this process share.
        family = psutil.Process().children(recursive=True)
        return [child for child in family if child.status() != "zombie" and is_importer(child)]

    ended = run_import(import_id=row.pk, worker=WORKER, on_beat=cancel)
    assert ended is not None
    assert ended.state == "canceled"
    assert children() == []
    assert staged(row) == []
    assert list(model_dir.glob("c*/*")) == []
    assert Path(address).exists()
