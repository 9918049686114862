"""LDM's names of a UNet's layers, as trainers for SDXL write them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Named = tuple[str, tuple[str, ...], bool]
"""A foreign name, the layers' paths in the order of their output rows, whether the halves are swapped."""

_RESNET = {
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}

_OUTSIDE_BLOCKS = {
    "time_embed.0": "time_embedding.linear_1",
    "time_embed.2": "time_embedding.linear_2",
    "label_emb.0.0": "add_embedding.linear_1",
    "label_emb.0.2": "add_embedding.linear_2",
    "input_blocks.0.0": "conv_in",
    "out.2": "conv_out",
}


def ldm_names(unet: Any) -> Iterator[Named]:  # Any: diffusers' UNet is untyped
    """Every name; some may stand for layers that this UNet lacks."""
    for name, path in _OUTSIDE_BLOCKS.items():
        yield name, (path,), False
    for foreign, own in _blocks(unet):
        for path, _ in unet.get_submodule(own).named_modules():
            yield f"{foreign}.{_RESNET.get(path, path)}", (f"{own}.{path}",), False
    yield from _downsamplers(unet)


def _blocks(unet: Any) -> Iterator[tuple[str, str]]:
    """LDM's name and own path of each resnet, attention and upsampler."""
    position = 1
    for i, block in enumerate(unet.down_blocks):
        for j in range(len(block.resnets)):
            yield f"input_blocks.{position}.0", f"down_blocks.{i}.resnets.{j}"
            if _has_attention(block):
                yield f"input_blocks.{position}.1", f"down_blocks.{i}.attentions.{j}"
            position += 1
        position += len(block.downsamplers or ())
    for place, path in enumerate(("resnets.0", "attentions.0", "resnets.1")):
        if unet.mid_block is not None and (place == 0 or _has_attention(unet.mid_block)):
            yield f"middle_block.{place}", f"mid_block.{path}"
    position = 0
    for i, block in enumerate(unet.up_blocks):
        for j in range(len(block.resnets)):
            yield f"output_blocks.{position}.0", f"up_blocks.{i}.resnets.{j}"
            if _has_attention(block):
                yield f"output_blocks.{position}.1", f"up_blocks.{i}.attentions.{j}"
            position += 1
        if block.upsamplers:
            place = 2 if _has_attention(block) else 1
            yield f"output_blocks.{position - 1}.{place}", f"up_blocks.{i}.upsamplers.0"


def _downsamplers(unet: Any) -> Iterator[Named]:
    position = 1
    for i, block in enumerate(unet.down_blocks):
        position += len(block.resnets)
        if block.downsamplers:
            yield f"input_blocks.{position}.0.op", (f"down_blocks.{i}.downsamplers.0.conv",), False
            position += 1


def _has_attention(block: Any) -> bool:
    return bool(getattr(block, "attentions", None))
