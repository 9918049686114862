"""BFL's and XLabs' names of a Flux transformer's layers. kohya's are BFL's with underscores."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gpu_runtime.adapters.targets_unet import Named

_OUTSIDE_BLOCKS = {
    "img_in": "x_embedder",
    "txt_in": "context_embedder",
    "time_in.in_layer": "time_text_embed.timestep_embedder.linear_1",
    "time_in.out_layer": "time_text_embed.timestep_embedder.linear_2",
    "vector_in.in_layer": "time_text_embed.text_embedder.linear_1",
    "vector_in.out_layer": "time_text_embed.text_embedder.linear_2",
    "guidance_in.in_layer": "time_text_embed.guidance_embedder.linear_1",
    "guidance_in.out_layer": "time_text_embed.guidance_embedder.linear_2",
    "final_layer.linear": "proj_out",
}

_IMAGE = ("attn.to_q", "attn.to_k", "attn.to_v")
_TEXT = ("attn.add_q_proj", "attn.add_k_proj", "attn.add_v_proj")

_DOUBLE: dict[str, tuple[str, ...]] = {
    "img_attn.qkv": _IMAGE,
    "img_attn.proj": ("attn.to_out.0",),
    "img_mlp.0": ("ff.net.0.proj",),
    "img_mlp.2": ("ff.net.2",),
    "img_mod.lin": ("norm1.linear",),
    "txt_attn.qkv": _TEXT,
    "txt_attn.proj": ("attn.to_add_out",),
    "txt_mlp.0": ("ff_context.net.0.proj",),
    "txt_mlp.2": ("ff_context.net.2",),
    "txt_mod.lin": ("norm1_context.linear",),
    # XLabs
    "qkv_lora1": _IMAGE,
    "proj_lora1": ("attn.to_out.0",),
    "qkv_lora2": _TEXT,
    "proj_lora2": ("attn.to_add_out",),
}

_SINGLE: dict[str, tuple[str, ...]] = {
    "linear1": (*_IMAGE, "proj_mlp"),
    "linear2": ("proj_out",),
    "modulation.lin": ("norm.linear",),
    # XLabs; the ending has taken `_lora` away
    "qkv": _IMAGE,
    "proj": ("proj_out",),
}


def flux_names(transformer: Any) -> Iterator[Named]:  # Any: diffusers' transformer is untyped
    """Every name; some may stand for layers that this transformer lacks."""
    for name, path in _OUTSIDE_BLOCKS.items():
        yield name, (path,), False
    # BFL keeps (shift, scale), diffusers (scale, shift).
    yield "final_layer.adaLN_modulation.1", ("norm_out.linear",), True
    for i in range(len(transformer.transformer_blocks)):
        for name, paths in _DOUBLE.items():
            yield f"double_blocks.{i}.{name}", tuple(f"transformer_blocks.{i}.{p}" for p in paths), False
    for i in range(len(transformer.single_transformer_blocks)):
        for name, paths in _SINGLE.items():
            owned = tuple(f"single_transformer_blocks.{i}.{path}" for path in paths)
            yield f"single_blocks.{i}.{name}", owned, False
