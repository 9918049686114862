"""Where pictures of requests lie: one file each, named by what is in it, until no open job needs it.

A picture that comes again has its file already. Its time is then renewed under a lock that the sweep takes as
well, so that the sweep never deletes what somebody has just been told is there.

Equal pictures of several accounts are one file. An empty file beside it for each account that brought it, its
mark, lets that account name it again for an hour; a digest alone, which anybody can compute, lets nobody.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from django.conf import settings

from apps.generation.choices import OPEN_STATES
from apps.generation.models import GenerationJob
from apps.generation.resolved import DIGESTS

EXTENSION: Final = ".png"
LOCK: Final = "lock"
TEMPORARY_PREFIX: Final = ".writing-"
DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# Between taking a picture in and the job that names it; far beyond what a request takes.
UNUSED_AGE: Final = timedelta(hours=1)


def picture_path(digest: str) -> Path:
    """Where a picture lies, whether it is there or not. Raises ValueError for what is no digest."""
    if DIGEST.fullmatch(digest) is None:
        raise ValueError(f"{digest[:70]!r} is no SHA-256 in hexadecimal")
    root: Path = settings.INPUT_DIR
    return root / digest[:2] / f"{digest}{EXTENSION}"


def picture_bytes(digest: str) -> bytes:
    """The stored PNG. Raises FileNotFoundError once it has been swept."""
    return picture_path(digest).read_bytes()


def keep_picture(data: bytes, *, now: datetime, account_id: int | None = None) -> str:
    """Store a file, or renew the time of the one that is there; its digest. Raises OSError.

    `account_id` is whose upload it becomes; nobody's without one.
    """
    digest = sha256(data).hexdigest()
    path = picture_path(digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _locked(fcntl.LOCK_SH):
        if account_id is not None:
            mark = _mark_path(digest, account_id)
            mark.touch()
            _date(mark, now)
        if path.exists():
            _date(path, now)
            return digest
    _write(path, data, now)
    return digest


def uploaded_bytes(digest: str, *, account_id: int | None) -> bytes:
    """The stored PNG, for an account that has brought it within the hour. Raises FileNotFoundError."""
    if account_id is None or not _mark_path(digest, account_id).exists():
        raise FileNotFoundError(digest)
    return picture_bytes(digest)


def _mark_path(digest: str, account_id: int) -> Path:
    return picture_path(digest).with_suffix(f".{account_id}")


def _is_mark(path: Path) -> bool:
    return path.suffix[1:].isdigit()


def _date(path: Path, now: datetime) -> None:
    os.utime(path, (now.timestamp(), now.timestamp()))


def _write(path: Path, data: bytes, now: datetime) -> None:
    """Whole or not at all. Two writers of the same picture write the same bytes, and either may win."""
    descriptor, temporary = tempfile.mkstemp(prefix=TEMPORARY_PREFIX, dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        _date(Path(temporary), now)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def _locked(mode: int) -> Iterator[None]:
    root: Path = settings.INPUT_DIR
    root.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, mode)
        yield
    finally:
        os.close(descriptor)


def sweep_pictures(*, now: datetime) -> int:
    """Delete pictures older than an hour that no open job names, and files left half-written; how many.

    Marks end with their hour, whatever jobs name the picture; they are not counted.
    """
    root: Path = settings.INPUT_DIR
    limit = (now - UNUSED_AGE).timestamp()
    count = 0
    # A folder at a time, so that nobody who brings a picture waits for the lock for long.
    for folder in root.glob("[0-9a-f][0-9a-f]"):
        with _locked(fcntl.LOCK_EX):
            old = [path for path in folder.iterdir() if _is_older(path, limit)]
            needed = _named_by_open_jobs() if old else frozenset()
            for path in old:
                if path.name.removesuffix(EXTENSION) not in needed:
                    path.unlink(missing_ok=True)
                    count += not _is_mark(path)
    return count


def _is_older(path: Path, limit: float) -> bool:
    with suppress(FileNotFoundError):
        return path.stat().st_mtime < limit
    return False


def _named_by_open_jobs() -> frozenset[str]:
    """One query over the open jobs, which have an index of their own."""
    lists = GenerationJob.objects.filter(state__in=OPEN_STATES, **{f"request__{DIGESTS}__isnull": False})
    rows = lists.values_list(f"request__{DIGESTS}", flat=True)
    return frozenset(digest for digests in rows.iterator() for digest in digests or ())
