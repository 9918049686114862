"""Writes files without ever writing over one."""

from __future__ import annotations

from itertools import count
from pathlib import Path


def write_new(wanted: Path, data: bytes) -> Path:
    """Write `data` to `wanted`, or to the first of `wanted-2`, `wanted-3` ... that is free; which it was."""
    for number in count(1):
        path = wanted if number == 1 else wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        try:
            # Exclusive: of two programs that write at once, each gets a name of its own.
            file = path.open("xb")
        except FileExistsError:
            continue
        try:
            with file:
                file.write(data)
        except BaseException:
            # Half an image under the name of a whole one would be taken for it.
            path.unlink(missing_ok=True)
            raise
        return path
    raise AssertionError("count() does not end")
