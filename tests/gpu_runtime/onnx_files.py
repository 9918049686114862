"""Small ONNX files, written field by field: no ONNX library is installed."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

Side = int | str
FLOAT, INT64, FLOAT16, DOUBLE = 1, 7, 10, 11


def varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def part(field: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(data)) + data


def value_info(name: str, shape: Sequence[Side], dtype: int = FLOAT) -> bytes:
    """A graph's input or output; sides that are texts may vary."""
    sides = b"".join(part(1, number(1, side) if isinstance(side, int) else part(2, side)) for side in shape)
    return part(1, name) + part(2, part(1, number(1, dtype) + part(2, sides)))


def tensor(name: str, shape: Sequence[int], values: Sequence[float], extra: bytes = b"") -> bytes:
    sides = b"".join(number(1, side) for side in shape)
    return (
        sides + number(2, FLOAT) + part(8, name) + part(9, struct.pack(f"<{len(values)}f", *values)) + extra
    )


def node(kind: str, inputs: Sequence[str], outputs: Sequence[str], rest: bytes = b"") -> bytes:
    return (
        b"".join(part(1, each) for each in inputs)
        + b"".join(part(2, each) for each in outputs)
        + part(4, kind)
        + rest
    )


def model(graph: bytes, rest: bytes = b"") -> bytes:
    return number(1, 8) + part(2, "tests") + part(8, number(2, 13)) + part(7, graph) + rest


def cut_out_bytes(
    *,
    image: Sequence[Side] = (1, 3, 64, 64),
    mask: Sequence[Side] = (1, 1, 64, 64),
    dtype: int = FLOAT,
    more_inputs: Sequence[str] = (),
    weights: bytes = b"",
    node_rest: bytes = b"",
    rest: bytes = b"",
) -> bytes:
    """A network whose mask is how much of a picture's colour is red rather than blue."""
    red = tensor("red", (1, 3, 1, 1), (8.0, 0.0, -8.0), weights)
    graph = b"".join(
        [
            part(1, node("Conv", ["image", "red"], ["red_rather_than_blue"], node_rest)),
            part(1, node("Sigmoid", ["red_rather_than_blue"], ["mask"])),
            part(2, "cut_out"),
            part(5, red),
            part(11, value_info("image", image, dtype)),
            *(part(11, value_info(name, (1,))) for name in more_inputs),
            part(12, value_info("mask", mask)),
        ]
    )
    return model(graph, rest)


def restorer_bytes(
    *,
    face: Sequence[Side] = (1, 3, 512, 512),
    restored: Sequence[Side] = (1, 3, 512, 512),
    gain: Sequence[float] = (1.0, 1.0, 1.0),
    weight_type: int = 0,
) -> bytes:
    """A network whose face has its colours times `gain`; with a weight of this type, times that as well."""
    nodes = [part(1, node("Mul", ["input", "gain"], ["brighter" if weight_type else "output"]))]
    inputs = [part(11, value_info("input", face))]
    if weight_type:
        to_float = part(5, part(1, "to") + number(3, FLOAT) + number(20, 2))
        nodes.append(part(1, node("Cast", ["weight"], ["share"], to_float)))
        nodes.append(part(1, node("Mul", ["brighter", "share"], ["output"])))
        inputs.append(part(11, value_info("weight", (1,), weight_type)))
    graph = [*nodes, part(2, "restorer"), part(5, tensor("gain", (1, 3, 1, 1), gain)), *inputs]
    return model(b"".join([*graph, part(12, value_info("output", restored))]))


def write_restorer(file: Path, **given: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(restorer_bytes(**given))  # type: ignore[arg-type]  # of restorer_bytes
    return file


def write_cut_out(file: Path, **given: object) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(cut_out_bytes(**given))  # type: ignore[arg-type]  # of cut_out_bytes
    return file
