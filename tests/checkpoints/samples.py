"""Stripped checkpoints: names, shapes and types of real files without the numbers, and the expected answers.

`stripped/NAME.json` says which published file it is and what identification must answer;
`stripped/NAME.header.json.gz` is its header: a type and a shape for every tensor. `write_sparse` makes a
safetensors file of it whose tensors are a hole in the file system: full length, no disk, all zeros.
"""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpu_runtime.weights.tensor_facts import TensorFacts

FOLDER = Path(__file__).parent / "stripped"


@dataclass(frozen=True, slots=True)
class Sample:
    """One published file without its numbers."""

    file: str
    """Its published name; identification may use it as weak evidence."""
    tensors: Mapping[str, TensorFacts]
    metadata: Mapping[str, str]
    expected: Mapping[str, Any]


def sample_names() -> list[str]:
    return sorted(path.name.removesuffix(".header.json.gz") for path in FOLDER.glob("*.header.json.gz"))


def load_sample(name: str) -> Sample:
    facts = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    packed = json.loads(gzip.decompress((FOLDER / f"{name}.header.json.gz").read_bytes()))
    return Sample(
        file=facts["file"],
        tensors={each: TensorFacts(dtype, tuple(shape)) for each, (dtype, shape) in packed.items()},
        metadata=facts["metadata"],
        expected=facts["expected"],
    )


def write_sample(name: str, sample: Sample) -> int:
    """Write both files of a sample; returns the bytes they take. Equal samples give equal bytes."""
    FOLDER.mkdir(exist_ok=True)
    packed = {each: [facts.dtype, list(facts.shape)] for each, facts in sorted(sample.tensors.items())}
    header = FOLDER / f"{name}.header.json.gz"
    header.write_bytes(gzip.compress(json.dumps(packed, separators=(",", ":")).encode(), mtime=0))
    described = {"file": sample.file, "metadata": dict(sample.metadata), "expected": dict(sample.expected)}
    answer = FOLDER / f"{name}.json"
    answer.write_text(json.dumps(described, indent=2) + "\n", encoding="utf-8")
    return header.stat().st_size + answer.stat().st_size


def write_sparse(
    file: Path, tensors: Mapping[str, TensorFacts], metadata: Mapping[str, str] | None = None
) -> Path:
    """A safetensors file of these tensors that takes no room for their numbers; returns `file`."""
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    position = 0
    for name, facts in tensors.items():
        end = position + facts.size_bytes
        entries[name] = {"dtype": facts.dtype, "shape": list(facts.shape), "data_offsets": [position, end]}
        position = end
    header = json.dumps(entries, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(header)) + header)
        stream.truncate(8 + len(header) + position)
    return file


def write_sparse_sample(name: str, folder: Path) -> Path:
    """The sample as a sparse file under its published name, in a folder whose name says nothing."""
    sample = load_sample(name)
    return write_sparse(folder / "weights" / sample.file, sample.tensors, sample.metadata)
