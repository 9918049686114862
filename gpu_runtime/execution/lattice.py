"""Few shapes for many batches: compiled calls have one of a few numbers of rows, filled up by repetition.

Knows which arguments of a network have a row for each row of the batch: all tensors whose first dimension is
the batch, but for those that diffusers' classes share between rows. Any throughout: arguments of diffusers'
networks are untyped.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

BUCKETS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
"""Numbers of rows that are compiled for: filling up costs at most a third, and mostly much less."""

SHARED = frozenset({"img_ids", "txt_ids", "image_rotary_emb", "ids"})
"""Arguments that hold for all rows alike; the length of one may happen to be that of the batch."""


def bucket_of(rows: int) -> int:
    """The fewest rows of the lattice that hold these; the rows themselves beyond its end."""
    return next((bucket for bucket in BUCKETS if bucket >= rows), rows)


def filling(rows: int, bucket: int, device: torch.device) -> Tensor:
    """Which row comes where when a call is filled up to the bucket: int64 [bucket], the last one repeated."""
    return torch.arange(bucket, device=device).clamp_(max=rows - 1)


def taken(values: Any, rows: int, index: Tensor) -> Any:
    """The same arguments for the rows `index` of a batch of `rows`: nested tuples, lists and dicts alike."""
    if isinstance(values, Tensor):
        is_of_rows = values.ndim > 0 and values.shape[0] == rows
        return values.index_select(0, index) if is_of_rows else values
    if isinstance(values, dict):
        return {
            name: value if name in SHARED else taken(value, rows, index) for name, value in values.items()
        }
    if isinstance(values, tuple | list):
        return type(values)(taken(value, rows, index) for value in values)
    return values


def first_rows(values: Any, rows: int) -> Any:
    """The first rows of each tensor of a network's result."""
    if isinstance(values, Tensor):
        return values[:rows]
    if isinstance(values, dict):
        return type(values)({name: first_rows(value, rows) for name, value in values.items()})
    if isinstance(values, tuple | list):
        return type(values)(first_rows(value, rows) for value in values)
    return values
