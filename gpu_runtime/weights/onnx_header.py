"""What an ONNX file takes and makes, read from its graph without running anything. Knows no ONNX library.

An ONNX file is one protocol buffer. Its messages are walked by their lengths: names, shapes and types are
read, and the numbers of its weights are stepped over. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

import mmap
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gpu_runtime.errors import NotRecognised, UnsafeFile, WeightsCorrupt

SUFFIX: Final = ".onnx"
MAX_MESSAGES: Final = 2_000_000
"""More than ten times those of the largest networks of this kind; a file of nothing but messages is none."""
MAX_DEPTH: Final = 12
"""Of graphs within nodes within graphs."""
MAX_TEXT: Final = 1000

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_LONGEST_VARINT: Final = 10

_MODEL_GRAPH: Final = 7
_MODEL_FUNCTIONS: Final = 25
_NODE, _INITIALIZER, _INPUT, _OUTPUT = 1, 5, 11, 12
_ATTRIBUTE, _DOMAIN = 5, 7
_ATTRIBUTE_TENSORS: Final = (5, 10)
_ATTRIBUTE_GRAPHS: Final = (6, 11)
_DATA_TYPE, _TENSOR_NAME, _RAW_DATA, _EXTERNAL_DATA, _DATA_LOCATION = 2, 8, 9, 13, 14

_STANDARD_DOMAINS: Final = ("", "ai.onnx", "com.microsoft")
"""Operators that onnxruntime brings itself."""

DTYPES: Final = {1: "F32", 2: "U8", 3: "I8", 6: "I32", 7: "I64", 9: "BOOL", 10: "F16", 11: "F64", 16: "BF16"}
"""Element types by ONNX' numbers, in safetensors' spelling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxValue:
    """An input or an output of the graph."""

    name: str
    dtype: str
    """A value of DTYPES; "" for others."""
    shape: tuple[int | None, ...] | None
    """None in place of a side that may vary; None as a whole where the file does not say."""


@dataclass(slots=True, kw_only=True)
class OnnxHeader:
    """What one file holds."""

    inputs: list[OnnxValue] = field(default_factory=list)
    """Without those that are weights."""
    outputs: list[OnnxValue] = field(default_factory=list)
    weights: int = 0
    dtype: str = ""
    """Of most of the bytes of the weights."""
    size_bytes: int = 0


def read_onnx_header(file: Path) -> OnnxHeader:
    """Inputs, outputs and a summary of the weights.

    Raises WeightsCorrupt for a file that is torn, UnsafeFile for one that reads other files, NotRecognised
    for one that needs operators of its own.
    """
    size = file.stat().st_size
    if not size:
        raise WeightsCorrupt(f"{file.name} is empty")
    with file.open("rb") as stream, mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as data:
        reader = _Reader(file.name, data)
        reader.read_model(size)
    header = OnnxHeader(inputs=reader.inputs, outputs=reader.outputs, size_bytes=size)
    header.inputs = [each for each in reader.inputs if each.name not in reader.weights]
    header.weights = len(reader.weights)
    most = reader.weight_bytes.most_common(1)
    header.dtype = most[0][0] if most else ""
    if not header.inputs or not header.outputs:
        raise WeightsCorrupt(f"{file.name} is no whole ONNX file: its graph has no inputs or no outputs")
    return header


@dataclass(frozen=True, slots=True)
class _Field:
    """One field of a message: a number, or where its bytes lie."""

    number: int
    value: int
    start: int
    end: int


