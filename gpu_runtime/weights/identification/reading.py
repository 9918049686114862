"""Opens files as far as identification may: headers, directories, and pickles opcode by opcode."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpu_runtime.errors import NotRecognised, NotWeights, WeightsCorrupt
from gpu_runtime.weights.identification.contents import Contents, of_pickle, of_safetensors
from gpu_runtime.weights.identification.sniff import (
    SAMPLE_BYTES,
    may_be_safetensors,
    not_weights,
    other_format,
)
from gpu_runtime.weights.identification.weight_files import WeightFiles
from gpu_runtime.weights.pickle_scan import looks_like_pickle, scan
from gpu_runtime.weights.safetensors_header import read_header
from gpu_runtime.weights.tensor_facts import TensorFacts
from gpu_runtime.weights.torch_archive import ZIP_MAGIC

_PICKLE_SUFFIXES = frozenset({".ckpt", ".pt", ".pth", ".bin", ".pkl"})


def open_file(path: Path, config: Mapping[str, Any] | None = None) -> Contents:
    """The contents of one file of weights, whatever its name says it is.

    Raises NotWeights, NotRecognised for other formats, WeightsCorrupt and UnsafeFile.
    """
    size = path.stat().st_size
    if not size:
        raise WeightsCorrupt(f"{path.name} is empty")
    with path.open("rb") as stream:
        start = stream.read(SAMPLE_BYTES)
    if start.startswith(ZIP_MAGIC) or looks_like_pickle(start):
        return of_pickle(path, scan(path), config)
    if what := not_weights(start):
        if path.suffix in _PICKLE_SUFFIXES and start[:1] in b"(c]}l" and b"\n" in start:
            scan(path)  # a pickle of the oldest protocol reads like text: name what is in it
        raise NotWeights(f"{path.name} is {what}")
    if what := other_format(start):
        raise NotRecognised(f"{path.name} is {what}")
    if may_be_safetensors(path, start, size):
        return of_safetensors(path, read_header(path), config)
    if path.suffix in _PICKLE_SUFFIXES:
        return of_pickle(path, scan(path), config)
    raise NotRecognised(f"{path.name} is no file of weights that is known here")


def open_files(chosen: WeightFiles, config: Mapping[str, Any]) -> Contents:
    """One version of a component's weights, shards together. Raises what `open_file` raises."""
    parts = [open_file(file, config) for file in chosen.files]
    if len(parts) == 1:
        return parts[0]
    tensors: dict[str, TensorFacts] = {}
    for part in parts:
        twice = tensors.keys() & part.tensors.keys()
        if twice:
            raise WeightsCorrupt(f"{part.path.name} repeats {min(twice)}, which another shard has")
        tensors |= part.tensors
    return Contents(
        path=chosen.files[0].parent / f"{chosen.stem}.safetensors",
        tensors=tensors,
        size_bytes=sum(part.size_bytes for part in parts),
        metadata=parts[0].metadata,
        config=config,
        is_pickle=chosen.is_pickle,
    )
