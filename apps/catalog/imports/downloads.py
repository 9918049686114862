"""Fetches the files of a plan: several at once, large ones in several ranges, from where an attempt stopped.

A file is continued only while the server says it is the same one (ETag, length); otherwise it begins anew.
Knows nothing of where the files come from, and nothing of the database.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import httpx2

from apps.catalog.imports.failures import ImportFailure, Stopped
from apps.catalog.imports.partial_file import PartialFile, Piece
from apps.catalog.imports.progress import Progress
from apps.catalog.imports.sources.answers import (
    SNIFF_BYTES,
    Transient,
    check_content,
    check_status,
    translate,
)
from apps.catalog.imports.sources.plan import Plan
from apps.catalog.imports.sources.url import CONTENT_RANGE, size_of
from apps.catalog.imports.staging import disk_full
from apps.core.fetch_policy import FetchRefused
from apps.core.http import FetchTooLarge

# A range that one connection takes at a time: large enough that opening it costs nothing.
SEGMENT_BYTES: Final = 32 * 1024 * 1024
# Waits before another try, while nothing new arrives; afterwards the import fails and can be retried.
BACKOFF_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0)
LONGEST_WAIT_S: Final = 60.0
# A file that is another one each time it is asked for is given up.
MAX_RESTARTS: Final = 2


class BeganAnew(Exception):
    """The piece at hand belongs to a version of the file that is gone."""


class Downloader:
    """Brings in the files of a plan. One `run()`."""

    def __init__(
        self,
        plan: Plan,
        folder: Path,
        *,
        client: httpx2.Client,
        progress: Progress,
        connections: int,
        max_bytes: int,
        backoff_s: Sequence[float] = BACKOFF_S,
        segment_bytes: int = SEGMENT_BYTES,
        on_size: Callable[[int], None] = lambda size: None,
    ) -> None:
        """`on_size` hears the length of a file that the plan did not know; it may raise ImportFailure."""
        self.files = [PartialFile(file, folder, segment_bytes=segment_bytes) for file in plan.files]
        self._headers = plan.headers
        self._client = client
        self._progress = progress
        self._connections = connections
        self._max_bytes = max_bytes
        self._backoff_s = backoff_s
        self._segment_bytes = segment_bytes
        self._on_size = on_size
        self._changed = threading.Condition()
        self._busy = 0
        self._problem: Exception | None = None

    def run(self) -> list[PartialFile]:
        """All files whole and unverified. Raises ImportFailure and Stopped; what arrived is kept."""
        try:
            done = sum(file.open() for file in self.files)
            total = sum(file.size or 0 for file in self.files)
            self._progress.expect(files=len(self.files), total_bytes=total, done_bytes=done)
            for file in self.files:
                if file.is_whole:
                    self._progress.finish_file()
            self._run_threads()
        except OSError as error:
            raise _translated(error) from error
        finally:
            for file in self.files:
                file.close()
        if self._problem is not None:
            raise self._problem
        self._progress.check()
        return self.files

    def _run_threads(self) -> None:
        # Daemons: a thread that hangs in a name lookup must not keep a stopping process alive.
        threads = [
            threading.Thread(target=self._work, name=f"download-{number}", daemon=True)
            for number in range(self._connections)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _work(self) -> None:
        """Thread edge: the first problem stops everybody and is raised by `run`."""
        while True:
            taken = self._take()
            if taken is None:
                return
            file, piece = taken
            try:
                self._fetch(file, piece)
            except (Stopped, BeganAnew):
                pass
            except Exception as error:  # noqa: BLE001  # whatever it is, the import must hear of it
                self._give_up(error)
            finally:
                if file.give_back(piece):
                    self._progress.finish_file()
                with self._changed:
                    self._busy -= 1
                    self._changed.notify_all()

    def _take(self) -> tuple[PartialFile, Piece] | None:
        """The next range of the first file that has one; None when all are given out and nobody works."""
        with self._changed:
            while self._problem is None and not self._progress.stop.is_set():
                for file in self.files:
                    piece = file.take_piece()
                    if piece is not None:
                        self._busy += 1
                        return file, piece
                if not self._busy:
                    return None
                self._changed.wait(0.25)
            return None

    def _give_up(self, problem: Exception) -> None:
        with self._changed:
            if self._problem is None:
                self._problem = _translated(problem) if isinstance(problem, OSError) else problem
            self._changed.notify_all()

    def _fetch(self, file: PartialFile, piece: Piece) -> None:
        """A piece to its end, in as many tries as bring something new."""
        failures = 0
        while True:
            self._check()
            before = piece.start
            try:
                return self._try(file, piece)
            except Transient as problem:
                failures = 0 if piece.start > before else failures + 1
                if failures >= len(self._backoff_s):
                    raise _lost(file, problem) from problem
                wait_s = problem.retry_after_s or self._backoff_s[failures]
            self._progress.stop.wait(min(wait_s, LONGEST_WAIT_S))

    def _check(self) -> None:
        self._progress.check()
        if self._problem is not None:
            raise Stopped

    def _try(self, file: PartialFile, piece: Piece) -> None:
        """One request; moves `piece.start` on with what arrives. Raises Transient, and what ends it all."""
        what = file.file.name
        try:
            with self._client.stream(
                "GET", file.file.url, headers=self._request_headers(file, piece)
            ) as answer:
                self._admit(file, piece, answer)
                self._receive(file, piece, answer)
        except (httpx2.HTTPError, FetchRefused, FetchTooLarge) as error:
            # A connection that was torn down because everybody stops is no failure.
            self._check()
            raise translate(error, what=what) from error

    def _request_headers(self, file: PartialFile, piece: Piece) -> dict[str, str]:
        headers = dict(self._headers)
        is_all_at_once = file.size is not None and file.size <= self._segment_bytes
        if piece.start == 0 and (piece.end is None or is_all_at_once):
            return headers
        headers["Range"] = f"bytes={piece.start}-{'' if piece.end is None else piece.end - 1}"
        if file.etag and not file.etag.startswith("W/"):
            headers["If-Range"] = file.etag
        return headers

    def _admit(self, file: PartialFile, piece: Piece, answer: httpx2.Response) -> None:
        """Check that this answer continues the file; begins it anew when not."""
        if answer.status_code == httpx2.codes.RANGE_NOT_SATISFIABLE:
            self._begin_anew(file, piece)
        check_status(answer, what=file.file.name)
        check_content(answer, b"")
        is_range = answer.status_code == httpx2.codes.PARTIAL_CONTENT
        if is_range:
            match = CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
            if match is None or int(match[1]) != piece.start:
                raise Transient(f"{answer.url.host} sent another range than was asked for")
        elif piece.start > 0:
            # Either the file is another one now, or this server knows no ranges: both mean from the start.
            self._begin_anew(file, piece)
        learned = file.accept(
            piece, etag=answer.headers.get("ETag", ""), size=size_of(answer), has_ranges=is_range
        )
        if learned is None:
            self._begin_anew(file, piece)
        elif learned:
            self._progress.learn_size(learned)
            self._on_size(learned)
        if not is_range:
            piece.end = file.size
        with self._changed:
            # There may be work for others now.
            self._changed.notify_all()

    def _begin_anew(self, file: PartialFile, piece: Piece) -> None:
        """Always raises: BeganAnew, or ImportFailure when that has happened too often."""
        dropped, forgotten = file.restart(piece)
        self._progress.add(-dropped)
        self._progress.learn_size(-forgotten)
        if file.restarts > MAX_RESTARTS:
            raise ImportFailure(
                "source_changed",
                f"{file.file.name} is another file each time it is asked for, or not as long as promised.",
            )
        raise BeganAnew

    def _receive(self, file: PartialFile, piece: Piece, answer: httpx2.Response) -> None:
        # As they come: a chunk that was put together would be lost with the connection.
        for chunk in answer.iter_raw():
            self._check()
            if piece.start == 0:
                check_content(answer, chunk[:SNIFF_BYTES])
            data = chunk if piece.end is None else chunk[: piece.end - piece.start]
            if not file.write(piece, piece.start, data):
                raise BeganAnew
            piece.start += len(data)
            self._progress.add(len(data))
            if self._progress.bytes_done > self._max_bytes:
                raise ImportFailure(
                    "too_large", f"It is larger than the {self._max_bytes / 1e9:g} GB this server imports."
                )
            if piece.start == piece.end:
                return
        if piece.end is None:
            file.end_here(piece)
        elif piece.start < piece.end:
            raise Transient(f"{answer.url.host} closed the connection early")


def _lost(file: PartialFile, problem: Transient) -> ImportFailure:
    share = f" at {100 * file.arrived // file.size} %" if file.size else ""
    return ImportFailure(
        "download_failed",
        f"The download of {file.file.name} broke off{share} ({_megabytes(file)}): {problem}."
        " A retry continues from there.",
    )


def _megabytes(file: PartialFile) -> str:
    of = f" of {file.size / 1e6:.1f}" if file.size else ""
    return f"{file.arrived / 1e6:.1f}{of} MB"


def _translated(error: OSError) -> Exception:
    """A full disk is its owner's matter; every other fault of the disk is ours."""
    return disk_full() if error.errno in (errno.ENOSPC, errno.EDQUOT) else error
