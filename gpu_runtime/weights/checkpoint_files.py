"""What lies in a checkpoint's folder: its components and how many bytes they will take. Reads no tensor."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import torch

from gpu_runtime.errors import CheckpointMissing
from gpu_runtime.weights.loader import NETWORKS, component_classes
from gpu_runtime.weights.safetensors_header import read_header
from gpu_runtime.weights.staging import weight_files

Stamp = tuple[tuple[str, int, int], ...]
"""Name, time of last change in nanoseconds and bytes of each file of a component."""

WHOLE_NUMBERS = ("BOOL", "I", "U")
"""How safetensors' names of types begin that no conversion touches."""


def component_folders(folder: Path) -> dict[str, Path]:
    """Real path of each component that is there, by name. Raises WeightsCorrupt."""
    # A name is data: one that leads elsewhere is no component.
    names = [name for name in component_classes(folder) if Path(name).name == name]
    return {name: (folder / name).resolve() for name in names if (folder / name).is_dir()}


def network_folders(folder: Path) -> list[Path]:
    """Real paths of the components that families ask for; not of others, such as a safety checker."""
    classes = component_classes(folder)
    return [path for name, path in component_folders(folder).items() if classes[name] in NETWORKS]


def component_stamp(folder: Path) -> Stamp:
    """What tells a component's files from others that took their place; empty for a folder that is not there.

    Components of the store never change, but a folder that an operator registered may be replaced.
    """
    try:
        files = [entry for entry in os.scandir(folder) if entry.is_file()]
        stats = [(entry.name, entry.stat()) for entry in files]
    except OSError:
        return ()
    return tuple(sorted((name, stat.st_mtime_ns, stat.st_size) for name, stat in stats))


def checkpoint_stamp(folder: Path) -> tuple[Stamp, ...]:
    """The same of a checkpoint's folder with its components."""
    try:
        components = sorted(each for each in folder.iterdir() if each.is_dir())
    except OSError:
        return ()
    return (component_stamp(folder), *map(component_stamp, components))


def weights_bytes(folder: Path, dtype: torch.dtype) -> int:
    """Bytes of one component's tensors once they have the dtype; 0 for what has none, such as a tokenizer.

    Remembered for as long as its files are the same. Raises WeightsCorrupt.
    """
    return _weights_bytes(folder, component_stamp(folder), dtype)


def file_bytes(file: Path, dtype: torch.dtype) -> int:
    """Bytes of one safetensors file's tensors once they have the dtype. Raises WeightsCorrupt."""
    return sum(
        tensor.size_bytes if tensor.dtype.startswith(WHOLE_NUMBERS) else tensor.elements * dtype.itemsize
        for tensor in read_header(file).tensors.values()
    )


@lru_cache(maxsize=4096)
def _weights_bytes(folder: Path, stamp: Stamp, dtype: torch.dtype) -> int:
    try:
        files = weight_files(folder)
    except CheckpointMissing:
        return 0
    return sum(file_bytes(file, dtype) for file in files)
