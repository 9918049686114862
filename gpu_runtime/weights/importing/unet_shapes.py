"""What the tensors of a UNet or ControlNet in LDM's layout say about its configuration.

Everything that shapes tell is taken from them, so that narrow, pruned and inpainting networks come out as
they are. What shapes do not tell (heads, the training resolution) comes from the family's own configuration.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.importing.configs import Config
from gpu_runtime.weights.importing.refusals import ImportRefused, RefusalCode

Depth = int | list[int]
PUBLISHED_POOLED_WIDTH = 1280
"""Of the pooled text in every XL network."""

GROUPS = 32
"""Of every group norm, unless the network is narrower."""


@dataclass(frozen=True, slots=True)
class Names:
    """Where the two layouts keep what is read."""

    first: str
    label: str
    middle_attention: str


LDM = Names("input_blocks.0.0.weight", "label_emb.0.0.weight", "middle_block.1.")
DIFFUSERS = Names("conv_in.weight", "add_embedding.linear_1.weight", "mid_block.attentions.0.")


@dataclass(slots=True)
class Level:
    """The blocks of one resolution, in the order in which they run."""

    channels: int = 0
    depths: list[int] = field(default_factory=list)
    """Transformer layers behind each residual block; 0 for none."""


def unet_config(base: Config, tensors: Mapping[str, Tensor]) -> Config:
    """The configuration of a UNet2DConditionModel; `base` is the family's own.

    Raises WeightsCorrupt for names that make no UNet, ImportRefused for one this release cannot run.
    """
    down = _down_levels(tensors)
    up = _up_levels(tensors, blocks=len(down[0].depths) + 1)
    config = _shared_config(base, tensors, down, LDM)
    config |= {
        "out_channels": _shape(tensors, "out.2.weight")[0],
        "up_block_types": ["CrossAttnUpBlock2D" if any(level.depths) else "UpBlock2D" for level in up],
    }
    if not _depth_of(tensors, LDM.middle_attention):
        config["mid_block_type"] = "UNetMidBlock2D"
    mirrored = [_depth(level.depths) for level in reversed(down)]
    found = [_depth(level.depths) for level in up]
    if found != mirrored or any(isinstance(each, list) for each in found):
        config["reverse_transformer_layers_per_block"] = [each or 1 for each in found]
    return config


def controlnet_config_by_diffusers_names(base: Config, tensors: Mapping[str, Tensor]) -> Config:
    """The configuration of a ControlNetModel whose tensors have diffusers' names."""
    levels = [Level() for _ in range(_count(tensors, "down_blocks") + 1)]
    for index, level in enumerate(levels):
        block = f"down_blocks.{index}."
        level.channels = _shape(tensors, f"{block}resnets.0.conv1.weight")[0]
        resnets = _count(tensors, f"{block}resnets") + 1
        level.depths = [_depth_of(tensors, f"{block}attentions.{each}.") for each in range(resnets)]
    config = _shared_config(base, tensors, levels, DIFFUSERS)
    first = _shape(tensors, "controlnet_cond_embedding.conv_in.weight")
    blocks = range(1, _count(tensors, "controlnet_cond_embedding.blocks") + 1, 2)
    widths = [_shape(tensors, f"controlnet_cond_embedding.blocks.{index}.weight")[0] for index in blocks]
    return config | {
        "conditioning_channels": first[1],
        "conditioning_embedding_out_channels": [first[0], *widths],
    }


def controlnet_config(base: Config, tensors: Mapping[str, Tensor]) -> Config:
    """The configuration of a ControlNetModel in LDM's layout."""
    config = _shared_config(base, tensors, _down_levels(tensors), LDM)
    hints = [_shape(tensors, f"input_hint_block.{index}.weight") for index in range(0, 14, 2)]
    config["conditioning_channels"] = hints[0][1]
    # Pairs of convolutions: one keeps the width, the next one widens.
    config["conditioning_embedding_out_channels"] = [hints[0][0], *(shape[0] for shape in hints[2::2])]
    return config


def groups_of(narrowest: int) -> int:
    """Groups of the norms of a network whose narrowest block has so many channels."""
    return min(GROUPS, narrowest)