class _Reader:
    """Walks one file."""

    def __init__(self, name: str, data: mmap.mmap) -> None:
        self.name = name
        self.data = data
        self.messages = 0
        self.inputs: list[OnnxValue] = []
        self.outputs: list[OnnxValue] = []
        self.weights: set[str] = set()
        self.weight_bytes: Counter[str] = Counter()

    def read_model(self, size: int) -> None:
        for each in self._fields(0, size):
            if each.number == _MODEL_GRAPH:
                self._read_graph(each, depth=0)
            elif each.number == _MODEL_FUNCTIONS:
                raise NotRecognised(f"{self.name} is an ONNX file with functions, which are not supported")

    def _read_graph(self, graph: _Field, *, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise self._torn("its graphs lie too deep within each other")
        for each in self._fields(graph.start, graph.end):
            if each.number == _NODE:
                self._read_node(each, depth)
            elif each.number == _INITIALIZER:
                self._read_tensor(each, is_weight=depth == 0)
            elif depth == 0 and each.number in (_INPUT, _OUTPUT):
                found = self.inputs if each.number == _INPUT else self.outputs
                found.append(self._value(each))

    def _read_node(self, node: _Field, depth: int) -> None:
        for each in self._fields(node.start, node.end):
            if each.number == _DOMAIN and self._text(each) not in _STANDARD_DOMAINS:
                raise NotRecognised(
                    f"{self.name} needs operators of {self._text(each)!r}, which onnxruntime does not have"
                )
            if each.number != _ATTRIBUTE:
                continue
            for part in self._fields(each.start, each.end):
                if part.number in _ATTRIBUTE_GRAPHS:
                    self._read_graph(part, depth=depth + 1)
                elif part.number in _ATTRIBUTE_TENSORS:
                    self._read_tensor(part, is_weight=False)

    def _read_tensor(self, tensor: _Field, *, is_weight: bool) -> None:
        dtype, name, size = "", "", tensor.end - tensor.start
        for each in self._fields(tensor.start, tensor.end):
            if each.number == _EXTERNAL_DATA or (each.number == _DATA_LOCATION and each.value):
                raise UnsafeFile(
                    f"{self.name} keeps its weights in other files, which it names itself: import a version "
                    "that is one file"
                )
            if each.number == _DATA_TYPE:
                dtype = DTYPES.get(each.value, "")
            elif each.number == _TENSOR_NAME:
                name = self._text(each)
        if is_weight:
            self.weights.add(name)
            self.weight_bytes[dtype] += size

    def _value(self, value: _Field) -> OnnxValue:
        name, dtype, shape = "", "", None
        for each in self._fields(value.start, value.end):
            if each.number == 1:
                name = self._text(each)
            elif each.number == 2:
                for tensor in self._fields(each.start, each.end):
                    if tensor.number == 1:
                        dtype, shape = self._tensor_type(tensor)
        return OnnxValue(name=name, dtype=dtype, shape=shape)

    def _tensor_type(self, tensor: _Field) -> tuple[str, tuple[int | None, ...] | None]:
        dtype, shape = "", None
        for each in self._fields(tensor.start, tensor.end):
            if each.number == 1:
                dtype = DTYPES.get(each.value, "")
            elif each.number == 2:
                sides = [part for part in self._fields(each.start, each.end) if part.number == 1]
                shape = tuple(self._side(side) for side in sides)
        return dtype, shape

    def _side(self, side: _Field) -> int | None:
        """None where it is a name or nothing: then it may vary."""
        given = [each.value for each in self._fields(side.start, side.end) if each.number == 1]
        return given[-1] if given and given[-1] > 0 else None

    def _fields(self, start: int, end: int) -> Iterator[_Field]:
        """The fields of one message, in their order. Raises WeightsCorrupt where they do not fit it."""
        at = start
        while at < end:
            self.messages += 1
            if self.messages > MAX_MESSAGES:
                raise self._torn(f"it has more than {MAX_MESSAGES} fields")
            tag, at = self._varint(at, end)
            number, wire = tag >> 3, tag & 7
            value, first = 0, at
            if wire == _VARINT:
                value, at = self._varint(at, end)
            elif wire == _BYTES:
                length, first = self._varint(at, end)
                at = first + length
            elif wire in (_FIXED64, _FIXED32):
                at += 8 if wire == _FIXED64 else 4
            else:
                raise self._torn(f"byte {first} begins no field")
            if at > end or not number:
                raise self._torn(f"a part of it ends behind byte {end}")
            yield _Field(number, value, first, at)

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        value = 0
        for index in range(_LONGEST_VARINT):
            if at + index >= end:
                break
            byte = self.data[at + index]
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value, at + index + 1
        raise self._torn(f"there is no number at byte {at}")

    def _text(self, each: _Field) -> str:
        return self.data[each.start : min(each.end, each.start + MAX_TEXT)].decode("utf-8", "replace")

    def _torn(self, why: str) -> WeightsCorrupt:
        return WeightsCorrupt(f"{self.name} is no whole ONNX file: {why}; fetch it again")
