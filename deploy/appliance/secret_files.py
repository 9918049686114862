"""Secrets made once and kept in files that only their owner reads. Standard library only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def ensure_secret(path: Path) -> str:
    """The secret in `path`; a new one of 256 bits in URL-safe letters is written there if there is none."""
    existing = find_secret(path)
    if existing is not None:
        return existing
    value = secrets.token_urlsafe(32)
    write_secret(path, value)
    return value


def find_secret(path: Path) -> str | None:
    """The secret in `path`, or None if the file is missing or empty."""
    try:
        return path.read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def write_secret(path: Path, value: str) -> None:
    """Replaces the file in one move, so a crash leaves the old secret or the new one, mode 0600."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(value + "\n")
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
