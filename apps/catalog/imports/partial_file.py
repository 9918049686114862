"""One file on its way to the disk: which ranges have arrived, which are fetched, what it is known by."""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from apps.catalog.imports.ranges import Ranges, Sidecar
from apps.catalog.imports.sources.plan import RemoteFile

# How often what has arrived is written down, at most.
SIDECAR_INTERVAL_S: Final = 2.0


@dataclass(eq=False, slots=True, kw_only=True)
class Piece:
    """A range that one thread fetches."""

    start: int
    end: int | None
    """None: to the end of a file whose length or ranges nobody knows."""
    generation: int
    """Of the file; a piece of an earlier one is of no use any more."""


class PartialFile:
    """Lies as `NAME.part` with a sidecar until it is whole and verified. Methods are thread-safe."""

    def __init__(self, file: RemoteFile, folder: Path, *, segment_bytes: int) -> None:
        self.file = file
        self.target = folder / file.name
        self.part = self.target.with_name(self.target.name + ".part")
        self.size = file.size
        self.restarts = 0
        self._sidecar = Sidecar(self.target.with_name(self.target.name + ".part.json"))
        self._segment_bytes = segment_bytes
        self._lock = threading.Lock()
        self._written_at = time.monotonic()
        self._generation = 0
        self._etag = ""
        self._ranges = Ranges()
        self._pieces: list[Piece] = []
        # None until an answer has shown whether the server sends ranges of this file.
        self._has_ranges: bool | None = None
        self._descriptor = -1
        self._is_counted = False

    def open(self) -> int:
        """Take up what an earlier attempt left; how many bytes that is."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        if self.target.exists():
            # It got its own name only when it was whole and verified.
            self.size = self.target.stat().st_size
            self._ranges = Ranges([(0, self.size)])
            return self.size
        ranges, etag, size = self._sidecar.read(self.file.identity)
        if self.part.exists() and (self.size is None or size in (None, self.size)):
            self._ranges, self.size = ranges, self.size or size
            # Where a digest is promised, it decides; mirrors of one file have different ETags.
            self._etag = "" if self.file.sha256 else etag
        self._descriptor = os.open(self.part, os.O_RDWR | os.O_CREAT, 0o644)
        return self._ranges.total

    @property
    def is_whole(self) -> bool:
        return self.size is not None and self._ranges.total >= self.size

    @property
    def arrived(self) -> int:
        """Bytes that are there."""
        return self._ranges.total

    @property
    def etag(self) -> str:
        """What the server called this version of the file; "" when it did not."""
        return self._etag

    def take_piece(self) -> Piece | None:
        """The next range to fetch; None while there is none to give out."""
        with self._lock:
            if self.is_whole or (self._pieces and not self._has_ranges):
                return None
            found = self._next_range()
            if found is None:
                return None
            piece = Piece(start=found[0], end=found[1], generation=self._generation)
            self._pieces.append(piece)
            return piece

    def _next_range(self) -> tuple[int, int | None] | None:
        if self._has_ranges is False:
            return (0, None) if not self._ranges.total else None
        if self.size is None:
            return (self._ranges.total, None)
        taken = Ranges(self._ranges.pairs)
        for piece in self._pieces:
            taken.add(piece.start, self.size if piece.end is None else piece.end)
        start, end = next(taken.missing(self.size), (0, 0))
        return (start, min(end, start + self._segment_bytes)) if end > start else None

    def give_back(self, piece: Piece) -> bool:
        """The piece is fetched or given up; whether the file became whole by it."""
        with self._lock:
            if piece in self._pieces:
                self._pieces.remove(piece)
            if not self.is_whole or self._is_counted:
                return False
            self._is_counted = True
            return True

    def accept(self, piece: Piece, *, etag: str, size: int | None, has_ranges: bool) -> int | None:
        """Note what an answer says of the file.

        Returns the bytes by which the file is larger than was known, None when it is another file than
        before or the piece is out of date.
        """
        with self._lock:
            if piece.generation != self._generation:
                return None
            if self._etag and etag and etag != self._etag:
                return None
            if self.size is not None and size is not None and size != self.size:
                return None
            learned = size if self.size is None and size is not None else 0
            self._etag = self._etag or etag
            self.size = size if self.size is None else self.size
            self._has_ranges = has_ranges
            return learned

    def restart(self, piece: Piece) -> tuple[int, int]:
        """Begin anew, once for all threads that notice: (bytes dropped, bytes it is unknown by again)."""
        with self._lock:
            if piece.generation != self._generation:
                return (0, 0)
            dropped, forgotten = self._ranges.total, (self.size or 0) - (self.file.size or 0)
            self._generation += 1
            self.restarts += 1
            self._ranges, self._etag, self.size = Ranges(), "", self.file.size
            self._pieces.clear()
            self._has_ranges = None
            self._sidecar.remove()
            os.ftruncate(self._descriptor, 0)
            return (dropped, forgotten)

    def write(self, piece: Piece, at: int, chunk: bytes) -> bool:
        """Put bytes in their place; False when the file began anew meanwhile."""
        if piece.generation != self._generation:
            return False
        os.pwrite(self._descriptor, chunk, at)
        with self._lock:
            if piece.generation != self._generation:
                return False
            self._ranges.add(at, at + len(chunk))
            if time.monotonic() - self._written_at >= SIDECAR_INTERVAL_S:
                self._remember()
            return True

    def end_here(self, piece: Piece) -> None:
        """A server that does not tell lengths has sent everything."""
        with self._lock:
            if piece.generation == self._generation:
                self.size = self._ranges.total

    def close(self) -> None:
        """Write down what there is, for the next attempt."""
        with self._lock:
            if self._descriptor >= 0:
                self._remember()
                os.close(self._descriptor)
                self._descriptor = -1

    def _remember(self) -> None:
        # The data first: after a power cut the sidecar must not promise what never reached the disk.
        os.fdatasync(self._descriptor)
        self._sidecar.write(self.file.identity, self._ranges, self._etag, self.size)
        self._written_at = time.monotonic()

    @property
    def path(self) -> Path:
        """Where its bytes are now."""
        return self.target if self.target.exists() else self.part

    def complete(self) -> None:
        """It is verified: it has its own name from now on."""
        if self.part.exists():
            self.part.rename(self.target)
        self._sidecar.remove()

    def discard(self) -> None:
        """Its content is wrong: a retry fetches all of it again."""
        self.target.unlink(missing_ok=True)
        self.part.unlink(missing_ok=True)
        self._sidecar.remove()
