"""SAI's names of an SD3 transformer's layers. kohya's are SAI's with underscores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gpu_runtime.adapters.targets_unet import Named

_OUTSIDE_BLOCKS = {
    "x_embedder.proj": "pos_embed.proj",
    "context_embedder": "context_embedder",
    "t_embedder.mlp.0": "time_text_embed.timestep_embedder.linear_1",
    "t_embedder.mlp.2": "time_text_embed.timestep_embedder.linear_2",
    "y_embedder.mlp.0": "time_text_embed.text_embedder.linear_1",
    "y_embedder.mlp.2": "time_text_embed.text_embedder.linear_2",
    "final_layer.linear": "proj_out",
}

_BLOCK: dict[str, tuple[str, ...]] = {
    "x_block.attn.qkv": ("attn.to_q", "attn.to_k", "attn.to_v"),
    "x_block.attn.proj": ("attn.to_out.0",),
    "x_block.attn2.qkv": ("attn2.to_q", "attn2.to_k", "attn2.to_v"),
    "x_block.attn2.proj": ("attn2.to_out.0",),
    "x_block.mlp.fc1": ("ff.net.0.proj",),
    "x_block.mlp.fc2": ("ff.net.2",),
    "x_block.adaLN_modulation.1": ("norm1.linear",),
    "context_block.attn.qkv": ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj"),
    "context_block.attn.proj": ("attn.to_add_out",),
    "context_block.mlp.fc1": ("ff_context.net.0.proj",),
    "context_block.mlp.fc2": ("ff_context.net.2",),
    "context_block.adaLN_modulation.1": ("norm1_context.linear",),
}


def sd3_names(transformer: Any) -> Iterator[Named]:  # Any: diffusers' transformer is untyped
    """Every name; some may stand for layers that this transformer lacks."""
    for name, path in _OUTSIDE_BLOCKS.items():
        yield name, (path,), False
    # SAI keeps (shift, scale), diffusers (scale, shift); so does the last block, whose context only goes in.
    yield "final_layer.adaLN_modulation.1", ("norm_out.linear",), True
    for i, block in enumerate(transformer.transformer_blocks):
        for name, paths in _BLOCK.items():
            is_swapped = bool(block.context_pre_only) and name == "context_block.adaLN_modulation.1"
            owned = tuple(f"transformer_blocks.{i}.{path}" for path in paths)
            yield f"joint_blocks.{i}.{name}", owned, is_swapped
