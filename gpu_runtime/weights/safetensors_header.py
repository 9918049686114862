"""The header of a safetensors file, read before any tensor. Knows nothing about torch.

Weights are untrusted files: every number the header promises is compared with the others and with the file's
real size first, so that a truncated download is named as such instead of failing somewhere inside a loader.
At most MAX_HEADER_BYTES + 8 bytes of a file are ever read here.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.tensor_facts import DTYPE_BITS, MAX_RANK, MAX_SIDE, MAX_TENSORS, TensorFacts

MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""

MAX_OPENINGS = 1_000_000
"""Brackets a header may open: a parsed list costs forty times its bytes. MAX_TENSORS need a third of it."""

MAX_NAME_CHARACTERS = 1000

_METADATA = "__metadata__"
_KEYS = {"dtype", "shape", "data_offsets"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SafetensorsHeader:
    """What one file holds."""

    tensors: Mapping[str, TensorFacts]
    """In the order of the header."""
    metadata: Mapping[str, str]
    data_start: int
    """Offset of the first tensor's first byte."""
    offsets: Mapping[str, tuple[int, int]]
    """First and last-plus-one byte of each tensor, counted from `data_start`."""
    size_bytes: int
    """Of the whole file."""


def check_safetensors(file: Path) -> int:
    """Check one file's header against its size and return the number of tensors.

    Raises WeightsCorrupt when the file is truncated, too long or no safetensors file.
    """
    return len(read_header(file).tensors)


def read_header(file: Path) -> SafetensorsHeader:
    """Names, shapes, dtypes and metadata of a file whose header fits it exactly.

    Raises WeightsCorrupt, which names the first fault: a header that does not fit, is no JSON object, repeats
    a name, or describes tensors that are of an unknown type, of another size than their bytes, overlap,
    leave holes or do not end where the file ends.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        header_bytes = _header_length(file, stream.read(8), size)
        text = stream.read(header_bytes)
    entries = _parse(file, text)
    metadata = _metadata(file, entries.pop(_METADATA, {}))
    if len(entries) > MAX_TENSORS:
        raise WeightsCorrupt(f"{file} announces {len(entries)} tensors; at most {MAX_TENSORS} are read")
    tensors: dict[str, TensorFacts] = {}
    offsets: dict[str, tuple[int, int]] = {}
    for name, entry in entries.items():
        tensors[name], offsets[name] = _tensor(file, name, entry)
    _require_dense(file, offsets, size - 8 - header_bytes)
    return SafetensorsHeader(
        tensors=tensors, metadata=metadata, data_start=8 + header_bytes, offsets=offsets, size_bytes=size
    )


def _header_length(file: Path, prefix: bytes, size: int) -> int:
    if len(prefix) < 8:
        raise WeightsCorrupt(f"{file} is too short for a safetensors file ({size} bytes)")
    (header_bytes,) = struct.unpack("<Q", prefix)
    if header_bytes > size - 8:
        raise WeightsCorrupt(
            f"{file} is truncated, or no safetensors file: "
            f"its header of {header_bytes} bytes does not fit in it"
        )
    if header_bytes > MAX_HEADER_BYTES:
        raise WeightsCorrupt(
            f"{file} announces a header of {header_bytes} bytes; the format allows {MAX_HEADER_BYTES}"
        )
    return int(header_bytes)


def _parse(file: Path, text: bytes) -> dict[str, Any]:
    if not text.startswith(b"{"):
        raise WeightsCorrupt(f"{file} has a damaged header: it does not begin with an object")
    if text.count(b"{") + text.count(b"[") > MAX_OPENINGS:
        raise WeightsCorrupt(f"{file} has a header of more than {MAX_OPENINGS} lists and objects")
    try:
        parsed = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_float=_no_float,
        )
    except RecursionError as error:
        raise WeightsCorrupt(f"{file} has a damaged header: it is nested too deeply") from error
    except ValueError as error:
        raise WeightsCorrupt(f"{file} has a damaged header: {error}") from error
    if not isinstance(parsed, dict):
        raise WeightsCorrupt(f"{file} has a damaged header: it is no object")
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"the name {name[:80]!r} appears twice")
            seen.add(name)
    return table


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is no JSON")


def _no_float(text: str) -> float:
    raise ValueError(f"{text[:40]} is no whole number")


def _metadata(file: Path, value: Any) -> dict[str, str]:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise WeightsCorrupt(f"{file} has a damaged header: {_METADATA} must map text to text")
    return value


def _tensor(file: Path, name: str, entry: Any) -> tuple[TensorFacts, tuple[int, int]]:
    if not name or len(name) > MAX_NAME_CHARACTERS or not name.isprintable():
        raise WeightsCorrupt(f"{file} names a tensor {name[:40]!r}: names are printable and not that long")
    if type(entry) is not dict or entry.keys() != _KEYS:
        raise WeightsCorrupt(f"{file} describes {name} without exactly dtype, shape and data_offsets")
    dtype, shape, span = entry["dtype"], entry["shape"], entry["data_offsets"]
    bits = DTYPE_BITS.get(dtype) if type(dtype) is str else None
    if bits is None:
        raise WeightsCorrupt(f"{file} has {name} of the unknown type {str(dtype)[:40]!r}")
    if not _are_sizes(shape) or len(shape) > MAX_RANK:
        raise WeightsCorrupt(f"{file} has {name} of an impossible shape")
    if not _are_sizes(span) or len(span) != 2 or span[0] > span[1]:
        raise WeightsCorrupt(f"{file} has {name} at impossible offsets")
    facts = TensorFacts(dtype, tuple(shape))
    if math.prod(shape) * bits != 8 * (span[1] - span[0]):
        raise WeightsCorrupt(
            f"{file} has {name} of shape {shape} and type {dtype} in {span[1] - span[0]} bytes; "
            f"{facts.size_bytes} were right"
        )
    return facts, (span[0], span[1])


def _are_sizes(values: Any) -> bool:
    """Whether it is a list of whole numbers that fit everywhere; True and False are no numbers here."""
    if type(values) is not list:
        return False
    for each in values:  # noqa: SIM110  # a generator costs three times as much, for every tensor
        if type(each) is not int or not 0 <= each <= MAX_SIDE:
            return False
    return True


def _require_dense(file: Path, offsets: Mapping[str, tuple[int, int]], data_bytes: int) -> None:
    """Refuse tensors that overlap, leave holes, or do not end where the file ends."""
    position = 0
    for name, (start, end) in sorted(offsets.items(), key=lambda item: item[1]):
        if start < position:
            raise WeightsCorrupt(f"{file} has {name} overlapping the tensor before it")
        if start > position:
            raise WeightsCorrupt(f"{file} has a hole of {start - position} bytes before {name}")
        position = end
    if position > data_bytes:
        raise WeightsCorrupt(
            f"{file} is truncated: its tensors need {position} bytes, {data_bytes} are there"
        )
    if position < data_bytes:
        raise WeightsCorrupt(f"{file} has {data_bytes - position} bytes after its last tensor")
