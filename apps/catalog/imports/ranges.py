"""Which bytes of a file have arrived, remembered beside it so that another process can go on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path


class Ranges:
    """A set of half-open byte ranges."""

    def __init__(self, pairs: list[tuple[int, int]] | None = None) -> None:
        self._pairs: list[tuple[int, int]] = []
        for start, end in pairs or []:
            self.add(start, end)

    def add(self, start: int, end: int) -> None:
        """Join a range in; empty ones change nothing."""
        if end <= start:
            return
        joined: list[tuple[int, int]] = []
        for first, last in self._pairs:
            if last < start or first > end:
                joined.append((first, last))
            else:
                start, end = min(start, first), max(end, last)
        self._pairs = sorted([*joined, (start, end)])

    def missing(self, size: int) -> Iterator[tuple[int, int]]:
        """What lacks to `size` bytes, in order."""
        at = 0
        for first, last in self._pairs:
            if first > at:
                yield at, min(first, size)
            at = max(at, last)
            if at >= size:
                return
        if at < size:
            yield at, size

    @property
    def total(self) -> int:
        return sum(last - first for first, last in self._pairs)

    @property
    def pairs(self) -> list[tuple[int, int]]:
        return list(self._pairs)


class Sidecar:
    """The file beside a download that says how far it is, and of what."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, identity: str) -> tuple[Ranges, str, int | None]:
        """(ranges, etag, size) as last written for this very file; nothing for another or a damaged one."""
        nothing: tuple[Ranges, str, int | None] = (Ranges(), "", None)
        try:
            values = json.loads(self._path.read_text(encoding="utf-8"))
            if values["identity"] != identity:
                return nothing
            pairs = [(int(first), int(last)) for first, last in values["done"]]
            size = None if values["size"] is None else int(values["size"])
            return Ranges(pairs), str(values["etag"]), size
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return nothing

    def write(self, identity: str, ranges: Ranges, etag: str, size: int | None) -> None:
        """Replace it whole: a crash leaves the old one or the new one."""
        values = {"identity": identity, "done": ranges.pairs, "etag": etag, "size": size}
        fresh = self._path.with_name(self._path.name + ".new")
        fresh.write_text(json.dumps(values), encoding="utf-8")
        fresh.replace(self._path)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)
