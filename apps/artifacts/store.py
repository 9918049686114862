"""Image files on disk. Knows nothing of rows: what a file means, and how long it lives, is decided elsewhere.

A file appears under its name whole or not at all, and has survived a power cut once `write_image` returns.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from uuid import UUID

from django.conf import settings

from apps.artifacts.media import MEDIA_TYPES

TEMPORARY_PREFIX = ".writing-"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """A file that is safely on disk."""

    path: Path
    sha256: str
    size_bytes: int


def image_path(*, group: UUID, index: int, digest: str, extension: str) -> Path:
    """Where an image lies: one of 256 folders, so that each stays small for a day of images.

    Not two levels: every new folder costs the image that needs it three more waits for the disk, and
    65,536 of them are never all made.

    The digest is part of the name, so that a worker that lost its lease and writes late can never
    change a file that another attempt has already delivered.
    """
    if extension not in MEDIA_TYPES:
        raise ValueError(f"unknown extension {extension!r}")
    return _folder(group) / f"{group}-{index:d}.{digest[:16]}.{extension}"


def _folder(group: UUID) -> Path:
    root: Path = settings.ARTIFACT_DIR
    return root / group.hex[:2]


def write_image(*, group: UUID, index: int, extension: str, data: bytes) -> StoredFile:
    """Store one image beside those of earlier attempts. Raises OSError when the disk does not take it."""
    digest = sha256(data).hexdigest()
    path = image_path(group=group, index=index, digest=digest, extension=extension)
    _make_folder(path.parent)
    # In the same folder, since a rename is atomic within one file system only.
    descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)
    return StoredFile(path=path, sha256=digest, size_bytes=len(data))


def _make_folder(folder: Path) -> None:
    """Create a folder so that its name survives a power cut too."""
    if folder.is_dir():
        return
    folder.mkdir(parents=True, exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def discard_group(group: UUID) -> int:
    """Delete every file of a job that will not be delivered; returns how many there were."""
    count = 0
    for path in _folder(group).glob(f"{group}-*"):
        path.unlink(missing_ok=True)
        count += 1
    return count


def delete_files(paths: Iterable[Path]) -> None:
    """Delete files, present or not, so that a power cut does not bring them back. Raises OSError."""
    folders = set()
    for path in paths:
        path.unlink(missing_ok=True)
        folders.add(path.parent)
    for folder in folders:
        if folder.is_dir():
            _sync_folder(folder)


def list_files() -> Iterator[Path]:
    """Every file of the store, half-written ones included, in no particular order."""
    root: Path = settings.ARTIFACT_DIR
    return (path for path in root.glob("*/*") if path.is_file())


def group_of(path: Path) -> UUID | None:
    """The group that a file's name begins with; None for a half-written or foreign file."""
    try:
        return UUID(path.name[:36])
    except ValueError:
        return None
