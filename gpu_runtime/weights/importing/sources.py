"""Opens weights as lazy tensors by name: safetensors, one file or shards, and files of torch.save.

A file of torch.save is scanned first and then read by torch's restricted unpickler alone. What a file only
mentions (callbacks, training settings) becomes a stand-in without behaviour.
"""

from __future__ import annotations

import json
import mmap
import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.device_faults import is_out_of_memory
from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights import pickle_scan
from gpu_runtime.weights.importing.lazy_tensors import LazyTensor, lazy
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from gpu_runtime.weights.safetensors_header import read_header

Tensors = dict[str, Tensor]

PICKLE_SUFFIXES = frozenset({".ckpt", ".pt", ".pth", ".bin", ".pkl"})

TORCH_DTYPES: Mapping[str, torch.dtype] = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "I16": torch.int16,
    "I32": torch.int32,
    "I64": torch.int64,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
}
"""Element types that are read. The others belong to quantised formats no supported model comes in."""

DTYPE_NAMES: Mapping[torch.dtype, str] = {dtype: name for name, dtype in TORCH_DTYPES.items()}


class _StandIn:
    """Takes the place of a class that weights do not need. Accepts everything, does nothing."""

    def __init__(self, *arguments: object, **named: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


def open_weights(file: Path) -> Tensors:
    """The tensors of one file by name, lazily. Raises WeightsCorrupt, UnsafeFile or ImportRefused."""
    return open_pickle(file) if is_pickle(file) else open_safetensors(file)


def is_pickle(file: Path) -> bool:
    """Whether a file is read as one of torch.save: by its first bytes, whatever its name says."""
    with file.open("rb") as stream:
        start = stream.read(16)
    if start[:4] == b"PK\x03\x04" or pickle_scan.looks_like_pickle(start):
        return True
    return file.suffix in PICKLE_SUFFIXES


def open_safetensors(file: Path) -> Tensors:
    """The tensors of one safetensors file, as views of the mapped file when their numbers are asked for."""
    header = read_header(file)
    with file.open("rb") as stream:
        data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    tensors: Tensors = {}
    for name, facts in header.tensors.items():
        dtype = TORCH_DTYPES.get(facts.dtype)
        if dtype is None:
            raise ImportRefused(
                RefusalCode.UNSUPPORTED_MODEL,
                f"{file.name} has {name} of the type {facts.dtype}, which is not supported: import a version "
                "in float16, bfloat16 or float8",
            )
        start, end = header.offsets[name]
        span = slice(header.data_start + start, header.data_start + end)
        tensors[name] = lazy(facts.shape, dtype, _view(data, span, facts.shape, dtype))
    return tensors


def open_shards(index: Path) -> Tensors:
    """The tensors of several files that a `*.index.json` beside them names."""
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        files = {str(name) for name in weight_map.values()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsCorrupt(f"{index.name} is damaged: {error!r}") from error
    tensors: Tensors = {}
    for name in sorted(files):
        shard = index.parent / name
        if Path(name).name != name or not shard.is_file():
            raise WeightsCorrupt(f"{index.name} names {name}, which is not there: fetch the repository again")
        tensors |= open_weights(shard)
    missing = sorted(set(weight_map) - set(tensors))
    if missing:
        raise WeightsCorrupt(f"{index.name} names {missing[0]}, which none of its files holds")
    return {name: tensors[name] for name in weight_map}


def open_pickle(file: Path) -> Tensors:
    """The state dict in a file of torch.save.

    Raises UnsafeFile or WeightsCorrupt, and NotRecognised for a pickle without tensors.
    """
    facts = pickle_scan.scan(file)
    # The names were checked by the scan: none of them is imported, each becomes a stand-in.
    stand_ins = [(_StandIn, name) for name in facts.inert_globals]
    numpy_names = [_numpy_global(name) for name in facts.numpy_globals]
    try:
        with torch.serialization.safe_globals([*stand_ins, *numpy_names]):
            loaded = torch.load(
                file, map_location="cpu", weights_only=True, mmap=True if facts.container == "zip" else None
            )
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, TypeError, ValueError) as error:
        if is_out_of_memory(error):
            raise MemoryError(f"{file.name} has to be read whole") from error
        raise WeightsCorrupt(f"{file.name} cannot be read: {str(error).splitlines()[0]}") from error
    found: Tensors = {}
    _flatten(loaded[facts.wrapper] if facts.wrapper else loaded, "", found)
    if set(found) != set(facts.tensors):
        raise WeightsCorrupt(f"{file.name} holds other tensors than its scan found")
    return {name: _as_lazy(tensor) for name, tensor in found.items()}


def total_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Bytes of all numbers."""
    return sum(tensor.numel() * tensor.dtype.itemsize for tensor in tensors.values())


def _view(data: mmap.mmap, span: slice, shape: tuple[int, ...], dtype: torch.dtype) -> Any:
    def read() -> Tensor:
        if span.start == span.stop:
            return torch.empty(shape, dtype=dtype)
        with warnings.catch_warnings():
            # Nobody writes to it: converted numbers are new tensors.
            warnings.filterwarnings("ignore", "The given buffer is not writable")
            flat = torch.frombuffer(data, dtype=torch.uint8, count=span.stop - span.start, offset=span.start)
        if span.start % dtype.itemsize:
            flat = flat.clone()
        return flat.view(dtype).reshape(shape)

    return read


def _as_lazy(tensor: Tensor) -> LazyTensor:
    plain = tensor.detach()
    return lazy(tuple(plain.shape), plain.dtype, lambda: plain)


def _flatten(value: Any, name: str, found: Tensors) -> None:
    """The tensors of nested tables and lists, their keys joined with dots, as `pickle_scan` names them."""
    if isinstance(value, Tensor):
        found[name] = value
        return
    if isinstance(value, Mapping):
        parts = [(str(key), each) for key, each in value.items() if not isinstance(key, type)]
    elif isinstance(value, list | tuple):
        parts = [(str(index), each) for index, each in enumerate(value)]
    else:
        return
    for key, each in parts:
        _flatten(each, f"{name}.{key}" if name else key, found)


def _numpy_global(name: str) -> Any:
    """A numpy function or type by the full name that the scan allowed."""
    module, _, attribute = name.rpartition(".")
    return getattr(__import__(module, fromlist=[attribute]), attribute), name
