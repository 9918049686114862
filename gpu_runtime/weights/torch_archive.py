"""The zip files that torch.save writes, read strictly: what torch never writes is refused.

torch's own reader and Python's disagree on several odd zips, and scanners were fooled that way. So every
entry must be where its neighbours say, stored uncompressed, once, under one folder, with equal names in both
of its headers, and the directory must be the last thing in the file.
"""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from gpu_runtime.errors import NotWeights, UnsafeFile, WeightsCorrupt
from gpu_runtime.weights.pickle_machine import MAX_PICKLE_BYTES
from gpu_runtime.weights.tensor_facts import MAX_TENSORS

ZIP_MAGIC = b"PK\x03\x04"
_LOCAL = struct.Struct("<4sHHHHHIIIHH")
_END = struct.Struct("<4sHHHHIIH")
_ALLOWED_FLAGS = 0x0808
"""UTF-8 names and lengths after the data: what torch sets. Encryption and patching are other bits."""

_LONG_END = struct.Struct("<4sQHHIIQQQQ")
_LOCATOR = struct.Struct("<4sIQI")
_SHORT_LIMITS = (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
"""What the short end record says of entries, bytes and place when they do not fit in it."""

_MAX_DIRECTORY_BYTES = 16_000_000
"""MAX_TENSORS entries of torch need two thirds of it."""

_SIDE_FILES = frozenset(
    {"version", "byteorder", ".format_version", ".storage_alignment", ".data/serialization_id"}
)


@dataclass(frozen=True, slots=True)
class TorchArchive:
    """The pickle of a torch.save zip, and how many bytes each of its storages has."""

    pickle: bytes
    is_pickle_intact: bool
    """Whether its checksum is right. torch does not look, so a wrong one must not hide what is inside."""
    storage_bytes: Mapping[str, int]


def read_archive(path: Path, stream: BinaryIO, size: int) -> TorchArchive:
    """The one pickle of the file, and the sizes of its storages by key.

    Raises UnsafeFile for what torch never writes, WeightsCorrupt for damage, NotWeights for other zips.
    """
    _require_directory_at_end(path, stream, size)
    try:
        with zipfile.ZipFile(stream) as archive:
            entries = archive.infolist()
            directory_start = archive.start_dir
            _require_torch_layout(path, [entry.filename for entry in entries])
            _require_plain_entries(path, stream, entries, directory_start)
            pickle_entry = next(entry for entry in entries if entry.filename.endswith("/data.pkl"))
            if pickle_entry.file_size > MAX_PICKLE_BYTES:
                raise UnsafeFile(f"{path}: its pickle has {pickle_entry.file_size} bytes")
            data = _stored_bytes(stream, pickle_entry)
    except (zipfile.BadZipFile, struct.error, NotImplementedError) as error:
        raise WeightsCorrupt(f"{path} is a damaged zip: {error}") from error
    folder = pickle_entry.filename.removesuffix("data.pkl")
    prefix = folder + "data/"
    storages = {e.filename[len(prefix) :]: e.file_size for e in entries if e.filename.startswith(prefix)}
    return TorchArchive(data, zlib.crc32(data) == pickle_entry.CRC, storages)


def _stored_bytes(stream: BinaryIO, entry: zipfile.ZipInfo) -> bytes:
    """The bytes of an entry that `_require_plain_entries` has found in its place."""
    stream.seek(entry.header_offset)
    *_, name_bytes, extra_bytes = _LOCAL.unpack(stream.read(_LOCAL.size))
    stream.seek(name_bytes + extra_bytes, os.SEEK_CUR)
    return stream.read(entry.file_size)


def _require_directory_at_end(path: Path, stream: BinaryIO, size: int) -> None:
    """The end record must be the file's last bytes: a comment could hide a second directory."""
    stream.seek(max(size - _END.size, 0))
    end = stream.read(_END.size)
    if len(end) != _END.size or end[:4] != b"PK\x05\x06":
        stream.seek(max(size - 66_000, 0))
        if b"PK\x05\x06" in stream.read():
            raise UnsafeFile(f"{path}: something follows the end of its zip directory")
        raise WeightsCorrupt(f"{path} is truncated: the zip directory at its end is missing")
    _, disk, directory_disk, here, total, directory_bytes, start, comment = _END.unpack(end)
    if disk or directory_disk or comment or here != total:
        raise UnsafeFile(f"{path}: its zip directory is not one that torch writes")
    if directory_bytes > _MAX_DIRECTORY_BYTES:
        raise UnsafeFile(f"{path}: its zip directory has {directory_bytes} bytes")
    _require_same_long_record(path, stream, size, (total, directory_bytes, start))
    stream.seek(0)


def _require_same_long_record(path: Path, stream: BinaryIO, size: int, short: tuple[int, int, int]) -> None:
    """A 64-bit record before the end record must say the same, as far as it fits the short one."""
    stream.seek(max(size - _END.size - _LOCATOR.size - _LONG_END.size, 0))
    record, locator = stream.read(_LONG_END.size), stream.read(_LOCATOR.size)
    if locator[:4] != b"PK\x06\x07":
        return  # Python's reader looks at the same place
    place = size - _END.size - _LOCATOR.size - _LONG_END.size
    if record[:4] != b"PK\x06\x06" or _LOCATOR.unpack(locator)[1:] != (0, place, 1):
        raise UnsafeFile(f"{path}: its 64-bit zip directory is not one that torch writes")
    *_, here, total, directory_bytes, start = _LONG_END.unpack(record)
    long = (total, directory_bytes, start)
    fits = all(b == min(a, limit) for a, b, limit in zip(long, short, _SHORT_LIMITS, strict=True))
    if here != total or not fits:
        raise UnsafeFile(f"{path}: its zip describes its directory in two ways")


def _require_torch_layout(path: Path, names: list[str]) -> None:
    """One folder with data.pkl, the storages and torch's small side files."""
    if len(names) > MAX_TENSORS + 16:
        raise UnsafeFile(f"{path}: its zip has {len(names)} entries")
    if len(set(names)) != len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise UnsafeFile(f"{path}: its zip has {twice[:80]!r} twice")
    for name in names:
        if name.startswith("/") or "\\" in name or ".." in name.split("/") or not name.isprintable():
            raise UnsafeFile(f"{path}: its zip has an entry that leaves its folder: {name[:80]!r}")
    pickles = [name for name in names if name.endswith("/data.pkl")]
    if not pickles:
        raise NotWeights(f"{path} is a zip archive, not weights: unpack it and import what is inside")
    if len(pickles) != 1:
        raise UnsafeFile(f"{path}: its zip has {len(pickles)} pickles")
    folder = pickles[0].removesuffix("data.pkl")
    if folder.count("/") != 1:
        raise UnsafeFile(f"{path}: its pickle is not where torch puts it")
    for name in names:
        _require_known_entry(path, folder, name)


def _require_known_entry(path: Path, folder: str, name: str) -> None:
    inner = name.removeprefix(folder)
    is_storage = inner.startswith("data/") and inner.count("/") == 1
    if name.startswith(folder) and (inner == "data.pkl" or inner in _SIDE_FILES or is_storage):
        return
    if inner.startswith("code/") or inner == "constants.pkl":
        raise UnsafeFile(f"{path}: a TorchScript archive, which contains code: {name[:80]!r}")
    raise UnsafeFile(f"{path}: its zip has an entry torch does not write: {name[:80]!r}")


def _require_plain_entries(
    path: Path, stream: BinaryIO, entries: list[zipfile.ZipInfo], directory_start: int
) -> None:
    """Each entry stored as it is, right behind the one before, equally described in both places."""
    position = 0
    for entry in sorted(entries, key=lambda each: each.header_offset):
        if entry.flag_bits & ~_ALLOWED_FLAGS:
            raise UnsafeFile(f"{path}: its zip entry {entry.filename[:80]!r} is encrypted or patched")
        if entry.compress_type != zipfile.ZIP_STORED or entry.compress_size != entry.file_size:
            raise UnsafeFile(
                f"{path}: its zip entry {entry.filename[:80]!r} is compressed; torch never does that"
            )
        if entry.header_offset != position:
            raise UnsafeFile(f"{path}: its zip has a gap or an overlap before {entry.filename[:80]!r}")
        position = _entry_end(path, stream, entry)
    if position != directory_start:
        raise UnsafeFile(f"{path}: its zip has something between the last entry and the directory")


def _entry_end(path: Path, stream: BinaryIO, entry: zipfile.ZipInfo) -> int:
    """Where the next entry begins, by the entry's own header. Raises UnsafeFile where the two disagree."""
    stream.seek(entry.header_offset)
    fields = _LOCAL.unpack(stream.read(_LOCAL.size))
    magic, _, flags, method, _, _, crc, stored, plain, name_bytes, extra_bytes = fields
    name = stream.read(name_bytes)
    has_lengths_after = bool(flags & 0x0008)
    sizes = {(0, 0), (entry.file_size, entry.file_size), (0xFFFFFFFF, 0xFFFFFFFF)}
    is_same = (
        magic == ZIP_MAGIC
        and flags == entry.flag_bits
        and method == entry.compress_type
        and name == entry.orig_filename.encode("utf-8")
        and (stored, plain) in sizes
        and crc in (0, entry.CRC)
    )
    if not is_same or (not has_lengths_after and (crc, plain) == (0, 0) and entry.file_size):
        raise UnsafeFile(f"{path}: its zip describes {entry.filename[:80]!r} in two ways")
    end = entry.header_offset + _LOCAL.size + name_bytes + extra_bytes + entry.file_size
    if not has_lengths_after:
        return end
    stream.seek(end)
    if stream.read(4) != b"PK\x07\x08":
        raise UnsafeFile(f"{path}: its zip entry {entry.filename[:80]!r} is longer or shorter than announced")
    # torch's writer takes the long form for what is large, and for everything that begins behind 4 GiB.
    is_long = max(plain, entry.file_size, entry.header_offset) >= 0xFFFFFFFF
    return _descriptor_end(path, stream, entry, end, is_long=is_long)


def _descriptor_end(
    path: Path, stream: BinaryIO, entry: zipfile.ZipInfo, start: int, *, is_long: bool
) -> int:
    """The lengths after the data: checksum, then twice the size in 4 or 8 bytes."""
    stream.seek(start + 4)
    form = struct.Struct("<IQQ" if is_long else "<III")
    crc, stored, plain = form.unpack(stream.read(form.size))
    if (crc, stored, plain) != (entry.CRC, entry.file_size, entry.file_size):
        raise UnsafeFile(f"{path}: its zip describes {entry.filename[:80]!r} in two ways")
    return start + 4 + form.size
