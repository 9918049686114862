"""Writes the canonical safetensors file: a piece in memory at a time, each number checked, hashed on the way.

Equal tensors give equal bytes: larger elements first (views of a mapped file must be aligned), then by name,
no metadata but {"format": "pt"}.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.importing.lazy_tensors import numbers
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode
from gpu_runtime.weights.importing.sources import DTYPE_NAMES

PIECE_BYTES = 16 << 20
"""Converted, checked, hashed and written at a time."""

PIECES_AHEAD = 4
CHECKED_AT_A_TIME = 1 << 18
"""Numbers whose exponents stay in the processor's cache."""

_EXPONENTS: Mapping[torch.dtype, tuple[type[np.unsignedinteger[Any]], int]] = {
    torch.float64: (np.uint64, 0x7FF0000000000000),
    torch.float32: (np.uint32, 0x7F800000),
    torch.float16: (np.uint16, 0x7C00),
    torch.bfloat16: (np.uint16, 0x7F80),
    torch.float8_e5m2: (np.uint8, 0x7C),
    # It has no infinity, and one NaN of either sign: every bit but that.
    torch.float8_e4m3fn: (np.uint8, 0x7F),
}
"""The bits that are all set in what is no finite number. Any: numpy's own parameter."""

OnBytes = Callable[[int], None]
"""Called with bytes that are done since the last call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """One finished file."""

    sha256: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Planned:
    """One tensor and the dtype it is stored in."""

    tensor: Tensor
    dtype: torch.dtype

    @property
    def size_bytes(self) -> int:
        return self.tensor.numel() * self.dtype.itemsize


def stored_bytes(plan: Mapping[str, Planned]) -> int:
    """Bytes the numbers will take."""
    return sum(each.size_bytes for each in plan.values())


def write_safetensors(file: Path, plan: Mapping[str, Planned], on_bytes: OnBytes) -> Written:
    """Write the file and return what it hashes to.

    Raises WeightsCorrupt naming the first tensor with a number that is not finite, ImportRefused for one that
    does not fit its new dtype.
    """
    names = _order(plan)
    header = header_of(plan)
    with (
        file.open("xb", buffering=0) as stream,
        ThreadPoolExecutor(1) as hashing,
        ThreadPoolExecutor(1) as writing,
    ):
        sink = _Sink(stream.fileno(), on_bytes, hashing, writing)
        sink.put(memoryview(header))
        for name in names:
            for piece in _pieces(name, plan[name]):
                sink.put(piece)
        return sink.finish()


def _order(plan: Mapping[str, Planned]) -> list[str]:
    return sorted(plan, key=lambda name: (-plan[name].dtype.itemsize, name))


def header_of(plan: Mapping[str, Planned]) -> bytes:
    """Everything in the file before the numbers."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    position = 0
    for name in _order(plan):
        end = position + plan[name].size_bytes
        entries[name] = {
            "dtype": DTYPE_NAMES[plan[name].dtype],
            "shape": list(plan[name].tensor.shape),
            "data_offsets": [position, end],
        }
        position = end
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _pieces(name: str, planned: Planned) -> Iterator[memoryview]:
    """The bytes of one tensor, converted and checked bit by bit while the ones before are being written."""
    source = numbers(planned.tensor).contiguous().reshape(-1)
    step = PIECE_BYTES // planned.dtype.itemsize
    for start in range(0, source.numel(), step):
        piece = source[start : start + step]
        stored = piece.to(planned.dtype)
        if not is_finite(stored):
            if is_finite(piece):
                raise ImportRefused(
                    RefusalCode.UNSUPPORTED_MODEL,
                    f"{name} has numbers too large for {DTYPE_NAMES[planned.dtype]}: import with --precision "
                    "bfloat16 or keep",
                )
            raise WeightsCorrupt(f"{name} contains numbers that are not finite (NaN or infinity)")
        yield stored.view(torch.uint8).numpy().data


def is_finite(tensor: Tensor) -> bool:
    """Whether no number of a contiguous tensor is NaN or infinite.

    Those have every bit of the exponent set, so whole numbers tell: three times as fast as torch's own test.
    """
    if tensor.dtype not in _EXPONENTS or not tensor.numel():
        return True
    unsigned, ones = _EXPONENTS[tensor.dtype]
    bits = tensor.reshape(-1).view(torch.uint8).numpy().view(unsigned)
    exponents = np.empty(min(CHECKED_AT_A_TIME, len(bits)), dtype=unsigned)
    for start in range(0, len(bits), CHECKED_AT_A_TIME):
        piece = bits[start : start + CHECKED_AT_A_TIME]
        if np.bitwise_and(piece, ones, out=exponents[: len(piece)]).max() == ones:
            return False
    return True


class _Sink:
    """Hashes and writes in the background, each on its own thread, a few pieces behind the reader."""

    def __init__(self, descriptor: int, on_bytes: OnBytes, hashing: Executor, writing: Executor) -> None:
        self._descriptor = descriptor
        self._on_bytes = on_bytes
        self._executors = (hashing, writing)
        self._hash = hashlib.sha256()
        self._size = 0
        self._running: deque[tuple[Future[None], Future[None]]] = deque()

    def put(self, piece: memoryview) -> None:
        """Take one piece, whose memory must not change any more."""
        if len(self._running) >= PIECES_AHEAD:
            self._wait()
        hashing, writing = self._executors
        self._running.append((hashing.submit(self._hash.update, piece), writing.submit(self._write, piece)))
        self._size += len(piece)
        self._on_bytes(len(piece))

    def finish(self) -> Written:
        while self._running:
            self._wait()
        return Written(sha256=self._hash.hexdigest(), size_bytes=self._size)

    def _wait(self) -> None:
        for each in self._running.popleft():
            each.result()

    def _write(self, piece: memoryview) -> None:
        left = piece
        while left:
            left = left[os.write(self._descriptor, left) :]
