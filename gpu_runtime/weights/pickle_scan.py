"""Looks into files that torch.save wrote, without unpickling anything. Torch is not needed.

`scan` reads a zip's directory and its one pickle, or the pickles of the older format, and never the tensors.
It answers with names, shapes and types, or refuses: UnsafeFile for what could run code or hide something,
WeightsCorrupt for what is merely damaged. The refusal comes before anything of the file is acted upon.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, TypeAlias

from gpu_runtime.errors import NotRecognised, UnsafeFile, WeightsCorrupt
from gpu_runtime.weights.pickle_allowed import INERT_NAMES, NUMPY_NAMES, GlobalName, Plain, StorageFacts
from gpu_runtime.weights.pickle_machine import MAX_PICKLE_BYTES, PickleMachine
from gpu_runtime.weights.tensor_facts import MAX_TENSORS, TensorFacts
from gpu_runtime.weights.torch_archive import ZIP_MAGIC, read_archive

Scalar: TypeAlias = "str | int | float | bool"

WRAPPERS = ("state_dict", "params_ema", "params", "model_state_dict", "model", "module", "net")
"""Keys under which trainers put the state dict, the most telling first."""

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001

_END_OF_HEADER_LENGTH = b"\0\0\0\0{"
"""The upper half of the length with which a safetensors file begins, and the first byte of its header. No
pickle has that there: none of its instructions is a zero."""

_MAX_NESTING = 16
_MAX_VISITED = 3 * MAX_TENSORS
"""Values a file may have, shared ones counted each time: a few lists can refer to each other endlessly."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PickleFacts:
    """What one file of torch.save holds."""

    container: str
    """"zip" or "legacy"."""
    tensors: Mapping[str, TensorFacts]
    """By the names of the state dict; nested tables are joined with dots."""
    wrapper: str
    """Key of WRAPPERS the state dict was found under, "" when it is the file itself."""
    scalars: Mapping[str, Scalar]
    """Plain values beside or inside the state dict, by their joined names."""
    inert_globals: tuple[str, ...]
    """Names that are only mentioned; a loader must give them a stand-in instead of importing them."""
    numpy_globals: tuple[str, ...]
    """numpy functions with checked arguments; torch's restricted reader has to be told to accept them."""
    size_bytes: int


@dataclass(slots=True)
class _Flat:
    tensors: dict[str, TensorFacts] = field(default_factory=dict)
    scalars: dict[str, Scalar] = field(default_factory=dict)
    visited: int = 0


def scan(path: Path) -> PickleFacts:
    """Names, shapes and types in a file of torch.save.

    Raises UnsafeFile naming the first global, opcode or trick that weights never need, WeightsCorrupt for a
    damaged file, NotRecognised for harmless pickles that hold no tensors.
    """
    size = path.stat().st_size
    with path.open("rb") as stream:
        start = stream.read(4)
        stream.seek(0)
        if start == ZIP_MAGIC:
            root, machines = _read_zip(path, stream, size)
            container = "zip"
        else:
            root, machines = _read_legacy(path, stream, size)
            container = "legacy"
    wrapper, state = _unwrap(root)
    flat = _Flat()
    _flatten(state, "", flat, path, 0)
    if not flat.tensors:
        raise NotRecognised(f"{path} is a pickle without tensors")
    mentioned = {name for machine in machines for name in machine.globals}
    return PickleFacts(
        container=container,
        tensors=flat.tensors,
        wrapper=wrapper,
        scalars=flat.scalars,
        inert_globals=tuple(sorted(mentioned & INERT_NAMES)),
        numpy_globals=tuple(sorted(mentioned & NUMPY_NAMES)),
        size_bytes=size,
    )


def looks_like_pickle(start: bytes) -> bool:
    """Whether a file's first bytes are those of torch.save's older format, or of any binary pickle.

    A safetensors file begins like one when its header has, for example, 640 bytes: nine bytes or more of
    `start` tell the two apart.
    """
    is_binary = len(start) >= 2 and start[0] == 0x80 and start[1] in range(2, 6)
    return is_binary and start[4:9] != _END_OF_HEADER_LENGTH


