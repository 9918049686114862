"""Whether what arrived is what was promised."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from apps.catalog.choices import ImportPhase
from apps.catalog.imports.failures import ImportFailure
from apps.catalog.imports.partial_file import PartialFile
from apps.catalog.imports.progress import Progress

CHUNK_BYTES: Final = 1 << 20
# Hashing one file keeps a core busy; a repository has several.
THREADS: Final = 4


def verify_files(files: list[PartialFile], *, progress: Progress) -> dict[str, str]:
    """sha256 of each file by name; each gets its own name. Raises ImportFailure digest_mismatch, and Stopped.

    A file with other content than promised is removed, so that a retry fetches it again.
    """
    progress.enter(ImportPhase.VERIFYING)
    progress.expect(files=len(files), total_bytes=sum(file.path.stat().st_size for file in files))
    with ThreadPoolExecutor(THREADS, thread_name_prefix="verify") as pool:
        digests = list(pool.map(lambda file: _verify(file, progress), files))
    return {file.file.name: digest for file, digest in zip(files, digests, strict=True)}


def _verify(file: PartialFile, progress: Progress) -> str:
    digest = hash_file(file.path, progress=progress)
    promised = file.file.sha256.lower()
    if promised and digest != promised:
        file.discard()
        raise ImportFailure(
            "digest_mismatch",
            f"{file.file.name} has sha256 {digest}, but {promised} was promised; it was removed."
            " A retry fetches it again.",
        )
    file.complete()
    progress.finish_file()
    return digest


def hash_folder(path: Path, *, progress: Progress) -> dict[str, str]:
    """sha256 of a file, or of each file below a folder, by relative name."""
    files = {path.name: path} if path.is_file() else _files_below(path)
    progress.enter(ImportPhase.VERIFYING)
    progress.expect(files=len(files), total_bytes=sum(file.stat().st_size for file in files.values()))
    found = {}
    for name, file in files.items():
        found[name] = hash_file(file, progress=progress)
        progress.finish_file()
    return found


def _files_below(folder: Path) -> dict[str, Path]:
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    return {file.relative_to(folder).as_posix(): file for file in files}


def hash_file(path: Path, *, progress: Progress) -> str:
    """Raises Stopped within a chunk."""
    whole = hashlib.sha256()
    with path.open("rb", buffering=0) as stream:
        while chunk := stream.read(CHUNK_BYTES):
            progress.check()
            whole.update(chunk)
            progress.add(len(chunk))
    return whole.hexdigest()
