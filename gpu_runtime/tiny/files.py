"""safetensors files whose bytes depend on their content alone (the library shuffles the metadata)."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DTYPES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}


def write_safetensors(
    tensors: Mapping[str, Tensor], file: Path, *, metadata: Mapping[str, str] | None = None
) -> None:
    """Write tensors sorted by name. Creates the file's folder."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    blocks, start = [], 0
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        block = tensor.reshape(-1).view(torch.uint8).numpy().tobytes()
        header[name] = {
            "dtype": DTYPES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [start, start + len(block)],
        }
        blocks.append(block)
        start += len(block)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)))
        stream.write(text)
        stream.writelines(blocks)
