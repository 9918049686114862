"""The header of a safetensors file, read before any tensor. Knows nothing about torch.

Weights are untrusted files: what the header promises is compared with the file's real size first, so that a
truncated download is named as such instead of failing somewhere inside a loader.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path

from gpu_runtime.errors import WeightsCorrupt

MAX_HEADER_BYTES = 100_000_000
"""The format's own limit."""


def check_safetensors(file: Path) -> int:
    """Check one file's header against its size and return the number of tensors.

    Raises WeightsCorrupt when the file is truncated, too long or no safetensors file.
    """
    size = file.stat().st_size
    with file.open("rb") as stream:
        prefix = stream.read(8)
        if len(prefix) < 8:
            raise WeightsCorrupt(f"{file} is too short for a safetensors file ({size} bytes)")
        (header_bytes,) = struct.unpack("<Q", prefix)
        if header_bytes > min(MAX_HEADER_BYTES, size - 8):
            raise WeightsCorrupt(
                f"{file} is truncated, or no safetensors file: its header does not fit in it"
            )
        header = stream.read(header_bytes)
    try:
        tensors = {name: entry for name, entry in json.loads(header).items() if name != "__metadata__"}
        end = max((entry["data_offsets"][1] for entry in tensors.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise WeightsCorrupt(f"{file} has a damaged header: {error!r}") from error
    if not isinstance(end, int) or 8 + header_bytes + end != size:
        raise WeightsCorrupt(f"{file} has {size} bytes where its header announces {8 + header_bytes + end}")
    return len(tensors)
