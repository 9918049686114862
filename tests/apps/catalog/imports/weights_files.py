"""Small real weights files, built without torch: headers of the real layouts over pseudo-random numbers."""

from __future__ import annotations

import hashlib
import json
import random
import struct
from pathlib import Path

Shape = list[int]


def safetensors_bytes(
    tensors: dict[str, Shape], *, seed: int = 0, metadata: dict[str, str] | None = None
) -> bytes:
    """F16 tensors with small finite numbers."""
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    at = 0
    for name, shape in tensors.items():
        count = 1
        for side in shape:
            count *= side
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [at, at + 2 * count]}
        at += 2 * count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    # 0x3xxx: numbers between 0.1 and 1 in half precision, whatever the lower byte.
    noise = random.Random(seed).randbytes(at // 2)
    body = bytearray(at)
    body[0::2] = noise
    body[1::2] = b"\x30" * (at // 2)
    return struct.pack("<Q", len(text)) + text + bytes(body)


def lora_tensors(rank: int) -> dict[str, Shape]:
    """A kohya LoRA of Stable Diffusion 1.x; about 10 kB a rank."""
    tensors: dict[str, Shape] = {}
    for block, width in (("down_blocks_1", 640), ("down_blocks_2", 1280)):
        for projection, inner in (("attn1_to_q", width), ("attn2_to_k", 768)):
            base = f"lora_unet_{block}_attentions_0_transformer_blocks_0_{projection}"
            tensors[f"{base}.lora_down.weight"] = [rank, inner]
            tensors[f"{base}.lora_up.weight"] = [width, rank]
            tensors[f"{base}.alpha"] = []
    return tensors


def write_lora(path: Path, *, rank: int = 4, seed: int = 0) -> Path:
    """One LoRA file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(safetensors_bytes(lora_tensors(rank), seed=seed))
    return path


def write_sizable_lora(path: Path, *, seed: int = 0) -> Path:
    """One of 3.7 MB, for whatever needs a download that lasts."""
    return write_lora(path, rank=256, seed=seed)


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
