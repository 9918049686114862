"""Transformers of SD3 and Flux: from diffusers' names to those of the original code.

The originals fuse query, key and value, and store shift before scale where diffusers stores scale first.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

StateDict = Mapping[str, Tensor]


class _Taking:
    """Hands out each tensor of a network once, so that what the layout has no place for is noticed."""

    def __init__(self, tensors: StateDict) -> None:
        self._left = dict(tensors)
        self.original: dict[str, Tensor] = {}

    def move(self, name: str, original: str) -> None:
        """Weight and bias, where there is one, under another name."""
        found = [leaf for leaf in ("weight", "bias") if f"{name}.{leaf}" in self._left]
        if not found:
            raise KeyError(f"{name} is missing")
        for leaf in found:
            self.original[f"{original}.{leaf}"] = self._left.pop(f"{name}.{leaf}")

    def one(self, name: str, original: str) -> None:
        """One tensor, by its full names."""
        self.original[original] = self._left.pop(name)

    def fuse(self, names: tuple[str, ...], original: str) -> None:
        """Several projections, one below the other."""
        for leaf in ("weight", "bias"):
            if f"{names[0]}.{leaf}" in self._left:
                self.original[f"{original}.{leaf}"] = torch.cat(
                    [self._left.pop(f"{name}.{leaf}") for name in names]
                )

    def swap_halves(self, name: str, original: str) -> None:
        """A modulation: diffusers keeps scale before shift, the originals shift before scale."""
        for leaf in ("weight", "bias"):
            scale, shift = self._left.pop(f"{name}.{leaf}").chunk(2, dim=0)
            self.original[f"{original}.{leaf}"] = torch.cat([shift, scale])

    def has(self, prefix: str) -> bool:
        return any(name.startswith(prefix) for name in self._left)

    def blocks(self, prefix: str) -> int:
        """How many numbered blocks of this name there are."""
        start = prefix + "."
        return 1 + max(
            (int(n[len(start) :].split(".")[0]) for n in self._left if n.startswith(start)), default=-1
        )

    def done(self) -> dict[str, Tensor]:
        if self._left:
            raise KeyError(f"{min(self._left)} has no place in the original layout")
        return self.original


def sd3_to_original(transformer: StateDict) -> dict[str, Tensor]:
    """An SD3Transformer2DModel by Stability's names, without a prefix."""
    take = _Taking(transformer)
    take.one("pos_embed.pos_embed", "pos_embed")
    take.move("pos_embed.proj", "x_embedder.proj")
    take.move("time_text_embed.timestep_embedder.linear_1", "t_embedder.mlp.0")
    take.move("time_text_embed.timestep_embedder.linear_2", "t_embedder.mlp.2")
    take.move("time_text_embed.text_embedder.linear_1", "y_embedder.mlp.0")
    take.move("time_text_embed.text_embedder.linear_2", "y_embedder.mlp.2")
    take.move("context_embedder", "context_embedder")
    blocks = take.blocks("transformer_blocks")
    for index in range(blocks):
        _sd3_block(take, index, is_last=index == blocks - 1)
    take.swap_halves("norm_out.linear", "final_layer.adaLN_modulation.1")
    take.move("proj_out", "final_layer.linear")
    return take.done()


