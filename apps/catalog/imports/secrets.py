"""Tokens of imports: one file each, readable by the appliance's user alone, gone when the import ends."""

from __future__ import annotations

import os
from pathlib import Path

from django.conf import settings


def _folder() -> Path:
    return Path(settings.HOME_DIR) / "secrets" / "imports"


def _path(import_id: int) -> Path:
    return _folder() / str(import_id)


def keep_token(import_id: int, token: str) -> None:
    """Write the token of an import; an empty one removes what was there."""
    if not token:
        forget_token(import_id)
        return
    path = _path(import_id)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)
    # A new file each time: an old one may have been opened by somebody when it was more widely readable.
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(token)


def find_token(import_id: int) -> str:
    """The token of an import, "" when it has none."""
    try:
        return _path(import_id).read_text(encoding="ascii")
    except FileNotFoundError:
        return ""


def forget_token(import_id: int) -> None:
    """Remove the token of an import, if there is one."""
    _path(import_id).unlink(missing_ok=True)


def list_tokens() -> list[int]:
    """Imports that have a token."""
    return (
        sorted(int(path.name) for path in _folder().iterdir() if path.name.isdigit())
        if _folder().is_dir()
        else []
    )
