"""Pictures as prompts of single rows of a call: hooks that add to attention while a network runs.

No weight and no attention processor changes, for networks are shared. Rows are grouped by adapter and number
of tokens, and a group costs one small attention more in each layer. A row without pictures is the same to the
bit as in a call without hooks, apart from a compiled network, which runs uncompiled while hooks are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gpu_runtime.adapters.applied import uncompiled
from gpu_runtime.host_values import on_device
from gpu_runtime.ip_adapters.use import PicturePrompt
from gpu_runtime.weights.loans import Loan


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows of a call that have one adapter, with equally many tokens."""

    adapter: Any
    """`build.LoadedAdapter`."""
    rows: Tensor
    """[rows] int64, on the device."""
    tokens: Tensor
    """[rows, tokens, width]."""
    scales: Tensor
    """[rows, 1, 1] float32, on the device."""

    def add(self, target: Tensor, attended: Tensor) -> Tensor:
        """A copy of `target` [B, n, width] with what its rows saw, [rows, n, width], at their scales."""
        scaled = (attended * self.scales).to(target.dtype)
        return target.index_add(0, self.rows, scaled)


Attach = Callable[[nn.Module, Sequence[Group]], Iterator[RemovableHandle]]
"""Puts the hooks of a kind of network in place, one after the other."""


@contextmanager
def attending(
    network: nn.Module,
    rows: Sequence[Sequence[PicturePrompt]],
    networks: Mapping[Loan, Any],
    attach: Attach,
) -> Iterator[None]:
    """While open, row i of calls of `network` attends to `rows[i]` as well. Any: `build.LoadedAdapter`.

    To be opened after `adapters.applied.applied`, whose hooks change what these look at. Where no row has a
    picture there is no hook at all.
    """
    groups = _groups(rows, networks)
    if not groups:
        yield
        return
    handles: list[RemovableHandle] = []
    try:
        handles.extend(attach(network, groups))
        with uncompiled(network):
            yield
    finally:
        for handle in handles:
            handle.remove()


def attended(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attention of [rows, heads, n, width] to [rows, heads, tokens, width]: [rows, n, heads * width]."""
    seen = nn.functional.scaled_dot_product_attention(query, key, value)
    return seen.transpose(1, 2).flatten(2).to(query.dtype)


def in_heads(values: Tensor, heads: int) -> Tensor:
    """[rows, n, heads * width] to [rows, heads, n, width]."""
    return values.unflatten(-1, (heads, -1)).transpose(1, 2)


def _groups(rows: Sequence[Sequence[PicturePrompt]], networks: Mapping[Loan, Any]) -> list[Group]:
    members: dict[tuple[Loan, int], list[tuple[int, PicturePrompt]]] = {}
    for row, prompts in enumerate(rows):
        for prompt in prompts:
            members.setdefault((prompt.loan, prompt.tokens.shape[1]), []).append((row, prompt))
    return [_group(own, networks[loan]) for (loan, _), own in members.items()]


def _group(members: Sequence[tuple[int, PicturePrompt]], adapter: Any) -> Group:
    tokens = torch.cat([prompt.tokens for _, prompt in members])
    scales = [prompt.scale for _, prompt in members]
    return Group(
        adapter=adapter,
        rows=on_device([row for row, _ in members], dtype=torch.int64, device=tokens.device),
        tokens=tokens,
        scales=on_device(scales, dtype=torch.float32, device=tokens.device).view(-1, 1, 1),
    )
