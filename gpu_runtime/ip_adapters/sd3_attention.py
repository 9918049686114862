"""Pictures as prompts of Stable Diffusion 3: what every attention layer adds for them.

Reference: diffusers' SD3IPAdapterJointAttnProcessor2_0 and IPAdapterTimeImageProjection, for InstantX's
adapters. The picture's tokens depend on the timestep, so they are made anew for each call.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from gpu_runtime.adapters.applied import modules_of
from gpu_runtime.ip_adapters.attending import Attach, Group, attended, in_heads


def attentions(transformer: nn.Module) -> list[Any]:
    """Every attention layer, in the order in which adapters number them. Any: untyped in diffusers."""
    return [
        module
        for path, module in modules_of(transformer).items()
        if path.startswith("transformer_blocks.") and path.endswith((".attn", ".attn2"))
    ]


def layer_shapes(transformer: nn.Module) -> list[tuple[int, ...]]:
    """Shapes of the keys' weights that an adapter brings, [out, in]."""
    return [tuple(layer.to_k.weight.shape) for layer in attentions(transformer)]


def attach_at(timesteps: Tensor) -> Attach:
    """Hooks on every attention layer for rows at these timesteps, [B]."""

    def attach(transformer: nn.Module, groups: Sequence[Group]) -> Iterator[RemovableHandle]:
        timed = [(g, *g.adapter.projection(g.tokens, timesteps[g.rows])) for g in groups]
        for number, layer in enumerate(attentions(transformer)):
            own = _Layer([(*each, each[0].adapter.layers[number]) for each in timed], layer.heads)
            for name in ("to_q", "to_k", "to_v"):
                yield getattr(layer, name).register_forward_hook(own.note(name))
            yield layer.to_out[0].register_forward_pre_hook(own.add)

    return attach


class _Layer:
    """The hooks of one attention layer."""

    __slots__ = ("_groups", "_heads", "_noted")

    def __init__(self, groups: Sequence[tuple[Group, Tensor, Tensor, Any]], heads: int) -> None:
        """Any: diffusers' attention processors are untyped."""
        self._groups = groups
        self._heads = heads
        self._noted: dict[str, Tensor] = {}

    def note(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def keep(_layer: nn.Module, _arguments: tuple[Tensor, ...], output: Tensor) -> None:
            self._noted[name] = output

        return keep

    def add(self, _layer: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Before the output layer, as the reference does."""
        hidden, noted, self._noted = arguments[0], self._noted, {}
        for group, tokens, times, processor in self._groups:
            query, key, value = (
                in_heads(noted[n][group.rows], self._heads) for n in ("to_q", "to_k", "to_v")
            )
            normed = processor.norm_ip(tokens, temb=times)
            seen_key = in_heads(processor.to_k_ip(normed), self._heads)
            seen_value = in_heads(processor.to_v_ip(normed), self._heads)
            keys = torch.cat([processor.norm_k(key), processor.norm_ip_k(seen_key)], dim=2)
            values = torch.cat([value, seen_value], dim=2)
            hidden = group.add(hidden, attended(processor.norm_q(query), keys, values))
        return (hidden, *arguments[1:])
