"""Where the parts of a checkpoint lie in single files of each family, and how each becomes a component."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor

from gpu_runtime.weights.importing import conversions, part_shapes, unet_shapes
from gpu_runtime.weights.importing.configs import Config
from gpu_runtime.weights.importing.sources import Tensors

ReadConfig = Callable[[Config, Mapping[str, Tensor]], Config]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One component of a family's single files."""

    name: str
    """In the diffusers layout."""
    class_name: str
    prefixes: tuple[str, ...]
    """The first under which tensors are found counts; "" takes what no other part claims."""
    read_config: ReadConfig
    """From the shipped configuration and the part's tensors, in the layout that `prepare` leaves."""
    convert: conversions.Convert
    prepare: Callable[[Mapping[str, Tensor]], Tensors] = dict
    library: str = "diffusers"
    pad_token: str | None = None
    """Of the CLIP tokenizer that belongs to this text encoder; None for other parts."""


_DENOISER_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "")
_END, _BANG = "<|endoftext|>", "!"
_PROJECTED = "CLIPTextModelWithProjection"

_UNET = Part(
    name="unet",
    class_name="UNet2DConditionModel",
    prefixes=_DENOISER_PREFIXES,
    read_config=unet_shapes.unet_config,
    convert=conversions.convert_unet,
)
_VAE = Part(
    name="vae",
    class_name="AutoencoderKL",
    prefixes=("first_stage_model.", "vae."),
    read_config=part_shapes.vae_config,
    convert=conversions.convert_vae,
)


def _clip(name: str, prefix: str, *, pad: str = _END, class_name: str = "CLIPTextModel") -> Part:
    return Part(
        name=name,
        class_name=class_name,
        prefixes=(prefix,),
        read_config=part_shapes.clip_config,
        convert=conversions.keep_names,
        prepare=conversions.with_projection if class_name == _PROJECTED else dict,
        library="transformers",
        pad_token=pad,
    )


def _openclip(
    name: str, prefix: str, *, prepare: Callable[[Mapping[str, Tensor]], Tensors], class_name: str
) -> Part:
    return Part(
        name=name,
        class_name=class_name,
        prefixes=(prefix,),
        read_config=part_shapes.clip_config,
        convert=conversions.keep_names,
        prepare=prepare,
        library="transformers",
        pad_token=_BANG,
    )


def _t5(name: str) -> Part:
    return Part(
        name=name,
        class_name="T5EncoderModel",
        prefixes=("text_encoders.t5xxl.transformer.",),
        read_config=part_shapes.t5_config,
        convert=conversions.keep_names,
        library="transformers",
    )


def _as_sd2(tensors: Mapping[str, Tensor]) -> Tensors:
    return conversions.convert_openclip(conversions.without_unused_block(tensors))


LAYOUTS: Mapping[str, tuple[Part, ...]] = {
    "sd15": (_UNET, _VAE, _clip("text_encoder", "cond_stage_model.transformer.")),
    "sd2": (
        _UNET,
        _VAE,
        _openclip("text_encoder", "cond_stage_model.model.", prepare=_as_sd2, class_name="CLIPTextModel"),
    ),
    "sdxl": (
        _UNET,
        _VAE,
        _clip("text_encoder", "conditioner.embedders.0.transformer."),
        _openclip(
            "text_encoder_2",
            "conditioner.embedders.1.model.",
            prepare=conversions.convert_openclip,
            class_name=_PROJECTED,
        ),
    ),
    "sdxl-refiner": (
        _UNET,
        _VAE,
        _openclip(
            "text_encoder_2",
            "conditioner.embedders.0.model.",
            prepare=conversions.convert_openclip,
            class_name=_PROJECTED,
        ),
    ),
    "sd3": (
        Part(
            name="transformer",
            class_name="SD3Transformer2DModel",
            prefixes=_DENOISER_PREFIXES,
            read_config=part_shapes.sd3_config,
            convert=conversions.convert_sd3,
        ),
        _VAE,
        _clip("text_encoder", "text_encoders.clip_l.transformer.", class_name=_PROJECTED),
        _clip("text_encoder_2", "text_encoders.clip_g.transformer.", pad=_BANG, class_name=_PROJECTED),
        _t5("text_encoder_3"),
    ),
    "flux": (
        Part(
            name="transformer",
            class_name="FluxTransformer2DModel",
            prefixes=_DENOISER_PREFIXES,
            read_config=part_shapes.flux_config,
            convert=conversions.convert_flux,
        ),
        _VAE,
        _clip("text_encoder", "text_encoders.clip_l.transformer."),
        _t5("text_encoder_2"),
    ),
}

OTHER_PREFIXES = (
    "model_ema.", "model.", "control_model.", "cond_stage_model.", "conditioner.", "text_encoders.",
    "first_stage_model.", "vae.", "embedding_manager.", "depth_model.", "lora_te", "lora_unet",
)  # fmt: skip
"""What a denoiser without a prefix does not claim."""


def layout_of(family: str, variant: str) -> tuple[Part, ...] | None:
    """The parts of a family's single files, None for a family that has none here."""
    return LAYOUTS.get("sdxl-refiner" if (family, variant) == ("sdxl", "refiner") else family)


def tensors_of(part: Part, tensors: Mapping[str, Tensor]) -> Tensors:
    """The tensors of one part without their prefix; empty when the file has none."""
    for prefix in part.prefixes:
        if prefix:
            found = {name[len(prefix) :]: each for name, each in tensors.items() if name.startswith(prefix)}
        else:
            found = {
                name: each
                for name, each in tensors.items()
                if (not name.startswith(OTHER_PREFIXES) and "." in name) or name == "pos_embed"
            }
        if found:
            return found
    return {}
