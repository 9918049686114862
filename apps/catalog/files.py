"""Files of entries: what they hash to, and which of them nobody needs any more.

Layout below `settings.MODEL_DIR`: `components/<digest>` and `checkpoints/<digest>`, whose folders are
symlinks into `components`; `previews/<digest>.webp`. Nothing outside these is ever removed.
"""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import transaction
from django.db.models import Q

from apps.catalog.models import CatalogEntry
from apps.core.db import require_transaction, take_transaction_lock
from apps.core.errors import InvalidField

STORE_LOCK: Final = "catalog.store"


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderDigest:
    """What the files of a checkpoint amount to."""

    digest: str
    size_bytes: int


def digest_folder(path: Path) -> FolderDigest:
    """sha256 over sorted relative names and file hashes, so that it is the same wherever the folder lies.

    Raises InvalidField when there is no such folder or it is empty.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else []
    if not files:
        raise InvalidField(field="path", problem=f"must be a folder with weights, not {path}")
    whole = hashlib.sha256()
    size_bytes = 0
    for file in files:
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        whole.update(f"{file.relative_to(path).as_posix()}\0{content}\n".encode())
        size_bytes += file.stat().st_size
    return FolderDigest(digest=whole.hexdigest(), size_bytes=size_bytes)


def take_store_lock() -> None:
    """Part: nobody registers an entry or removes files until this transaction ends."""
    require_transaction()
    take_transaction_lock(STORE_LOCK)


def remove_unused_files(entry: CatalogEntry) -> None:
    """Delete what a deleted entry alone referred to: its folder, its components, its previews.

    Waits for registrations under way, so that an import that found a component in the store keeps it.
    """
    with transaction.atomic(durable=True):
        take_store_lock()
        if not is_used(entry.digest):
            _remove_folder(Path(entry.path))
        for component in entry.components:
            digest = component.get("digest")
            if digest and not is_used(digest):
                _remove_folder(Path(settings.MODEL_DIR) / "components" / digest)
        for preview in entry.previews:
            remove_unused_preview(preview["file"])


def is_used(digest: str) -> bool:
    """Whether a live entry is made of these files, or has them as a component."""
    users = Q(components__contains=[{"digest": digest}]) | Q(digest=digest)
    return CatalogEntry.objects.live().filter(users).exists()


def _remove_folder(folder: Path) -> None:
    """Only what lies where imports put it: a folder that an operator registered in place is theirs."""
    store = Path(settings.MODEL_DIR)
    if folder.parent in (store / "checkpoints", store / "components") and folder.is_dir():
        shutil.rmtree(folder)


def remove_unused_preview(file: str) -> None:
    """Part: delete a preview's file unless a live entry shows it."""
    require_transaction()
    if not CatalogEntry.objects.live().filter(previews__contains=[{"file": file}]).exists():
        (Path(settings.MODEL_DIR) / "previews" / Path(file).name).unlink(missing_ok=True)