def _read_zip(path: Path, stream: BinaryIO, size: int) -> tuple[Plain, list[PickleMachine]]:
    archive = read_archive(path, stream, size)
    machine = PickleMachine(archive.pickle, where=str(path))
    root = machine.run()
    if machine.position != len(archive.pickle):
        raise UnsafeFile(f"{path}: more follows the end of its pickle")
    if not archive.is_pickle_intact:
        raise WeightsCorrupt(f"{path} is damaged: the checksum of its pickle is wrong")
    for storage in machine.storages.values():
        found = archive.storage_bytes.get(storage.key)
        if found is None:
            raise WeightsCorrupt(f"{path}: the numbers of storage {storage.key[:40]!r} are missing")
        if found != storage.size_bytes:
            raise WeightsCorrupt(
                f"{path}: storage {storage.key[:40]!r} has {found} bytes instead of {storage.size_bytes}"
            )
    return root, [machine]


def _read_legacy(path: Path, stream: BinaryIO, size: int) -> tuple[Plain, list[PickleMachine]]:
    """Five pickles one after another, then each storage with its length before it."""
    data = stream.read(MAX_PICKLE_BYTES)
    if not looks_like_pickle(data[:2]) and not _looks_like_old_pickle(data):
        raise NotRecognised(f"{path} is neither a zip nor a pickle")
    first = PickleMachine(data, where=str(path))
    magic = first.run()
    if magic != LEGACY_MAGIC:
        if first.position != size:
            raise UnsafeFile(f"{path}: more follows the end of its pickle")
        raise NotRecognised(f"{path} is a pickle, but none that torch.save wrote")
    machines, values = [first], [magic]
    for _ in range(4):
        machine = PickleMachine(data, position=machines[-1].position, where=str(path))
        values.append(machine.run())
        machines.append(machine)
    _, protocol, system, root, keys = values
    if protocol != LEGACY_PROTOCOL or not isinstance(system, dict) or system.get("little_endian") is not True:
        raise WeightsCorrupt(f"{path}: written by a torch version or machine that is not supported")
    _check_legacy_storages(path, stream, machines[-1].position, size, keys, machines[3].storages)
    return root, machines


def _looks_like_old_pickle(data: bytes) -> bool:
    """Protocols 0 and 1 have no signature; they end with a full stop and begin with an opcode."""
    return data[-1:] == b"." and data[:1] in b"(c]}l)d\x80NIKMJSVX"


def _check_legacy_storages(
    path: Path,
    stream: BinaryIO,
    position: int,
    size: int,
    keys: Plain,
    storages: Mapping[str, StorageFacts],
) -> None:
    if not isinstance(keys, list) or sorted(map(str, keys)) != sorted(storages):
        raise WeightsCorrupt(f"{path}: its list of storages is not that of its tensors")
    for key in keys:
        stream.seek(position)
        length = stream.read(8)
        if len(length) != 8:
            raise WeightsCorrupt(f"{path} is truncated: storage {key[:40]!r} is missing")
        if struct.unpack("<q", length)[0] != storages[key].elements:
            raise WeightsCorrupt(f"{path}: storage {key[:40]!r} has another length than its tensors")
        position += 8 + storages[key].size_bytes
        if position > size:
            raise WeightsCorrupt(f"{path} is truncated: storage {key[:40]!r} is not complete")
    if position != size or stream.seek(0, os.SEEK_END) != size:
        raise UnsafeFile(f"{path}: {size - position} bytes follow its last storage")


def _unwrap(root: Plain) -> tuple[str, Plain]:
    """The state dict, and the key it was under."""
    if isinstance(root, dict) and not any(isinstance(value, TensorFacts) for value in root.values()):
        for key in WRAPPERS:
            inner = root.get(key)
            if isinstance(inner, dict) and any(isinstance(value, TensorFacts) for value in inner.values()):
                return key, inner
    return "", root


def _flatten(value: Plain, name: str, flat: _Flat, path: Path, depth: int) -> None:
    """Collect tensors and plain values; a table that contains itself ends at the nesting limit."""
    flat.visited += 1
    if flat.visited > _MAX_VISITED or len(flat.tensors) > MAX_TENSORS:
        raise UnsafeFile(f"{path}: has more entries than any model")
    if depth > _MAX_NESTING:
        raise UnsafeFile(f"{path}: its tables are nested deeper than {_MAX_NESTING} levels")
    if isinstance(value, TensorFacts):
        flat.tensors[name] = value
    elif isinstance(value, str | int | float | bool):
        flat.scalars[name] = value
    elif isinstance(value, dict):
        for key, each in value.items():
            if not isinstance(key, GlobalName):
                _flatten(each, f"{name}.{key}" if name else str(key), flat, path, depth + 1)
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            _flatten(each, f"{name}.{index}" if name else str(index), flat, path, depth + 1)
