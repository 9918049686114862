"""UNets, ControlNets and VAEs: from diffusers' names to those of the original LDM code.

Only names and layouts change, never values. Tensors may be on the meta device. What the block structure is
follows from the names alone, so that a tiny network maps exactly like a real one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

StateDict = Mapping[str, Tensor]

_TOP = {
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
    "class_embedding.linear_1": "label_emb.0.0",
    "class_embedding.linear_2": "label_emb.0.2",
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
}

_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}

_BLOCK = re.compile(r"(down|up)_blocks\.(\d+)\.(resnets|attentions|downsamplers|upsamplers)\.(\d+)\.(.+)")
_MID = re.compile(r"mid_block\.(resnets|attentions)\.(\d+)\.(.+)")
_VAE_BLOCK = re.compile(
    r"(encoder|decoder)\.(down|up)_blocks\.(\d+)\.(resnets|downsamplers|upsamplers)\.(\d+)\.(.+)"
)
_VAE_MID = re.compile(r"(encoder|decoder)\.mid_block\.(resnets|attentions)\.(\d+)\.(.+)")

_VAE_ATTENTION = {
    "group_norm": "norm",
    "to_q": "q",
    "to_k": "k",
    "to_v": "v",
    "to_out.0": "proj_out",
}


def unet_to_ldm(unet: StateDict) -> dict[str, Tensor]:
    """A UNet2DConditionModel's tensors by their LDM names, without a prefix. Raises KeyError for others."""
    layers = _resnets_per_down_block(unet)
    attends = {
        (match[1], int(match[2]))
        for match in map(_BLOCK.fullmatch, unet)
        if match and match[3] == "attentions"
    }
    return {_unet_name(name, layers, attends): tensor for name, tensor in unet.items()}


def controlnet_to_ldm(controlnet: StateDict) -> dict[str, Tensor]:
    """A ControlNetModel's tensors by their LDM names, without the `control_model.` prefix."""
    layers = _resnets_per_down_block(controlnet)
    hints = 1 + max(
        (
            int(name.split(".")[2])
            for name in controlnet
            if name.startswith("controlnet_cond_embedding.blocks.")
        ),
        default=-1,
    )
    original = {}
    for name, tensor in controlnet.items():
        original[_controlnet_name(name, layers, hints)] = tensor
    return original


def vae_to_ldm(vae: StateDict) -> dict[str, Tensor]:
    """An AutoencoderKL's tensors by their LDM names, without a prefix; attention as 1x1 convolutions."""
    levels = 1 + max(int(match[3]) for match in map(_VAE_BLOCK.fullmatch, vae) if match)
    original = {}
    for name, tensor in vae.items():
        renamed = _vae_name(name, levels)
        is_projection = ".mid.attn_1." in renamed and renamed.endswith(".weight") and ".norm." not in renamed
        original[renamed] = tensor[:, :, None, None] if is_projection else tensor
    return original


def _resnets_per_down_block(network: StateDict) -> int:
    return 1 + max(
        int(match[4])
        for match in map(_BLOCK.fullmatch, network)
        if match and match[1] == "down" and match[3] == "resnets"
    )


def _stem(name: str) -> tuple[str, str]:
    stem, _, leaf = name.rpartition(".")
    return stem, leaf


def _resnet_rest(rest: str) -> str:
    stem, leaf = _stem(rest)
    return f"{_RESNET[stem]}.{leaf}"


def _unet_name(name: str, layers: int, attends: set[tuple[str, int]]) -> str:
    if name == "class_embedding.weight":
        return "label_emb.weight"
    stem, leaf = _stem(name)
    if stem in _TOP:
        return f"{_TOP[stem]}.{leaf}"
    if mid := _MID.fullmatch(name):
        kind, index, rest = mid[1], int(mid[2]), mid[3]
        return (
            f"middle_block.1.{rest}"
            if kind == "attentions"
            else f"middle_block.{2 * index}.{_resnet_rest(rest)}"
        )
    match = _BLOCK.fullmatch(name)
    if match is None:
        raise KeyError(f"{name} has no place in the LDM layout")
    side, block, kind, index, rest = match[1], int(match[2]), match[3], int(match[4]), match[5]
    if side == "down":
        return _down_name(block, kind, index, rest, layers)
    first = block * (layers + 1)
    if kind == "upsamplers":
        return f"output_blocks.{first + layers}.{2 if (side, block) in attends else 1}.{rest}"
    if kind == "attentions":
        return f"output_blocks.{first + index}.1.{rest}"
    return f"output_blocks.{first + index}.0.{_resnet_rest(rest)}"


def _down_name(block: int, kind: str, index: int, rest: str, layers: int) -> str:
    first = 1 + block * (layers + 1)
    if kind == "downsamplers":
        return f"input_blocks.{first + layers}.0.{rest.replace('conv.', 'op.', 1)}"
    if kind == "attentions":
        return f"input_blocks.{first + index}.1.{rest}"
    return f"input_blocks.{first + index}.0.{_resnet_rest(rest)}"


def _controlnet_name(name: str, layers: int, hints: int) -> str:
    stem, leaf = _stem(name)
    if stem == "controlnet_mid_block":
        return f"middle_block_out.0.{leaf}"
    if stem.startswith("controlnet_down_blocks."):
        return f"zero_convs.{stem.split('.')[1]}.0.{leaf}"
    if stem == "controlnet_cond_embedding.conv_in":
        return f"input_hint_block.0.{leaf}"
    if stem == "controlnet_cond_embedding.conv_out":
        return f"input_hint_block.{2 * (hints + 1)}.{leaf}"
    if stem.startswith("controlnet_cond_embedding.blocks."):
        return f"input_hint_block.{2 * (int(stem.split('.')[2]) + 1)}.{leaf}"
    return _unet_name(name, layers, set())


def _vae_name(name: str, levels: int) -> str:
    if match := _VAE_BLOCK.fullmatch(name):
        half, side, block, kind, index, rest = match[1], match[2], int(match[3]), match[4], match[5], match[6]
        level = block if side == "down" else levels - 1 - block
        if kind == "resnets":
            return f"{half}.{side}.{level}.block.{index}.{rest.replace('conv_shortcut', 'nin_shortcut')}"
        return f"{half}.{side}.{level}.{side}sample.{rest}"
    if match := _VAE_MID.fullmatch(name):
        half, kind, index, rest = match[1], match[2], int(match[3]), match[4]
        if kind == "resnets":
            return f"{half}.mid.block_{index + 1}.{rest}"
        stem, leaf = _stem(rest)
        return f"{half}.mid.attn_1.{_VAE_ATTENTION[stem]}.{leaf}"
    return name.replace("conv_norm_out", "norm_out")
