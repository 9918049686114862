"""ControlNets of transformers have fewer blocks than the transformer: which result each block gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from gpu_runtime.controls.runs import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockResults:
    """What one run gave for the blocks of one kind."""

    run: Run
    results: Sequence[Tensor]
    """One for each of the ControlNet's blocks, [own rows, tokens, width]."""
    result_of: Callable[[int], int]
    """Which of them is added after a block of the transformer."""


def for_each_block(runs: Sequence[BlockResults], *, rows: int, blocks: int) -> list[Tensor] | None:
    """Sums [rows, tokens, width], one for each block of the transformer; None where there are none.

    Blocks with the same results share a tensor.
    """
    if not runs or not blocks:
        return None
    sums: dict[tuple[int, ...], Tensor] = {}
    added = []
    for block in range(blocks):
        chosen = tuple(each.result_of(block) for each in runs)
        if chosen not in sums:
            sums[chosen] = _sum(runs, chosen, rows)
        added.append(sums[chosen])
    return added


def _sum(runs: Sequence[BlockResults], chosen: Sequence[int], rows: int) -> Tensor:
    spread = [each.run.spread(each.results[which], rows) for each, which in zip(runs, chosen, strict=True)]
    total = spread[0]
    for more in spread[1:]:
        total = total + more
    return total
