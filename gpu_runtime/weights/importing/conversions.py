"""From the names and layouts of original trainers to those of diffusers, one function a part.

diffusers' own converters do the work where they know no fixed width; OpenCLIP and FLUX.1 are converted here,
because the library's code for them assumes the sizes of the released models. All take and give the tensors of
one part without its prefix. Lazy tensors stay lazy.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from diffusers.loaders import single_file_utils
from torch import Tensor

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.importing.configs import Config
from gpu_runtime.weights.importing.sources import Tensors

Convert = Callable[[Mapping[str, Tensor], Config], Tensors]

_UNET_PREFIX = "model.diffusion_model."

_OPENCLIP_TOP = {
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
}
_OPENCLIP_LAYER = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}
_OPENCLIP_BLOCK = re.compile(r"transformer\.resblocks\.(\d+)\.(.+)")

SD2_UNUSED_BLOCK = 23
"""The last of ViT-H's 24: SD 2 takes the output of the one before, and diffusers' encoder ends there."""


def convert_unet(tensors: Mapping[str, Tensor], config: Config) -> Tensors:
    """UNet2DConditionModel from LDM's layout."""
    named = {_UNET_PREFIX + name: tensor for name, tensor in tensors.items()}
    return _by_library(single_file_utils.convert_ldm_unet_checkpoint, named, config)


def convert_controlnet(tensors: Mapping[str, Tensor], config: Config) -> Tensors:
    """ControlNetModel from LDM's layout."""
    return _by_library(single_file_utils.convert_controlnet_checkpoint, dict(tensors), config)


def convert_vae(tensors: Mapping[str, Tensor], config: Config) -> Tensors:
    """AutoencoderKL from LDM's layout."""
    return _by_library(single_file_utils.convert_ldm_vae_checkpoint, dict(tensors), config)


def convert_sd3(tensors: Mapping[str, Tensor], config: Config) -> Tensors:
    """SD3Transformer2DModel from Stability's layout."""
    return _by_library(
        single_file_utils.convert_sd3_transformer_checkpoint_to_diffusers, dict(tensors), config
    )


def keep_names(tensors: Mapping[str, Tensor], config: Config) -> Tensors:
    """Text encoders that single files hold by transformers' names."""
    return dict(tensors)


def convert_openclip(tensors: Mapping[str, Tensor]) -> Tensors:
    """A text encoder of OpenCLIP by transformers' names: one fused projection becomes three."""
    converted: Tensors = {}
    for name, tensor in tensors.items():
        if name in _OPENCLIP_TOP:
            converted[_OPENCLIP_TOP[name]] = tensor
        elif name == "text_projection":
            converted["text_projection.weight"] = tensor.T.contiguous()
        elif name == "text_projection.weight":
            converted[name] = tensor
        elif match := _OPENCLIP_BLOCK.fullmatch(name):
            _convert_openclip_block(f"text_model.encoder.layers.{match[1]}.", match[2], tensor, converted)
        elif name not in ("logit_scale", "attn_mask"):
            raise WeightsCorrupt(f"{name} is no tensor of a text encoder of OpenCLIP")
    return converted


def without_unused_block(tensors: Mapping[str, Tensor]) -> Tensors:
    """OpenCLIP's ViT-H as SD 2 uses it: no last block, no projection."""
    unused = f"transformer.resblocks.{SD2_UNUSED_BLOCK}."
    return {
        name: tensor
        for name, tensor in tensors.items()
        if not name.startswith(unused) and not name.startswith("text_projection")
    }


def with_projection(tensors: Mapping[str, Tensor]) -> Tensors:
    """SD 3's files may leave out a text projection, which is the identity then."""
    complete = dict(tensors)
    norm = tensors.get("text_model.final_layer_norm.weight")
    if norm is not None and "text_projection.weight" not in complete:
        complete["text_projection.weight"] = torch.eye(norm.shape[0]).to(norm.dtype)
    return complete


def convert_flux(tensors: Mapping[str, Tensor], config: Config) -> Tensors:
    """FluxTransformer2DModel from Black Forest Labs' layout."""
    take = _Taking(tensors)
    for part, original in (("timestep", "time_in"), ("text", "vector_in"), ("guidance", "guidance_in")):
        if take.has(f"{original}."):
            take.move(f"{original}.in_layer", f"time_text_embed.{part}_embedder.linear_1")
            take.move(f"{original}.out_layer", f"time_text_embed.{part}_embedder.linear_2")
    take.move("txt_in", "context_embedder")
    take.move("img_in", "x_embedder")
    for index in range(int(config["num_layers"])):
        _convert_double_block(take, f"double_blocks.{index}.", f"transformer_blocks.{index}.")
    for index in range(int(config["num_single_layers"])):
        _convert_single_block(take, f"single_blocks.{index}.", f"single_transformer_blocks.{index}.")
    take.move("final_layer.linear", "proj_out")
    take.swap_halves("final_layer.adaLN_modulation.1", "norm_out.linear")
    return take.done()


def _by_library(convert: Any, tensors: Tensors, config: Config) -> Tensors:  # Any: untyped in diffusers
    try:
        converted: Tensors = convert(tensors, config=config)
    except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsCorrupt(f"the layout is incomplete: {error!r}") from error
    return {name: tensor for name, tensor in converted.items() if isinstance(tensor, Tensor)}