def _sd3_block(take: _Taking, index: int, *, is_last: bool) -> None:
    block, image, text = (
        f"transformer_blocks.{index}",
        f"joint_blocks.{index}.x_block",
        f"joint_blocks.{index}.context_block",
    )
    take.fuse(tuple(f"{block}.attn.to_{each}" for each in "qkv"), f"{image}.attn.qkv")
    take.fuse(tuple(f"{block}.attn.add_{each}_proj" for each in "qkv"), f"{text}.attn.qkv")
    take.move(f"{block}.attn.to_out.0", f"{image}.attn.proj")
    take.move(f"{block}.norm1.linear", f"{image}.adaLN_modulation.1")
    take.move(f"{block}.ff.net.0.proj", f"{image}.mlp.fc1")
    take.move(f"{block}.ff.net.2", f"{image}.mlp.fc2")
    for each in "qk":
        if take.has(f"{block}.attn.norm_{each}."):
            take.move(f"{block}.attn.norm_{each}", f"{image}.attn.ln_{each}")
            take.move(f"{block}.attn.norm_added_{each}", f"{text}.attn.ln_{each}")
        if take.has(f"{block}.attn2.norm_{each}."):
            take.move(f"{block}.attn2.norm_{each}", f"{image}.attn2.ln_{each}")
    if take.has(f"{block}.attn2."):
        take.fuse(tuple(f"{block}.attn2.to_{each}" for each in "qkv"), f"{image}.attn2.qkv")
        take.move(f"{block}.attn2.to_out.0", f"{image}.attn2.proj")
    if is_last:
        take.swap_halves(f"{block}.norm1_context.linear", f"{text}.adaLN_modulation.1")
        return
    take.move(f"{block}.norm1_context.linear", f"{text}.adaLN_modulation.1")
    take.move(f"{block}.attn.to_add_out", f"{text}.attn.proj")
    take.move(f"{block}.ff_context.net.0.proj", f"{text}.mlp.fc1")
    take.move(f"{block}.ff_context.net.2", f"{text}.mlp.fc2")


def flux_to_original(transformer: StateDict) -> dict[str, Tensor]:
    """A FluxTransformer2DModel by Black Forest Labs' names, without a prefix."""
    take = _Taking(transformer)
    take.move("x_embedder", "img_in")
    take.move("context_embedder", "txt_in")
    for ours, theirs in (
        ("timestep_embedder", "time_in"),
        ("text_embedder", "vector_in"),
        ("guidance_embedder", "guidance_in"),
    ):
        if take.has(f"time_text_embed.{ours}."):
            take.move(f"time_text_embed.{ours}.linear_1", f"{theirs}.in_layer")
            take.move(f"time_text_embed.{ours}.linear_2", f"{theirs}.out_layer")
    for index in range(take.blocks("transformer_blocks")):
        _flux_double_block(take, index)
    for index in range(take.blocks("single_transformer_blocks")):
        _flux_single_block(take, index)
    take.swap_halves("norm_out.linear", "final_layer.adaLN_modulation.1")
    take.move("proj_out", "final_layer.linear")
    return take.done()


def _flux_double_block(take: _Taking, index: int) -> None:
    block, original = f"transformer_blocks.{index}", f"double_blocks.{index}"
    take.move(f"{block}.norm1.linear", f"{original}.img_mod.lin")
    take.move(f"{block}.norm1_context.linear", f"{original}.txt_mod.lin")
    take.fuse(tuple(f"{block}.attn.to_{each}" for each in "qkv"), f"{original}.img_attn.qkv")
    take.fuse(tuple(f"{block}.attn.add_{each}_proj" for each in "qkv"), f"{original}.txt_attn.qkv")
    for ours, theirs in (("q", "query"), ("k", "key")):
        take.one(f"{block}.attn.norm_{ours}.weight", f"{original}.img_attn.norm.{theirs}_norm.scale")
        take.one(f"{block}.attn.norm_added_{ours}.weight", f"{original}.txt_attn.norm.{theirs}_norm.scale")
    take.move(f"{block}.attn.to_out.0", f"{original}.img_attn.proj")
    take.move(f"{block}.attn.to_add_out", f"{original}.txt_attn.proj")
    for ours, theirs in (("ff", "img_mlp"), ("ff_context", "txt_mlp")):
        take.move(f"{block}.{ours}.net.0.proj", f"{original}.{theirs}.0")
        take.move(f"{block}.{ours}.net.2", f"{original}.{theirs}.2")


def _flux_single_block(take: _Taking, index: int) -> None:
    block, original = f"single_transformer_blocks.{index}", f"single_blocks.{index}"
    take.move(f"{block}.norm.linear", f"{original}.modulation.lin")
    take.fuse(
        (f"{block}.attn.to_q", f"{block}.attn.to_k", f"{block}.attn.to_v", f"{block}.proj_mlp"),
        f"{original}.linear1",
    )
    take.one(f"{block}.attn.norm_q.weight", f"{original}.norm.query_norm.scale")
    take.one(f"{block}.attn.norm_k.weight", f"{original}.norm.key_norm.scale")
    take.move(f"{block}.proj_out", f"{original}.linear2")
