"""The store: whole folders or none, one folder for equal content, and nothing outside of it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.store import Store, digest_folder, digest_manifest

GRACE_S = 3600.0


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path / "models")
    store.prepare()
    return store


def made(store: Store, files: dict[str, str], name: str = "made") -> Path:
    folder = store.staging / name
    for file, text in files.items():
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_text(text)
    return folder


def component(store: Store, text: str) -> str:
    return store.place_component(made(store, {"config.json": text})).digest


def checkpoint(store: Store, **components: str) -> str:
    folder = store.staging / "checkpoint"
    folder.mkdir()
    manifest = {"version": 1, "family": "sd15", "variant": "base", "components": components, "source": {}}
    (folder / "darkroom.json").write_text(json.dumps(manifest))
    (folder / "model_index.json").write_text(json.dumps({"_class_name": "P"}))
    for name, digest in components.items():
        (folder / name).symlink_to(f"../../components/{digest}")
    return store.place_checkpoint(folder).digest


def age(store: Store, digest: str, seconds: float) -> float:
    """Make a component older; returns the time that is now for it."""
    now = 1_700_000_000.0
    os.utime(store.component(digest), (now - seconds, now - seconds))
    return now


def test_digest_is_over_sorted_names_and_contents(store: Store) -> None:
    folder = made(store, {"b.json": "2", "a/z": "1", "a.json": "3"})

    def sha256(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()

    expected = sha256(f"a/z\0{sha256('1')}\na.json\0{sha256('3')}\nb.json\0{sha256('2')}\n")
    assert digest_folder(folder).digest == expected
    assert digest_folder(folder).size_bytes == 3


def test_component_is_placed_under_its_digest(store: Store) -> None:
    folder = made(store, {"config.json": "{}", "inner/weights": "12345"})
    digest = digest_folder(folder).digest

    placed = store.place_component(folder)

    assert (placed.digest, placed.size_bytes, placed.is_new) == (digest, 7, True)
    assert placed.path == store.components / digest
    assert (placed.path / "inner" / "weights").read_text() == "12345"
    assert not folder.exists()
    assert store.list_components() == [digest]


def test_equal_component_is_not_placed_twice(store: Store) -> None:
    first = store.place_component(made(store, {"config.json": "{}"}))
    inode = (first.path / "config.json").stat().st_ino

    second = store.place_component(made(store, {"config.json": "{}"}))

    assert (second.path, second.is_new) == (first.path, False)
    assert (second.path / "config.json").stat().st_ino == inode
    assert list(store.staging.iterdir()) == []


def test_damaged_component_is_not_taken_for_the_new_one(store: Store) -> None:
    placed = store.place_component(made(store, {"config.json": "{}"}))
    (placed.path / "config.json").write_text("{ ")

    with pytest.raises(WeightsCorrupt, match=f"component {placed.digest} has other content"):
        store.place_component(made(store, {"config.json": "{}"}))


@pytest.mark.parametrize("number", [errno.ENOTEMPTY, errno.EACCES], ids=["outside", "within the sandbox"])
def test_equal_component_that_another_import_placed_in_between_is_taken(
    store: Store, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """To rename over a folder needs the right to remove it, which imports in their sandbox do not have."""
    folder = made(store, {"config.json": "{}"})

    def late(path: Path, target: Path) -> Path:
        shutil.copytree(path, target)
        raise OSError(number, "cannot be renamed over", str(path))

    monkeypatch.setattr(Path, "rename", late)
    placed = store.place_component(folder)

    assert not placed.is_new
    assert store.list_components() == [placed.digest]
    assert list(store.staging.iterdir()) == []


def test_component_that_cannot_be_placed_is_an_error(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(path: Path, target: Path) -> Path:
        raise PermissionError(errno.EACCES, "not yours", str(path))

    monkeypatch.setattr(Path, "rename", refused)

    with pytest.raises(PermissionError):
        store.place_component(made(store, {"config.json": "{}"}))


@pytest.mark.parametrize("target", ["/etc", "../../outside"])
def test_component_with_a_link_is_refused(store: Store, target: str) -> None:
    folder = made(store, {"config.json": "{}"})
    (folder / "link").symlink_to(target)

    with pytest.raises(WeightsCorrupt, match="neither a file nor a folder"):
        store.place_component(folder)
    assert store.list_components() == []


def test_empty_component_is_refused(store: Store) -> None:
    folder = store.staging / "empty"
    folder.mkdir()

    with pytest.raises(WeightsCorrupt, match="is empty"):
        store.place_component(folder)


def test_checkpoint_links_to_its_components(store: Store) -> None:
    unet, vae = component(store, "unet"), component(store, "vae")

    digest = checkpoint(store, unet=unet, vae=vae)

    folder = store.checkpoint(digest)
    assert (folder / "unet").resolve() == store.component(unet)
    assert str((folder / "unet").readlink()) == f"../../components/{unet}"
    assert store.components_of(digest) == {"unet": unet, "vae": vae}
    assert store.verify(digest) == []


def test_checkpoint_is_named_by_what_it_is_made_of(store: Store) -> None:
    unet = component(store, "unet")
    digest = checkpoint(store, unet=unet)

    manifest = {"family": "sd15", "variant": "base", "components": {"unet": unet}, "source": {"title": "x"}}
    assert digest == digest_manifest(manifest, {"_class_name": "P"})
    assert digest != digest_manifest(manifest | {"variant": "inpaint"}, {"_class_name": "P"})
    assert digest != digest_manifest(manifest, {"_class_name": "Q"})
    assert checkpoint(store, unet=unet) == digest
    assert store.list_checkpoints() == [digest]


@pytest.mark.parametrize("target", ["/etc", "../../../etc", "../../components/short", "../other"])
def test_checkpoint_that_links_elsewhere_is_refused(store: Store, target: str) -> None:
    folder = store.staging / "checkpoint"
    folder.mkdir()
    manifest = {"family": "f", "variant": "", "components": {"unet": "0" * 64}}
    (folder / "darkroom.json").write_text(json.dumps(manifest))
    (folder / "model_index.json").write_text("{}")
    (folder / "unet").symlink_to(target)

    with pytest.raises(WeightsCorrupt, match="no link to a component"):
        store.place_checkpoint(folder)
    assert store.list_checkpoints() == []


def test_checkpoint_of_a_missing_component_is_refused(store: Store) -> None:
    with pytest.raises(WeightsCorrupt, match="some not there"):
        checkpoint(store, unet="0" * 64)
    assert store.list_checkpoints() == []


def test_link_that_was_bent_later_is_not_followed(store: Store) -> None:
    digest = checkpoint(store, unet=component(store, "unet"))
    link = store.checkpoint(digest) / "unet"
    link.unlink()
    link.symlink_to("/etc")

    assert store.verify(digest) == [f"{link} is no link to a component"]
    with pytest.raises(WeightsCorrupt):
        store.users_of("0" * 64)


def test_users_are_the_checkpoints_that_link(store: Store) -> None:
    unet, other, vae = component(store, "unet"), component(store, "other"), component(store, "vae")
    first, second = checkpoint(store, unet=unet, vae=vae), checkpoint(store, unet=other, vae=vae)

    assert store.users_of(vae) == sorted([first, second])
    assert store.users_of(unet) == [first]


def test_removing_a_checkpoint_leaves_components(store: Store) -> None:
    unet = component(store, "unet")
    digest = checkpoint(store, unet=unet)

    assert store.remove_checkpoint(digest) is True
    assert store.remove_checkpoint(digest) is False
    assert store.list_checkpoints() == []
    assert store.list_components() == [unet]
    assert list(store.staging.iterdir()) == []


def test_component_in_use_is_not_removed(store: Store) -> None:
    unet = component(store, "unet")
    digest = checkpoint(store, unet=unet)

    assert store.remove_component(unet) is False
    store.remove_checkpoint(digest)
    assert store.remove_component(unet) is True
    assert store.list_components() == []


def test_sweep_removes_what_nobody_refers_to(store: Store) -> None:
    used, kept, unused = component(store, "used"), component(store, "kept"), component(store, "unused")
    checkpoint(store, unet=used)
    for digest in (used, kept, unused):
        now = age(store, digest, 2 * GRACE_S)

    assert store.sweep(keep={kept}, now=now, grace_s=GRACE_S) == [unused]
    assert store.list_components() == sorted([used, kept])


def test_sweep_leaves_what_was_placed_lately(store: Store) -> None:
    digest = component(store, "new")
    now = age(store, digest, GRACE_S - 1)

    assert store.sweep(keep=(), now=now, grace_s=GRACE_S) == []
    assert store.sweep(keep=(), now=now + 2, grace_s=GRACE_S) == [digest]


def test_placing_again_begins_the_grace_period_anew(store: Store) -> None:
    digest = component(store, "again")
    age(store, digest, 2 * GRACE_S)
    old = store.component(digest).stat().st_mtime

    component(store, "again")

    assert store.component(digest).stat().st_mtime > old


def test_totals_count_shared_components_once(store: Store) -> None:
    unet, other, vae = component(store, "unet"), component(store, "other"), component(store, "vae")
    checkpoint(store, unet=unet, vae=vae)
    checkpoint(store, unet=other, vae=vae)

    totals = store.totals()

    assert (totals.components, totals.checkpoints, totals.size_bytes) == (3, 2, 12)


def test_verify_names_what_changed(store: Store) -> None:
    vae = component(store, "vae")
    digest = checkpoint(store, vae=vae)
    (store.component(vae) / "config.json").write_text("bad")

    (problem,) = store.verify(digest)

    assert problem.startswith(f"component {vae} has other content: ")


def test_verify_of_a_component_with_a_link_names_it(store: Store) -> None:
    digest = component(store, "x")
    (store.component(digest) / "link").symlink_to("/etc/passwd")

    assert store.verify(digest) == [f"{store.component(digest) / 'link'} is neither a file nor a folder"]


def test_verify_of_an_unknown_digest_says_so(store: Store) -> None:
    assert store.verify("0" * 64) == [f"{'0' * 64} is not in the store"]


@pytest.mark.parametrize("name", ["..", "../x", "", "A" * 64, "0" * 63])
def test_what_is_no_digest_is_no_path(store: Store, name: str) -> None:
    with pytest.raises(ValueError, match="is no sha256"):
        store.component(name)
    with pytest.raises(ValueError, match="is no sha256"):
        store.remove_checkpoint(name)


def test_entries_with_other_names_are_ignored(store: Store) -> None:
    (store.components / "notes.txt").write_text("hello")
    (store.components / ("0" * 64)).symlink_to("/etc")

    assert store.list_components() == []
    assert store.totals().size_bytes == 0
