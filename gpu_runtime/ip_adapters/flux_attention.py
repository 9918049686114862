"""Pictures as prompts of FLUX.1: what the blocks with two streams add for them.

Reference: diffusers' FluxIPAdapterAttnProcessor, for the adapters of XLabs and others of that layout. Its
blocks take what an adapter adds as a third result of their attention, which the hooks here give.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gpu_runtime.adapters.applied import modules_of
from gpu_runtime.ip_adapters.attending import Group, attended
from gpu_runtime.ip_adapters.build import KeysAndValues
from gpu_runtime.ip_adapters.cross_attention import keys_and_values

_ATTENTION = re.compile(r"transformer_blocks\.\d+\.attn")


def joint_attentions(transformer: nn.Module) -> list[Any]:
    """The attention of every block with two streams, in order. Any: untyped in diffusers."""
    return [module for path, module in modules_of(transformer).items() if _ATTENTION.fullmatch(path)]


def layer_shapes(transformer: Any) -> list[tuple[int, ...]]:
    """Shapes of the keys' weights that an adapter brings, [out, in]. Any: untyped in diffusers."""
    shape = (int(transformer.inner_dim), int(transformer.config.joint_attention_dim))
    return [shape] * len(joint_attentions(transformer))


def attach(transformer: nn.Module, groups: Sequence[Group]) -> Iterator[RemovableHandle]:
    """Hooks on every block with two streams; `groups` hold `KeysAndValues`."""
    for number, layer in enumerate(joint_attentions(transformer)):
        own = _Layer([(group, group.adapter.layers[number]) for group in groups], layer.heads)
        yield layer.norm_q.register_forward_hook(own.note_query)
        yield layer.register_forward_hook(own.add)


class _Layer:
    """The hooks of one block."""

    __slots__ = ("_groups", "_heads", "_query")

    def __init__(self, groups: Sequence[tuple[Group, KeysAndValues]], heads: int) -> None:
        self._groups = groups
        self._heads = heads
        self._query: Tensor | None = None

    def note_query(self, _layer: nn.Module, _arguments: tuple[Tensor, ...], output: Tensor) -> None:
        """[B, tokens, heads, width], before positions are turned in."""
        self._query = output

    def add(
        self, _layer: nn.Module, _arguments: tuple[Tensor, ...], output: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor]:
        hidden, query, self._query = output[0], self._query, None
        assert query is not None, "the query comes before the output"
        added = torch.zeros_like(hidden)
        for group, layer in self._groups:
            key, value = keys_and_values(layer, group.tokens, self._heads)
            seen = attended(query[group.rows].transpose(1, 2), key, value)
            added = group.add(added, seen)
        return (*output, added)
