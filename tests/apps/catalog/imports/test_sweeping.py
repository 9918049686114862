"""What dead processes left behind is removed, and nothing else."""

from __future__ import annotations

import os
from datetime import timedelta
from pathlib import Path

import pytest

from apps.catalog.choices import ImportState
from apps.catalog.imports.secrets import find_token, keep_token
from apps.catalog.imports.sweeping import drop_unregistered, list_store, sweep_staging, sweep_store
from apps.catalog.imports.uploads import begin_upload
from apps.catalog.models import CatalogEntry, ModelImport
from apps.core import clock
from gpu_runtime.weights.store import Store
from tests.apps.catalog.imports.studio import bring_in, hub, submit
from tests.apps.catalog.imports.weights_files import write_lora
from tests.clocks import FrozenClock
from tests.harness.model_server import ModelServer

pytestmark = pytest.mark.django_db


def place(model_dir: Path, text: str) -> str:
    """A component that no entry knows; its digest."""
    folder = model_dir / "staging" / f"made-{text}"
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_text(text)
    store = Store(model_dir)
    store.prepare()
    return store.place_component(folder).digest


def test_files_of_imports_that_ended_are_removed(clock: FrozenClock, model_dir: Path) -> None:
    rows = {state: submit(hub(f"lab/{state.value}", token="x")) for state in ImportState}
    for state, row in rows.items():
        (model_dir / "staging" / str(row.pk)).mkdir(parents=True)
        if state not in (ImportState.QUEUED, ImportState.RUNNING):
            ModelImport.objects.filter(pk=row.pk).update(state=state, finished_at=clock.now())
    (model_dir / "staging" / "999999").mkdir()
    keep_token(999999, "of nobody")
    sweep_staging(now=clock.now())
    kept = {rows[state].pk for state in (ImportState.QUEUED, ImportState.RUNNING, ImportState.FAILED)}
    assert {int(path.name) for path in (model_dir / "staging").iterdir()} == kept
    assert [find_token(rows[state].pk) != "" for state in ImportState] == [True, True, False, False, False]
    assert find_token(999999) == ""
    clock.advance(days=7, seconds=1)
    sweep_staging(now=clock.now())
    assert not (model_dir / "staging" / str(rows[ImportState.FAILED].pk)).exists()


def test_uploads_that_nobody_takes_are_removed_after_a_day(model_dir: Path) -> None:
    upload = begin_upload(name="a.bin", size_bytes=4, account_id=None)
    now = clock.now()
    assert sweep_staging(now=now + timedelta(hours=23)) == 0
    assert sweep_staging(now=now + timedelta(hours=25)) == 1
    assert not upload.file.parent.exists()


def test_what_the_store_did_not_finish_deleting_is_removed(model_dir: Path) -> None:
    half = model_dir / "staging" / ".removed-0123"
    half.mkdir(parents=True)
    assert sweep_staging(now=clock.now()) == 0
    assert sweep_staging(now=clock.now() + timedelta(days=1, minutes=1)) == 1
    assert not half.exists()


def test_weights_without_an_entry_are_removed_after_their_grace(
    server: ModelServer, tmp_path: Path, model_dir: Path
) -> None:
    write_lora(tmp_path / "repository" / "a.safetensors")
    server.add_repository("lab/tiny-lora", tmp_path / "repository")
    bring_in(hub())
    entry = CatalogEntry.objects.get()
    stray = place(model_dir, "stray")
    now = clock.now()
    assert sweep_store(now=now) == 0
    for path in (model_dir / "components").iterdir():
        os.utime(path, ((now - timedelta(days=2)).timestamp(),) * 2)
    assert sweep_store(now=now) == 1
    assert Store(model_dir).list_components() == [entry.digest]
    assert stray != entry.digest


def test_a_stopped_conversion_leaves_only_what_others_use(clock: FrozenClock, model_dir: Path) -> None:
    old = place(model_dir, "old")
    before = list_store()
    new = place(model_dir, "new")
    row = submit(hub())
    ModelImport.objects.filter(pk=row.pk).update(
        state=ImportState.RUNNING, claimed_by="x", lease_expires_at=clock.now()
    )
    # It may be the other import's work.
    assert drop_unregistered(before) == 0
    ModelImport.objects.all().delete()
    assert drop_unregistered(before) == 1
    assert Store(model_dir).list_components() == [old]
    assert new != old
