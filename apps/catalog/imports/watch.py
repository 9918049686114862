"""The watched folder: what is put into MODEL_DIR/incoming becomes an import once it has stopped growing.

A file or a folder is taken when two looks found the same sizes and times; between them lies one run of the
schedule, so a copy that pauses for less than that is never taken half. Files that copying programs write
under temporary names, and what was refused before, are left alone.
"""

from __future__ import annotations

import json
import logging
from datetime import datetime
from pathlib import Path
from typing import Final, TypeAlias

from apps.audit.refs import Ref
from apps.catalog.choices import OPEN_IMPORT_STATES, ImportSource
from apps.catalog.imports.addresses import WEIGHT_SUFFIXES, clean_name
from apps.catalog.imports.options import ImportOptions, incoming_dir
from apps.catalog.imports.services import submit_import
from apps.catalog.imports.staging import staging_root
from apps.catalog.imports.watch_files import is_mark, mark_refused
from apps.catalog.models import ModelImport
from apps.core.errors import DomainError

log = logging.getLogger(__name__)

WATCHER: Final = Ref(kind="process", id=None, label="watched folder")
PARTIAL_SUFFIXES: Final = (".part", ".partial", ".crdownload", ".tmp", ".download", ".filepart", "~")

Look: TypeAlias = list[list[str | int]]
"""[relative name, bytes, mtime in ns] of every file of an entry."""


def take_incoming(*, now: datetime) -> int:
    """Submit what has settled since the last look; how many."""
    folder = incoming_dir()
    folder.mkdir(parents=True, exist_ok=True)
    memory = staging_root() / "incoming.json"
    before = _read_looks(memory)
    busy = set(
        ModelImport.objects.filter(source=ImportSource.FOLDER, state__in=OPEN_IMPORT_STATES).values_list(
            "address", flat=True
        )
    )
    looks: dict[str, Look] = {}
    taken = 0
    for path in sorted(folder.iterdir()):
        if not _is_candidate(path) or str(path) in busy:
            continue
        look = _look_at(path)
        if look and before.get(path.name) == look:
            taken += _submit(path, now=now)
        elif look:
            looks[path.name] = look
    memory.parent.mkdir(parents=True, exist_ok=True)
    memory.write_text(json.dumps(looks), encoding="utf-8")
    return taken


def _is_candidate(path: Path) -> bool:
    name = path.name.lower()
    if name.startswith(".") or is_mark(name) or name.endswith(PARTIAL_SUFFIXES) or path.is_symlink():
        return False
    # Notes and pictures that people put beside their models are not refused, just not taken.
    return path.is_dir() or name.endswith(WEIGHT_SUFFIXES)


def _look_at(path: Path) -> Look:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    if any(file.name.lower().endswith(PARTIAL_SUFFIXES) for file in files):
        return []
    try:
        facts = [(file.relative_to(path.parent).as_posix(), file.stat()) for file in files]
    except FileNotFoundError:
        # Renamed at this moment: the next look will tell.
        return []
    return [[name, stat.st_size, stat.st_mtime_ns] for name, stat in facts]


def _submit(path: Path, *, now: datetime) -> int:
    options = ImportOptions(
        source=ImportSource.FOLDER, address=str(path), name=clean_name(path.name), is_watched=True
    )
    try:
        submit_import(options=options, account=None, actor=WATCHER, now=now)
    except DomainError as refusal:
        log.warning("watched folder: %s: %s", path.name, refusal)
        mark_refused(path, str(refusal))
        return 0
    return 1


def _read_looks(memory: Path) -> dict[str, Look]:
    try:
        looks = json.loads(memory.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return looks if isinstance(looks, dict) else {}
