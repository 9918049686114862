"""What a header says about one tensor. Knows the formats' dtype names, not the numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

DTYPE_BITS: Mapping[str, int] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "I64": 64,
    "U64": 64,
    "F64": 64,
    "C64": 64,
}
"""Bits of one element, by safetensors' names."""

MAX_TENSORS = 100_000
"""Ten times what the largest published image model has; more is no model but an attack on memory."""

MAX_RANK = 8
"""Video convolutions have 5 dimensions; nothing published has more than 6."""

MAX_SIDE = 2**63 - 1
"""Sizes are signed 64-bit numbers everywhere after this."""


@dataclass(frozen=True, slots=True)
class TensorFacts:
    """Shape and element type of one tensor."""

    dtype: str
    """A key of DTYPE_BITS."""
    shape: tuple[int, ...]

    @property
    def elements(self) -> int:
        return math.prod(self.shape)

    @property
    def size_bytes(self) -> int:
        """Bytes of the dense tensor, rounded up."""
        return (self.elements * DTYPE_BITS[self.dtype] + 7) // 8
