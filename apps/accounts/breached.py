"""The operator's file of breached passwords, as haveibeenpwned.com offers it "ordered by hash".

Lines `SHA-1 in upper-case hex:count`, in the order of the digests, up to some 40 GB of them: nothing here
reads more than a few lines of it.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from typing import Final

DIGEST_LENGTH: Final = 40
HEX: Final = b"0123456789ABCDEF"
PROBES: Final = 64
"""Places at which `inspect_list` looks: in a file that is mixed or sorted otherwise most of them show it."""


class BreachedFileUnreadable(OSError):
    """The file of breached passwords is missing or is something else."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BreachedList:
    """What an operator wants to know of a list that is in use."""

    path: Path
    size_bytes: int
    passwords_about: int
    """By the length of the lines that were looked at; exact where all lines are equally long."""

    def __str__(self) -> str:
        return f"{self.path} (about {self.passwords_about:,} passwords, {self.size_bytes:,} bytes)"


def breach_count(password: str, *, path: Path) -> int:
    """How often `password` stands in the breaches that `path` lists; 0 when it does not.

    Found by bisection over the file: some forty reads of a few bytes. Raises BreachedFileUnreadable.
    """
    wanted = sha1(password.encode(), usedforsecurity=False).hexdigest().upper().encode()
    with _opened(path) as lines:
        line = _find_line(lines, wanted)
        return int(line[DIGEST_LENGTH + 1 :]) if line else 0


def inspect_list(path: Path) -> BreachedList:
    """Look at lines all over the file and at its last one: each must be one, and in order.

    Raises BreachedFileUnreadable.
    """
    with _opened(path) as lines:
        size, before, length = len(lines), b"", 0
        places = [*(size * probe // PROBES for probe in range(PROBES)), size - 1]
        for place in places:
            start, end = _line_at(lines, place)
            line = bytes(lines[start:end]).strip()
            digest = _digest_of(line, start)
            int(line[DIGEST_LENGTH + 1 :])
            if digest < before:
                raise ValueError(f"the line at byte {start} stands behind a greater one")
            before, length = digest, length + end - start + 1
        about = max(1, round(size * len(places) / length))
        return BreachedList(path=path, size_bytes=size, passwords_about=about)


@contextmanager
def _opened(path: Path) -> Iterator[mmap.mmap]:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as lines:
            yield lines
    except (OSError, ValueError) as error:
        # ValueError: an empty file cannot be mapped, and what is no number is no count.
        raise BreachedFileUnreadable(
            f"DARKROOM_BREACHED_PASSWORDS: {path} cannot be used ({error}). It must be a file of lines"
            " SHA-1:count, ordered by hash; unset the variable to do without."
        ) from error


def _find_line(lines: mmap.mmap, wanted: bytes) -> bytes:
    """The line that begins with `wanted`; empty when there is none."""
    low, high = 0, len(lines)
    while low < high:
        start, end = _line_at(lines, (low + high) // 2, low)
        digest = _digest_of(lines[start : start + DIGEST_LENGTH + 1], start)
        if digest == wanted:
            return bytes(lines[start:end]).strip()
        if digest < wanted:
            low = end + 1
        else:
            high = start
    return b""


def _line_at(lines: mmap.mmap, place: int, low: int = 0) -> tuple[int, int]:
    """Begin and end of the line around byte `place`, which is not before `low`, a line's begin."""
    start = lines.rfind(b"\n", low, place) + 1 or low
    end = lines.find(b"\n", start)
    return start, len(lines) if end < 0 else end


def _digest_of(line: bytes, start: int) -> bytes:
    """Raises ValueError for what is no line."""
    if len(line) <= DIGEST_LENGTH or line[DIGEST_LENGTH : DIGEST_LENGTH + 1] != b":":
        raise ValueError(f"byte {start} begins no line SHA-1:count")
    digest = line[:DIGEST_LENGTH]
    if digest.strip(HEX):
        raise ValueError(f"byte {start} begins no SHA-1 in upper-case hex")
    return digest
