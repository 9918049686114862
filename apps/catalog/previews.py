"""Pictures that show what a model makes: checked, shrunk, stored once by what they hold, served to everybody.

A preview's address is the hash of its bytes, so that browsers may keep it for ever; nobody can guess one.
"""

from __future__ import annotations

import os
import re
import tempfile
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, TypedDict

from django.conf import settings
from django.db import transaction

from apps.audit import services as audit
from apps.audit.refs import Ref
from apps.catalog.errors import PreviewUnusable
from apps.catalog.files import remove_unused_preview, take_store_lock
from apps.catalog.models import CatalogEntry
from apps.catalog.services import lock_live_entry
from apps.core.errors import NotFound

MAX_BYTES: Final = 20_000_000
MAX_PREVIEWS: Final = 12
# What every other file is refused by, before a decoder is chosen.
MAGIC: Final = re.compile(rb"\x89PNG\r\n\x1a\n|\xff\xd8\xff|RIFF....WEBP", re.DOTALL)
MEDIA_TYPE: Final = "image/webp"
FILE_NAME: Final = re.compile(r"[0-9a-f]{64}\.webp")


class Preview(TypedDict):
    """One preview as the row holds it."""

    file: str
    media_type: str
    width: int
    height: int


def preview_url(preview: Preview) -> str:
    """Absolute address; needs no key, since an <img> tag sends none."""
    return f"{settings.BASE_URL}/previews/{preview['file']}"


def preview_path(file: str) -> Path:
    """The stored file. Raises NotFound for a name that is not one of ours."""
    path = Path(settings.MODEL_DIR) / "previews" / file
    if not FILE_NAME.fullmatch(file) or not path.is_file():
        raise NotFound(what="Preview", id=file[:80])
    return path


def add_preview(*, entry: CatalogEntry, data: bytes, actor: Ref, now: datetime) -> CatalogEntry:
    """Put an uploaded picture last among an entry's previews; the same one again changes nothing.

    Raises PreviewUnusable, Conflict for a deleted entry.
    """
    shrunk, (width, height) = _shrunk(data)
    file = f"{sha256(shrunk).hexdigest()}.webp"
    preview = Preview(file=file, media_type=MEDIA_TYPE, width=width, height=height)
    with transaction.atomic(durable=True):
        # Nobody removes the file between its writing and the row that refers to it.
        take_store_lock()
        current = lock_live_entry(entry)
        if any(known["file"] == file for known in current.previews):
            return current
        if len(current.previews) >= MAX_PREVIEWS:
            raise PreviewUnusable(problem=f"is one too many: a model has at most {MAX_PREVIEWS}")
        _store(file, shrunk)
        current.previews, current.updated_at = [*current.previews, preview], now
        _save(current, "catalog.entry.preview_added", file, actor=actor, now=now)
    return current


def remove_preview(*, entry: CatalogEntry, file: str, actor: Ref, now: datetime) -> CatalogEntry:
    """Take a picture away from an entry. Raises NotFound when the entry has no such preview."""
    with transaction.atomic(durable=True):
        take_store_lock()
        current = lock_live_entry(entry)
        kept = [preview for preview in current.previews if preview["file"] != file]
        if len(kept) == len(current.previews):
            raise NotFound(what="Preview", id=file[:80])
        current.previews, current.updated_at = kept, now
        _save(current, "catalog.entry.preview_removed", file, actor=actor, now=now)
    with transaction.atomic(durable=True):
        take_store_lock()
        remove_unused_preview(file)
    return current


def _save(entry: CatalogEntry, name: str, file: str, *, actor: Ref, now: datetime) -> None:
    entry.save(update_fields=["previews", "updated_at"])
    audit.record(
        name, actor=actor, subject=entry.ref, account_id=entry.owner_id, data={"file": file}, now=now
    )


def _shrunk(data: bytes) -> tuple[bytes, tuple[int, int]]:
    """The WebP file to store, and its width and height. Raises PreviewUnusable."""
    if len(data) > MAX_BYTES:
        raise PreviewUnusable(problem=f"is larger than {MAX_BYTES // 1_000_000} MB")
    if not MAGIC.match(data):
        raise PreviewUnusable(problem="must be a PNG, JPEG or WebP image")
    # Here and not above: web processes start without the imaging library, and few ever get a preview.
    from apps.catalog.preview_images import shrink

    return shrink(data)


def _store(file: str, data: bytes) -> None:
    """Whole or not at all, and on the disk before a row says so."""
    folder = Path(settings.MODEL_DIR) / "previews"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file
    if path.is_file():
        return
    descriptor, temporary = tempfile.mkstemp(prefix=".writing-", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
