"""Parts of a file, for clients that go on with a broken download (RFC 9110, section 14).

One range at a time: whoever asks for several gets the whole, as the RFC allows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from django.http import HttpRequest

CHUNK_BYTES: Final = 65_536
_RANGE: Final = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


class Unsatisfiable(Exception):
    """The range lies behind the end of the file."""


@dataclass(frozen=True, slots=True)
class Span:
    """Bytes of a file, the last one included."""

    first: int
    last: int
    size: int
    """Of the whole file."""

    @property
    def length(self) -> int:
        return self.last - self.first + 1

    @property
    def content_range(self) -> str:
        """For the header of that name."""
        return f"bytes {self.first}-{self.last}/{self.size}"


def asked_span(request: HttpRequest, *, size: int, etag: str) -> Span | None:
    """The part that is asked for; None for the whole file. Raises Unsatisfiable.

    A range on the condition of `If-Range` counts only while the file is still the same.
    """
    match = _RANGE.fullmatch(request.headers.get("Range", "").replace(" ", ""))
    if match is None or request.method != "GET" or request.headers.get("If-Range", etag) != etag:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if not first:
        # The last so many bytes.
        count = min(int(last), size)
        begin, end = size - count, size - 1
    else:
        begin, end = int(first), min(int(last or size), size - 1)
        if last and int(last) < begin:
            return None
    if begin >= size or end < begin:
        raise Unsatisfiable
    return Span(begin, end, size)


def read_span(file: Path, span: Span) -> Iterator[bytes]:
    """The bytes in pieces. Raises FileNotFoundError at the first."""
    left = span.length
    with file.open("rb") as stream:
        stream.seek(span.first)
        while left > 0 and (piece := stream.read(min(CHUNK_BYTES, left))):
            left -= len(piece)
            yield piece