def _shared_config(base: Config, tensors: Mapping[str, Tensor], down: list[Level], names: Names) -> Config:
    channels = [level.channels for level in down]
    types = ["CrossAttnDownBlock2D" if any(level.depths) else "DownBlock2D" for level in down]
    config = {name: value for name, value in base.items() if name != "pooled_width"} | {
        "in_channels": _shape(tensors, names.first)[1],
        "block_out_channels": channels,
        "layers_per_block": len(down[0].depths),
        "down_block_types": types,
        "transformer_layers_per_block": _depths(down, _depth_of(tensors, names.middle_attention)),
        "norm_num_groups": groups_of(channels[0]),
        "attention_head_dim": _heads(base["attention_head_dim"], channels),
    }
    attention = next((name for name in tensors if name.endswith("attn2.to_k.weight")), None)
    if attention is None:
        raise ImportRefused(
            RefusalCode.UNSUPPORTED_MODEL, "its UNet has no cross-attention, so no prompt could guide it"
        )
    config["cross_attention_dim"] = tensors[attention].shape[1]
    projection = next(tensors[name] for name in tensors if name.endswith(".proj_in.weight"))
    config["use_linear_projection"] = projection.ndim == 2
    return config | _label_config(base, tensors, names.label)


def _label_config(base: Config, tensors: Mapping[str, Tensor], label: str) -> Config:
    if label not in tensors:
        return {"addition_embed_type": None} if "addition_embed_type" in base else {}
    if base.get("addition_embed_type") != "text_time":
        raise ImportRefused(
            RefusalCode.UNSUPPORTED_MODEL,
            "its UNet takes image embeddings (unCLIP), which this release does not make",
        )
    inputs = tensors[label].shape[1]
    return {
        "projection_class_embeddings_input_dim": inputs,
        "addition_time_embed_dim": _time_width(base, inputs),
    }


def _time_width(base: Config, inputs: int) -> int:
    """Width of each embedded size number: what the pooled text leaves, shared by as many as the family has.

    `pooled_width` is that of the file's own text encoder, where it has one.
    """
    published = int(base["addition_time_embed_dim"])
    numbers = (int(base["projection_class_embeddings_input_dim"]) - PUBLISHED_POOLED_WIDTH) // published
    left = inputs - int(base.get("pooled_width", inputs - numbers * published))
    return left // numbers if left > 0 and left % numbers == 0 else published


def _heads(published: int | list[int], channels: list[int]) -> int | list[int]:
    """As many as the family has where that fits, else one for every 64 channels."""
    if isinstance(published, int):
        return published if all(width % published == 0 for width in channels) else max(1, channels[0] // 64)
    is_fitting = len(published) == len(channels) and all(
        width % heads == 0 for width, heads in zip(channels, published, strict=True)
    )
    return published if is_fitting else [max(1, width // 64) for width in channels]


def _down_levels(tensors: Mapping[str, Tensor]) -> list[Level]:
    levels = [Level()]
    for index in range(1, 1 + _count(tensors, "input_blocks")):
        block = f"input_blocks.{index}."
        if f"{block}0.op.weight" in tensors:
            levels.append(Level())
        elif f"{block}0.in_layers.2.weight" in tensors:
            levels[-1].channels = _shape(tensors, f"{block}0.in_layers.2.weight")[0]
            levels[-1].depths.append(_depth_of(tensors, f"{block}1."))
    if any(len(level.depths) != len(levels[0].depths) or not level.depths for level in levels):
        raise WeightsCorrupt("its UNet lacks blocks: levels have different numbers of them")
    return levels


def _up_levels(tensors: Mapping[str, Tensor], *, blocks: int) -> list[Level]:
    depths = [
        _depth_of(tensors, f"output_blocks.{index}.1.")
        for index in range(_count(tensors, "output_blocks") + 1)
    ]
    return [Level(depths=depths[start : start + blocks]) for start in range(0, len(depths), blocks)]


def _count(tensors: Mapping[str, Tensor], group: str) -> int:
    """The highest number in a group of numbered blocks."""
    pattern = re.compile(re.escape(group) + r"\.(\d+)\.")
    numbers = (int(match[1]) for name in tensors if (match := pattern.match(name)))
    highest = max(numbers, default=None)
    if highest is None or highest > 100:
        raise WeightsCorrupt(f"its UNet has no {group}, or more than any has")
    return highest


def _depth_of(tensors: Mapping[str, Tensor], attention: str) -> int:
    pattern = re.compile(re.escape(attention) + r"transformer_blocks\.(\d+)\.")
    return 1 + max((int(match[1]) for name in tensors if (match := pattern.match(name))), default=-1)


def _depths(levels: list[Level], middle: int) -> Depth | list[Depth]:
    """Transformer layers by level, one number where there is only one; the class reads the middle's last."""
    found = [_depth(level.depths) for level in levels]
    different = [each for each in (*found, middle) if each]
    if different and all(each == different[0] for each in different):
        return different[0]
    return [*(each or 1 for each in found[:-1]), found[-1] or middle or 1]


def _depth(depths: list[int]) -> Depth:
    """One number for a level where all its blocks are equally deep."""
    return depths[0] if len(set(depths)) == 1 else depths


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...]:
    if name not in tensors:
        raise WeightsCorrupt(f"its UNet lacks {name}")
    return tuple(tensors[name].shape)
