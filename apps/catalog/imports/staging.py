"""Where files in flight lie, and whether there is room for them.

`MODEL_DIR/staging/<import id>/files` holds what is downloaded or moved in, `.../work` belongs to the
conversion. `MODEL_DIR/staging/uploads/<id>` holds what a client sends before its import exists.
"""

from __future__ import annotations

import shutil
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from django.conf import settings

from apps.catalog.imports.failures import ImportFailure

# Left free for everything else that writes to the same disk.
MARGIN_BYTES: Final = 1_000_000_000
GB: Final = 1_000_000_000
CLEAR_TRIES: Final = 3


def staging_dir(import_id: int) -> Path:
    """All files of one import."""
    return staging_root() / str(import_id)


def staging_root() -> Path:
    return Path(settings.MODEL_DIR) / "staging"


def files_dir(import_id: int) -> Path:
    """What was downloaded or moved in."""
    return staging_dir(import_id) / "files"


def work_dir(import_id: int) -> Path:
    """The conversion's own folder."""
    return staging_dir(import_id) / "work"


def uploads_dir() -> Path:
    """Uploads that no import has taken yet."""
    return staging_root() / "uploads"


def clear_staging(import_id: int) -> None:
    """Remove every file of the import."""
    folder = staging_dir(import_id)
    for _ in range(CLEAR_TRIES):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        # A thread that is just stopping wrote something in between; the sweep takes what it leaves later.
        time.sleep(0.05)


def require_space(*, download_bytes: int, store_bytes: int) -> None:
    """Raises ImportFailure `disk_full` unless the download, its copy in the store and a margin fit."""
    root = Path(settings.MODEL_DIR)
    root.mkdir(parents=True, exist_ok=True)
    needed = download_bytes + store_bytes + MARGIN_BYTES
    free = shutil.disk_usage(root).free
    if free < needed:
        raise disk_full(needed=needed, free=free)


def disk_full(*, needed: int | None = None, free: int | None = None) -> ImportFailure:
    """The refusal, with what is known of it."""
    if free is None:
        free = shutil.disk_usage(settings.MODEL_DIR).free
    amount = f"{needed / GB:.1f} GB are needed, " if needed else ""
    return ImportFailure(
        "disk_full",
        f"The disk of the model folder is full: {amount}{free / GB:.1f} GB are free."
        " Make room, then retry: what was downloaded is kept.",
    )


def list_staged() -> list[int]:
    """Imports that have files in flight."""
    root = staging_root()
    return sorted(int(path.name) for path in root.iterdir() if path.name.isdigit()) if root.is_dir() else []


def list_uploads() -> list[tuple[str, datetime]]:
    """Uploads and when they last changed."""
    root = uploads_dir()
    folders = sorted(root.iterdir()) if root.is_dir() else []
    return [(path.name, datetime.fromtimestamp(path.stat().st_mtime, UTC)) for path in folders]


def list_removed() -> list[tuple[Path, datetime]]:
    """Folders that the store was about to delete when its process died, and when that was."""
    folders = sorted(staging_root().glob(".removed-*"))
    return [(path, datetime.fromtimestamp(path.stat().st_mtime, UTC)) for path in folders]


def remove_upload(upload: str) -> None:
    """Remove an upload that nobody takes."""
    shutil.rmtree(uploads_dir() / upload, ignore_errors=True)
