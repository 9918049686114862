"""Pictures as prompts of UNets: what their cross-attention adds for them.

Reference: diffusers' IPAdapterAttnProcessor2_0. Source: Ye et al. 2023, arXiv:2308.06721.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import linear
from torch.utils.hooks import RemovableHandle

from gpu_runtime.adapters.applied import modules_of
from gpu_runtime.ip_adapters.attending import Group, attended, in_heads
from gpu_runtime.ip_adapters.build import KeysAndValues


def cross_attentions(unet: nn.Module) -> list[Any]:
    """The layers that attend to the prompt, in the order in which adapters number them. Any: untyped."""
    return [module for path, module in modules_of(unet).items() if path.endswith(".attn2")]


def layer_shapes(unet: nn.Module) -> list[tuple[int, ...]]:
    """Shapes of the keys' weights that an adapter brings, [out, in]."""
    return [tuple(layer.to_k.weight.shape) for layer in cross_attentions(unet)]


def attach(unet: nn.Module, groups: Sequence[Group]) -> Iterator[RemovableHandle]:
    """Hooks on every cross-attention layer; `groups` hold `KeysAndValues`."""
    for number, layer in enumerate(cross_attentions(unet)):
        own = _Layer([(group, group.adapter.layers[number]) for group in groups], layer.heads)
        yield layer.to_q.register_forward_hook(own.note_query)
        yield layer.to_out[0].register_forward_pre_hook(own.add)


def keys_and_values(layer: KeysAndValues, tokens: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """Both for these tokens: [rows, heads, tokens, width]."""
    key = linear(tokens, layer.key, layer.key_bias)
    value = linear(tokens, layer.value, layer.value_bias)
    return in_heads(key, heads), in_heads(value, heads)


class _Layer:
    """The hooks of one cross-attention layer."""

    __slots__ = ("_groups", "_heads", "_query")

    def __init__(self, groups: Sequence[tuple[Group, KeysAndValues]], heads: int) -> None:
        self._groups = groups
        self._heads = heads
        self._query: Tensor | None = None

    def note_query(self, _layer: nn.Module, _arguments: tuple[Tensor, ...], output: Tensor) -> None:
        self._query = output

    def add(self, _layer: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Before the output layer, as the reference does."""
        hidden, query, self._query = arguments[0], self._query, None
        assert query is not None, "the query comes before the output"
        for group, layer in self._groups:
            key, value = keys_and_values(layer, group.tokens, self._heads)
            seen = attended(in_heads(query[group.rows], self._heads), key, value)
            hidden = group.add(hidden, seen)
        return (hidden, *arguments[1:])
