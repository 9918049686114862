"""Layer names of the original files, as far as adapters go by them."""

from __future__ import annotations

import re
from typing import Any

Shapes = dict[str, tuple[int, int]]
"""Rows and columns of each layer's matrix, by its dotted name in the original layout."""

LAYERS_A_LEVEL = 2
"""Residual blocks of each of XL's levels; with the resampling layer they make three numbered blocks."""

_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.attentions\.(\d+)\.")


def sdxl_unet_name(name: str) -> str:
    """down_blocks.1.attentions.0.X to input_blocks.4.1.X, and so on.

    Original blocks are numbered through: input block 0 is the first convolution.
    """
    match = _BLOCK.match(name)
    if match is None:
        return name.replace("mid_block.attentions.0.", "middle_block.1.")
    side, level, layer = match[1], int(match[2]), int(match[3])
    number = level * (LAYERS_A_LEVEL + 1) + layer
    block = f"input_blocks.{number + 1}.1." if side == "down" else f"output_blocks.{number}.1."
    return block + name[match.end() :]


def flux_layers(transformer: Any) -> Shapes:
    """Layers of a FluxTransformer2DModel (untyped in diffusers) that adapters address."""
    width, shapes = int(transformer.inner_dim), {}
    for index in range(len(transformer.transformer_blocks)):
        for stream in ("img", "txt"):
            stem = f"double_blocks.{index}.{stream}"
            shapes[f"{stem}_attn.qkv"] = (3 * width, width)
            shapes[f"{stem}_attn.proj"] = (width, width)
            shapes[f"{stem}_mlp.0"] = (4 * width, width)
            shapes[f"{stem}_mlp.2"] = (width, 4 * width)
            shapes[f"{stem}_mod.lin"] = (6 * width, width)
    for index in range(len(transformer.single_transformer_blocks)):
        stem = f"single_blocks.{index}"
        # Query, key, value and the feed-forward's first half are one matrix; so are the two outputs.
        shapes[f"{stem}.linear1"] = (7 * width, width)
        shapes[f"{stem}.linear2"] = (width, 5 * width)
        shapes[f"{stem}.modulation.lin"] = (3 * width, width)
    return shapes


def sd3_layers(transformer: Any) -> Shapes:
    """Layers of an SD3Transformer2DModel (untyped in diffusers) that adapters address."""
    width, shapes = int(transformer.inner_dim), {}
    last = len(transformer.transformer_blocks) - 1
    for index in range(last + 1):
        for stream in ("context_block", "x_block"):
            stem = f"joint_blocks.{index}.{stream}"
            shapes[f"{stem}.attn.qkv"] = (3 * width, width)
            if index == last and stream == "context_block":
                continue  # the text ends with the last block's attention
            shapes[f"{stem}.attn.proj"] = (width, width)
            shapes[f"{stem}.mlp.fc1"] = (4 * width, width)
            shapes[f"{stem}.mlp.fc2"] = (width, 4 * width)
    return shapes
