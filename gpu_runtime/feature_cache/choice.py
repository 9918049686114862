"""Which rows of a call run all blocks, and how the two kinds of rows come together again."""

from __future__ import annotations

import torch
from torch import Tensor

from gpu_runtime.execution.lattice import bucket_of
from gpu_runtime.feature_cache.features import PartFeatures

MOST_REUSED = 3
"""Calls in a row that may reuse one: small changes add up."""


class Choice:
    """Made once in a call, when the first block has run for all rows."""

    def __init__(self, features: PartFeatures, first: Tensor) -> None:
        """`first` is what the first block made, [rows, ...]. Waits for the device."""
        self._features = features
        self._first = first
        self.rows = first.shape[0]
        changes = _changes(features, first)
        self.active = [row for row, change in enumerate(changes) if change > features.threshold]
        """Rows for which all blocks run."""
        # Filled up to the lattice, so that compiled blocks know the number.
        bucket = min(bucket_of(len(self.active)), self.rows) if self.active else 0
        filled = self.active + self.active[-1:] * (bucket - len(self.active))
        self.index = torch.tensor(filled, dtype=torch.int64, device=first.device)
        """The rows that the remaining blocks are given."""

    @property
    def is_whole(self) -> bool:
        """Whether all rows run through all blocks."""
        return len(self.active) == self.rows

    def merge(self, rest: Tensor) -> Tensor:
        """What the deep blocks were asked for, [rows, ...]: `rest` [index, ...] where they ran, else earlier.

        Notes for each row what it is to remember.
        """
        features, active = self._features, set(self.active)
        for position, row in enumerate(self.active):
            features.note_computed(row, first=self._first[row : row + 1], rest=rest[position : position + 1])
        if self.is_whole:
            return rest
        for row in set(range(self.rows)) - active:
            features.note_reused(row)
        return torch.cat([features.found[features.start + row].rest for row in range(self.rows)])


def _changes(features: PartFeatures, first: Tensor) -> list[float]:
    """Of each row, relative to the call it remembers; infinite where it must not be reused.

    Of the shape of a residual: mean |now - then| / mean |then|, as in first-block caching
    (ParaAttention, github.com/chengzeyi/ParaAttention).
    """
    usable = [
        earlier is not None and earlier.reused < MOST_REUSED and earlier.first.shape[1:] == first.shape[1:]
        for earlier in features.earlier
    ]
    if not any(usable) or features.threshold <= 0:
        return [float("inf")] * len(usable)
    then = torch.cat(
        [
            earlier.first if earlier is not None and is_usable else first[row : row + 1]
            for row, (earlier, is_usable) in enumerate(zip(features.earlier, usable, strict=True))
        ]
    ).float()
    difference = (first.float() - then).abs().flatten(1).mean(1)
    relative = (difference / then.abs().flatten(1).mean(1)).tolist()
    return [change if is_usable else float("inf") for change, is_usable in zip(relative, usable, strict=True)]