def _convert_openclip_block(layer: str, rest: str, tensor: Tensor, converted: Tensors) -> None:
    if rest in ("attn.in_proj_weight", "attn.in_proj_bias"):
        leaf = rest.removeprefix("attn.in_proj_")
        for part, each in zip("qkv", _split(tensor, 3), strict=True):
            converted[f"{layer}self_attn.{part}_proj.{leaf}"] = each
        return
    part, _, leaf = rest.rpartition(".")
    if part not in _OPENCLIP_LAYER:
        raise WeightsCorrupt(f"{rest} is no tensor of a block of OpenCLIP")
    converted[f"{layer}{_OPENCLIP_LAYER[part]}.{leaf}"] = tensor


def _convert_double_block(take: _Taking, old: str, new: str) -> None:
    for side, norm, attention, out in (
        ("img", "norm1", ("to_q", "to_k", "to_v"), "to_out.0"),
        ("txt", "norm1_context", ("add_q_proj", "add_k_proj", "add_v_proj"), "to_add_out"),
    ):
        take.move(f"{old}{side}_mod.lin", f"{new}{norm}.linear")
        take.split(f"{old}{side}_attn.qkv", [f"{new}attn.{name}" for name in attention])
        take.move(f"{old}{side}_attn.proj", f"{new}attn.{out}")
        feed = "ff" if side == "img" else "ff_context"
        take.move(f"{old}{side}_mlp.0", f"{new}{feed}.net.0.proj")
        take.move(f"{old}{side}_mlp.2", f"{new}{feed}.net.2")
        added = "" if side == "img" else "added_"
        take.one(f"{old}{side}_attn.norm.query_norm.scale", f"{new}attn.norm_{added}q.weight")
        take.one(f"{old}{side}_attn.norm.key_norm.scale", f"{new}attn.norm_{added}k.weight")


def _convert_single_block(take: _Taking, old: str, new: str) -> None:
    take.move(f"{old}modulation.lin", f"{new}norm.linear")
    names = [f"{new}attn.to_q", f"{new}attn.to_k", f"{new}attn.to_v", f"{new}proj_mlp"]
    # Three projections of the stream's width; what is left of the fused one is the feed-forward's.
    take.split(f"{old}linear1", names, equal=take.rows(f"{old}linear2.weight"))
    take.move(f"{old}linear2", f"{new}proj_out")
    take.one(f"{old}norm.query_norm.scale", f"{new}attn.norm_q.weight")
    take.one(f"{old}norm.key_norm.scale", f"{new}attn.norm_k.weight")


class _Taking:
    """Hands out each tensor of a layout once, so that what nothing has a place for is noticed."""

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        self._left = dict(tensors)
        self._converted: Tensors = {}

    def has(self, prefix: str) -> bool:
        return any(name.startswith(prefix) for name in self._left)

    def rows(self, name: str) -> int:
        return self._get(name).shape[0]

    def one(self, old: str, new: str) -> None:
        """One tensor by its full names."""
        self._converted[new] = self._get(old)
        del self._left[old]

    def move(self, old: str, new: str) -> None:
        """Weight, and bias where there is one."""
        self.one(f"{old}.weight", f"{new}.weight")
        if f"{old}.bias" in self._left:
            self.one(f"{old}.bias", f"{new}.bias")

    def split(self, old: str, new: list[str], equal: int | None = None) -> None:
        """A fused projection: equal parts, or all but the last of `equal` rows."""
        for leaf in [leaf for leaf in ("weight", "bias") if f"{old}.{leaf}" in self._left]:
            tensor = self._left.pop(f"{old}.{leaf}")
            for name, part in zip(new, _split(tensor, len(new), equal), strict=True):
                self._converted[f"{name}.{leaf}"] = part

    def swap_halves(self, old: str, new: str) -> None:
        """A modulation: the original stores shift before scale, diffusers scale first."""
        for leaf in ("weight", "bias"):
            shift, scale = _split(self._get(f"{old}.{leaf}"), 2)
            del self._left[f"{old}.{leaf}"]
            self._converted[f"{new}.{leaf}"] = torch.cat([scale, shift])

    def done(self) -> Tensors:
        if self._left:
            raise WeightsCorrupt(f"{min(self._left)} has no place in the architecture")
        return self._converted

    def _get(self, name: str) -> Tensor:
        if name not in self._left:
            raise WeightsCorrupt(f"the tensor {name} is missing")
        return self._left[name]


def _split(tensor: Tensor, parts: int, equal: int | None = None) -> list[Tensor]:
    """Rows in so many parts. Raises WeightsCorrupt where they do not divide."""
    rows = tensor.shape[0] if tensor.ndim else 0
    size = equal if equal is not None else rows // parts
    sizes = [size] * (parts - 1) + [rows - size * (parts - 1)]
    if sizes[-1] <= 0 or (equal is None and rows % parts):
        raise WeightsCorrupt(f"a fused tensor of {rows} rows does not split into {parts}")
    return list(torch.split(tensor, sizes))
