from __future__ import annotations

import hashlib
import os
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from apps.artifacts import store

GROUP = UUID("abcdef00-1111-4222-8333-444444444444")


def test_an_image_lies_in_its_shard(artifact_dir: Path) -> None:
    stored = store.write_image(group=GROUP, index=3, extension="png", data=b"pixels")
    digest = hashlib.sha256(b"pixels").hexdigest()
    assert stored.path == artifact_dir / "ab" / f"{GROUP}-3.{digest[:16]}.png"
    assert stored.path.read_bytes() == b"pixels"
    assert (stored.sha256, stored.size_bytes) == (digest, 6)
    assert list(store.list_files()) == [stored.path]


def test_a_late_worker_cannot_change_what_was_delivered(artifact_dir: Path) -> None:
    delivered = store.write_image(group=GROUP, index=0, extension="png", data=b"first")
    late = store.write_image(group=GROUP, index=0, extension="png", data=b"second")
    assert (delivered.path.read_bytes(), late.path.read_bytes()) == (b"first", b"second")


def test_writing_the_same_image_again_changes_nothing(artifact_dir: Path) -> None:
    first = store.write_image(group=GROUP, index=0, extension="png", data=b"same")
    assert store.write_image(group=GROUP, index=0, extension="png", data=b"same") == first
    assert list(store.list_files()) == [first.path]


def test_file_and_folders_are_synced_before_it_returns(
    artifact_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    real = os.fsync

    def note(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    store.write_image(group=GROUP, index=0, extension="png", data=b"x")
    # The new folder, then the file under its temporary name, then the folder that now holds its real one.
    assert synced[0] == "artifacts"
    assert synced[1].startswith(".writing-")
    assert synced[2:] == ["ab"]


def test_a_failed_write_leaves_nothing(artifact_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    (artifact_dir / "ab").mkdir()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        store.write_image(group=GROUP, index=0, extension="png", data=b"x")
    assert list(store.list_files()) == []


@pytest.mark.parametrize("extension", ["exe", "base64", "../png", "PNG", ""])
def test_only_image_types_are_stored(artifact_dir: Path, extension: str) -> None:
    with pytest.raises(ValueError, match="unknown extension"):
        store.write_image(group=GROUP, index=0, extension=extension, data=b"x")


def test_discarding_a_group_leaves_the_others(artifact_dir: Path) -> None:
    other = uuid4()
    kept = store.write_image(group=other, index=0, extension="png", data=b"x")
    for index in range(3):
        store.write_image(group=GROUP, index=index, extension="png", data=b"x")
    assert store.discard_group(GROUP) == 3
    assert store.discard_group(GROUP) == 0
    assert list(store.list_files()) == [kept.path]
