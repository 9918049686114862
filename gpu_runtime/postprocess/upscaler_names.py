"""Names of tensors in RRDB files of older trainers, turned into those of Real-ESRGAN.

Most community upscalers come in the numbered layout; the shapes are the same in all of them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_BLOCK = re.compile(r"(?:RRDB_trunk|model\.1\.sub)\.(\d+)\.RDB([123])\.conv([1-5])(?:\.0)?\.(weight|bias)")
_AFTER_BLOCKS = re.compile(r"model\.1\.sub\.\d+\.(weight|bias)")

_FIRST = {
    "trunk_conv": "conv_body",
    "upconv1": "conv_up1",
    "upconv2": "conv_up2",
    "HRconv": "conv_hr",
}
"""Of the first ESRGAN and RealSR releases."""

_NUMBERED = {
    "model.0": "conv_first",
    "model.3": "conv_up1",
    "model.6": "conv_up2",
    "model.8": "conv_hr",
    "model.10": "conv_last",
}
"""Positions in the sequence that the old trainer saved, for networks that enlarge in two doublings."""


def renamed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same tensors by the names of `upscalers`; names that are none of the older ones stay."""
    return {_name(name): tensor for name, tensor in tensors.items()}


def _name(name: str) -> str:
    block = _BLOCK.fullmatch(name)
    if block:
        return f"body.{block[1]}.rdb{block[2]}.conv{block[3]}.{block[4]}"
    after = _AFTER_BLOCKS.fullmatch(name)
    if after:
        return f"conv_body.{after[1]}"
    stem, _, ending = name.rpartition(".")
    stem = _FIRST.get(stem, _NUMBERED.get(stem, stem))
    return f"{stem}.{ending}" if stem else name
