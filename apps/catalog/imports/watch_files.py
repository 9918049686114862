"""The marks that the watched folder leaves on files it could not take."""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Final

from apps.catalog.imports.options import ImportOptions

REFUSED: Final = ".refused"
REASON: Final = ".refused.txt"


def is_mark(name: str) -> bool:
    """Whether a name in the watched folder is one that `mark_refused` gave."""
    return name.lower().endswith((REFUSED, REASON))


def mark_refused(path: Path, reason: str) -> None:
    """Set a file or folder aside under another name, with the reason beside it.

    What was set aside before keeps its name; a newer one takes the place of an older one of that name.
    """
    _reason_file(path).write_text(reason + "\n", encoding="utf-8")
    if is_mark(path.name) or not path.exists():
        return
    aside = path.with_name(path.name + REFUSED)
    if aside.is_dir():
        # No rename replaces a folder that has something inside.
        shutil.rmtree(aside)
    aside.unlink(missing_ok=True)
    with suppress(FileNotFoundError):
        path.rename(aside)


def take_back_refused(options: ImportOptions) -> None:
    """For a retry: a file that was set aside has its own name again."""
    if not options.is_watched:
        return
    path = Path(options.address)
    aside = path.with_name(path.name + REFUSED)
    if not path.exists() and aside.exists():
        aside.rename(path)
    _reason_file(path).unlink(missing_ok=True)


def _reason_file(path: Path) -> Path:
    return path.with_name(path.name.removesuffix(REFUSED) + REASON)
