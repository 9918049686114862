"""Safetensors files that are broken, each in one way, and what must be said about it."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

DATA = bytes(range(32))
"""Two tensors: "a", four float32; "b", two by four float16."""


@dataclass(frozen=True, slots=True)
class Broken:
    """One file."""

    name: str
    data: bytes
    says: str


def entry(dtype: Any, shape: Any, offsets: Any) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def good_entries() -> dict[str, Any]:
    return {"a": entry("F32", [4], [0, 16]), "b": entry("F16", [2, 4], [16, 32])}


def packed(header: bytes, data: bytes = DATA, *, length: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if length is None else length) + header + data


def of(header: Any, data: bytes = DATA) -> bytes:
    return packed(json.dumps(header).encode(), data)


GOOD = of(good_entries())


def _with(name: str, value: Any, data: bytes = DATA) -> bytes:
    return of(good_entries() | {name: value}, data)


def broken_safetensors() -> Iterator[Broken]:
    yield from _cut_files()
    yield from _lengths()
    yield from _json()
    yield from _entries()
    yield from _places()


def _cut_files() -> Iterator[Broken]:
    yield Broken("empty file", b"", "is empty")
    yield Broken("one byte", b"\x10", "too short")
    yield Broken("seven bytes", GOOD[:7], "too short")
    yield Broken("only the length", GOOD[:8], "is truncated")
    yield Broken("half of the header", GOOD[:60], "is truncated")
    yield Broken("no tensors", GOOD[: -len(DATA)], "is truncated: its tensors need 32 bytes, 0 are there")
    yield Broken("one byte missing", GOOD[:-1], "is truncated: its tensors need 32 bytes, 31 are there")
    yield Broken("one byte more", GOOD + b"\x00", "1 bytes after its last tensor")
    yield Broken("doubled", GOOD + GOOD, "after its last tensor")
    yield Broken("zeros", bytes(4096), "does not begin with an object")


def _lengths() -> Iterator[Broken]:
    header = json.dumps(good_entries()).encode()
    yield Broken("length zero", packed(header, length=0), "does not begin with an object")
    yield Broken("length too large by one", packed(header, b"", length=len(header) + 1), "is truncated")
    yield Broken("huge length", packed(header, length=10**12), "does not fit in it")
    yield Broken("length 2^63", packed(header, length=2**63), "does not fit in it")
    yield Broken("length 2^64 - 1", packed(header, length=2**64 - 1), "does not fit in it")
    yield Broken("length too small", packed(header, length=len(header) - 2), "damaged header")


def _json() -> Iterator[Broken]:
    yield Broken("no JSON", packed(b"{this is no json}"), "damaged header")
    yield Broken("a list", of([1, 2, 3]), "does not begin with an object")
    yield Broken("text", of("tensors"), "does not begin with an object")
    yield Broken("a space first", packed(b" " + json.dumps(good_entries()).encode()), "does not begin with")
    yield Broken("two objects", packed(b"{}{}", b""), "damaged header")
    yield Broken("invalid UTF-8", packed(b'{"\xff\xfe": 1}'), "damaged header")
    yield Broken("byte-order mark", packed(b"\xef\xbb\xbf{}", b""), "does not begin with an object")
    yield Broken("deep lists", packed(b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"), "nested too deeply")
    yield Broken("deep objects", packed(b'{"a":' * 50_000 + b"1" + b"}" * 50_000), "nested too deeply")
    yield Broken(
        "a million lists", packed(b'{"a":[' + b"[]," * 1_000_000 + b"[]]}"), "more than 1000000 lists"
    )
    again = json.dumps(entry("F32", [4], [0, 16]))
    twice = f'{{"a":{again},"a":{again}}}'.encode()
    yield Broken("a name twice", packed(twice, DATA[:16]), "'a' appears twice")
    yield Broken(
        "a key twice",
        packed(b'{"a":{"dtype":"F32","dtype":"F16","shape":[],"data_offsets":[0,4]}}'),
        "appears twice",
    )
    yield Broken("NaN", packed(b'{"a":{"dtype":"F32","shape":[NaN],"data_offsets":[0,4]}}'), "NaN is no JSON")
    yield Broken(
        "Infinity",
        packed(b'{"a":{"dtype":"F32","shape":[Infinity],"data_offsets":[0,4]}}'),
        "Infinity is no JSON",
    )
    yield Broken(
        "long number",
        packed(b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,4]}}'),
        "damaged header",
    )
    yield Broken("metadata is a list", _with("__metadata__", ["pt"]), "must map text to text")
    yield Broken("metadata of numbers", _with("__metadata__", {"epochs": 3}), "must map text to text")
    yield Broken("nested metadata", _with("__metadata__", {"a": {"b": "c"}}), "must map text to text")


def _entries() -> Iterator[Broken]:
    yield Broken(
        "entry is a list", _with("a", ["F32", [4], [0, 16]]), "without exactly dtype, shape and data_offsets"
    )
    yield Broken("entry is nothing", _with("a", None), "without exactly")
    yield Broken("no dtype", _with("a", {"shape": [4], "data_offsets": [0, 16]}), "without exactly")
    yield Broken("no offsets", _with("a", {"dtype": "F32", "shape": [4]}), "without exactly")
    yield Broken("another key", _with("a", entry("F32", [4], [0, 16]) | {"code": "x"}), "without exactly")
    yield Broken("unknown dtype", _with("a", entry("F33", [4], [0, 16])), "unknown type 'F33'")
    yield Broken("lower-case dtype", _with("a", entry("f32", [4], [0, 16])), "unknown type 'f32'")
    yield Broken("dtype is a list", _with("a", entry(["F32"], [4], [0, 16])), "unknown type")
    yield Broken("shape is a number", _with("a", entry("F32", 4, [0, 16])), "impossible shape")
    yield Broken("negative side", _with("a", entry("F32", [-4], [0, 16])), "impossible shape")
    yield Broken(
        "fractional side",
        packed(b'{"a":{"dtype":"F32","shape":[4.0],"data_offsets":[0,16]}}'),
        "no whole number",
    )
    yield Broken("side is true", _with("a", entry("F32", [True], [0, 4])), "impossible shape")
    yield Broken("side is text", _with("a", entry("F32", ["4"], [0, 16])), "impossible shape")
    yield Broken("side of 2^63", _with("a", entry("F32", [2**63], [0, 16])), "impossible shape")
    yield Broken("product beyond 64 bits", _with("a", entry("F32", [2**40, 2**40], [0, 16])), "in 16 bytes")
    yield Broken(
        "product that wraps to right", _with("a", entry("F32", [2**62, 2**62, 4], [0, 16])), "in 16 bytes"
    )
    yield Broken("many dimensions", _with("a", entry("F32", [1] * 50 + [4], [0, 16])), "impossible shape")
    yield Broken("shape too large", _with("a", entry("F32", [5], [0, 16])), "20 were right")
    yield Broken("shape too small", _with("a", entry("F32", [3], [0, 16])), "12 were right")
    yield Broken("dtype of another width", _with("a", entry("F16", [4], [0, 16])), "8 were right")
    yield Broken("half a byte", _with("a", entry("F4", [3], [0, 1])), "in 1 bytes")
    yield Broken("empty name", _with("", entry("F32", [0], [0, 0])), "names are printable")
    yield Broken("control character", _with("a\x00b", entry("F32", [0], [0, 0])), "names are printable")
    yield Broken("endless name", _with("n" * 2000, entry("F32", [0], [0, 0])), "names are printable")


def _places() -> Iterator[Broken]:
    yield Broken("negative offsets", _with("a", entry("F32", [4], [-16, 0])), "impossible offsets")
    yield Broken("offsets swapped", _with("a", entry("F32", [4], [16, 0])), "impossible offsets")
    yield Broken("three offsets", _with("a", entry("F32", [4], [0, 8, 16])), "impossible offsets")
    yield Broken("one offset", _with("a", entry("F32", [4], [16])), "impossible offsets")
    yield Broken("offsets are text", _with("a", entry("F32", [4], ["0", "16"])), "impossible offsets")
    yield Broken("offset of 2^63", _with("a", entry("F32", [4], [0, 2**63])), "impossible offsets")
    yield Broken("overlap", _with("b", entry("F16", [2, 4], [8, 24])), "overlapping the tensor before it")
    yield Broken("the same place", _with("b", entry("F32", [4], [0, 16])), "overlapping the tensor before it")
    yield Broken(
        "a hole", _with("b", entry("F16", [2, 4], [20, 36]), DATA + bytes(4)), "a hole of 4 bytes before b"
    )
    yield Broken("a hole at the start", _with("a", entry("F32", [2], [8, 16])), "a hole of 8 bytes before a")
    yield Broken("beyond the end", _with("b", entry("F16", [2, 400], [16, 1616])), "is truncated")
    yield Broken(
        "a tail that no tensor has", _with("b", entry("F16", [4], [16, 24])), "8 bytes after its last tensor"
    )
