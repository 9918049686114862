"""Files as torch.save writes them whose tensors are holes in the file system, at any size."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gpu_runtime.weights.tensor_facts import TensorFacts
from tests.checkpoints.hostile_pickles import call, named, plain, text

_STORAGES = {
    "F16": "HalfStorage",
    "BF16": "BFloat16Storage",
    "F32": "FloatStorage",
    "F64": "DoubleStorage",
    "I64": "LongStorage",
    "I32": "IntStorage",
}
_BEYOND = 0xFFFFFFFF


def write_sparse_pickle(file: Path, tensors: Mapping[str, TensorFacts]) -> Path:
    """The tensors under "state_dict" in a zip; returns `file`. Storages read as zeros and take no room."""
    pickled = plain(b"}" + text("state_dict") + _table(tensors) + b"s")
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        writer = _Writer(stream)
        writer.add("data.pkl", pickled)
        writer.add("version", b"3\n")
        for number, facts in enumerate(tensors.values()):
            writer.add_hole(f"data/{number}", facts.size_bytes)
        writer.finish()
    return file


def _table(tensors: Mapping[str, TensorFacts]) -> bytes:
    items = b"".join(
        text(name) + _tensor(number, facts) for number, (name, facts) in enumerate(tensors.items())
    )
    return call("collections", "OrderedDict") + b"(" + items + b"u"


def _tensor(number: int, facts: TensorFacts) -> bytes:
    storage = (
        b"(" + text("storage") + named("torch", _STORAGES[facts.dtype]) + text(str(number)) + text("cpu")
    )
    strides = []
    step = 1
    for side in reversed(facts.shape):
        strides.insert(0, step)
        step *= side
    return call(
        "torch._utils",
        "_rebuild_tensor_v2",
        storage + _number(facts.elements) + b"tQ",
        _number(0),
        b"(" + b"".join(map(_number, facts.shape)) + b"t",
        b"(" + b"".join(map(_number, strides)) + b"t",
        b"\x89",
        call("collections", "OrderedDict"),
    )


def _number(value: int) -> bytes:
    if value < 2**31:
        return b"J" + struct.pack("<i", value)
    encoded = value.to_bytes(8, "little")
    return b"\x8a\x08" + encoded


@dataclass(frozen=True, slots=True)
class _Entry:
    name: bytes
    crc: int
    size: int
    offset: int


class _Writer:
    """A zip in torch's own way: stored, sizes behind the data, 64-bit records from 4 GiB on."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._entries: list[_Entry] = []

    def add(self, name: str, data: bytes) -> None:
        entry = self._begin(name, zlib.crc32(data), len(data))
        self._stream.write(data)
        self._end(entry)

    def add_hole(self, name: str, size: int) -> None:
        entry = self._begin(name, 0x12345678, size)
        self._stream.seek(size, 1)
        self._end(entry)

    def _begin(self, name: str, crc: int, size: int) -> _Entry:
        entry = _Entry(b"archive/" + name.encode(), crc, size, self._stream.tell())
        header = struct.pack("<4sHHHHHIIIHH", b"PK\x03\x04", 0, 0x0808, 0, 0, 0, 0, 0, 0, len(entry.name), 0)
        self._stream.write(header + entry.name)
        return entry

    def _end(self, entry: _Entry) -> None:
        is_long = max(entry.size, entry.offset) >= _BEYOND
        form = "<4sIQQ" if is_long else "<4sIII"
        self._stream.write(struct.pack(form, b"PK\x07\x08", entry.crc, entry.size, entry.size))
        self._entries.append(entry)

    def finish(self) -> None:
        start = self._stream.tell()
        for entry in self._entries:
            self._stream.write(_directory_entry(entry))
        end = self._stream.tell()
        count = len(self._entries)
        record = struct.pack(
            "<4sQHHIIQQQQ", b"PK\x06\x06", 44, 30, 45, 0, 0, count, count, end - start, start
        )
        locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
        last = struct.pack(
            "<4sHHHHIIH", b"PK\x05\x06", 0, 0, count, count, end - start, min(start, _BEYOND), 0
        )
        self._stream.write(record + locator + last)


def _directory_entry(entry: _Entry) -> bytes:
    wide = [value for value in (entry.size,) if value >= _BEYOND] * 2
    wide += [entry.offset] if entry.offset >= _BEYOND else []
    extra = struct.pack(f"<HH{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    size, offset = min(entry.size, _BEYOND), min(entry.offset, _BEYOND)
    return (
        struct.pack(
            "<4sHHHHHHIIIHHHHHII",
            b"PK\x01\x02",
            0,
            0,
            0x0808,
            0,
            0,
            0,
            entry.crc,
            size,
            size,
            len(entry.name),
            len(extra),
            0,
            0,
            0,
            0,
            offset,
        )
        + entry.name
        + extra
    )
