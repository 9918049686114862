"""Single files of FLUX.1 in Black Forest Labs' layout, with or without text encoders and VAE."""

from __future__ import annotations

from gpu_runtime.errors import NotRecognised
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.parts import Part, require_contiguous, require_names, split
from gpu_runtime.weights.identification.said import identified
from gpu_runtime.weights.taxonomy import FileFormat, Identified, ModelKind

_PARTS = (
    Part("text_encoder", "CLIPTextModel", "text_encoders.clip_l.transformer."),
    Part("text_encoder_2", "T5EncoderModel", "text_encoders.t5xxl.transformer."),
    Part("vae", "AutoencoderKL", "vae.", "first_stage_model."),
)

_NEEDED = (
    "img_in.weight",
    "txt_in.weight",
    "time_in.in_layer.weight",
    "vector_in.in_layer.weight",
    "final_layer.linear.weight",
    "double_blocks.0.img_mod.lin.weight",
    "double_blocks.0.txt_attn.qkv.weight",
    "single_blocks.0.linear2.weight",
)

_OTHERS = (
    "distilled_guidance_layer.",
    "double_stream_modulation_img.",
    "single_stream_modulation.",
    "early_stream_modulations.",
    "txt_in.individual_token_refiner.",
    "byt5_in.",
)
"""Architectures that grew from this one and have blocks of the same names."""

_BY_RATIO = {1: "dev", 2: "control", 6: "fill"}
"""Input channels over output channels: plain; with a control image; with a masked image and its mask."""


def prefix_of(contents: Contents) -> str | None:
    """Where the blocks lie, None when there are none."""
    for prefix in ("model.diffusion_model.", ""):
        if contents.has(f"{prefix}double_blocks.") or contents.has(f"{prefix}single_blocks."):
            return prefix
    return None


def claim(contents: Contents) -> Identified | None:
    """A checkpoint whose denoiser is FLUX.1. Raises WeightsCorrupt for an incomplete one."""
    prefix = prefix_of(contents)
    if prefix is None or _is_other(contents, prefix):
        return None
    require_names(contents, "the denoiser", [prefix + name for name in _NEEDED])
    require_contiguous(contents, "the denoiser", f"{prefix}double_blocks")
    require_contiguous(contents, "the denoiser", f"{prefix}single_blocks")
    components, missing = split(contents, (Part("transformer", "FluxTransformer2DModel", prefix), *_PARTS))
    return identified(
        contents,
        ModelKind.CHECKPOINT,
        family="flux",
        variant=_variant(contents, prefix),
        file_format=FileFormat.SINGLE_FILE,
        components=components,
        details={"missing": missing, "in_channels": contents.side(f"{prefix}img_in.weight", 1)},
    )


def _is_other(contents: Contents, prefix: str) -> bool:
    """LoRAs, ControlNets and IP-adapters name the same blocks but have no complete ones."""
    if any(contents.has(prefix + other) for other in _OTHERS):
        return True
    if any(contents.has(f"{prefix}{name}") for name in ("controlnet_", "input_hint_block.", "ip_adapter")):
        return True
    attention = f"{prefix}double_blocks.0.img_attn."
    return not contents.has(f"{prefix}img_in.weight") and not (
        f"{attention}norm.key_norm.scale" in contents.tensors and f"{attention}qkv.weight" in contents.tensors
    )


def _variant(contents: Contents, prefix: str) -> str:
    given = contents.side(f"{prefix}img_in.weight", 1)
    made = contents.side(f"{prefix}final_layer.linear.weight", 0)
    if not made or given % made or given // made not in _BY_RATIO:
        raise NotRecognised(f"{contents.path.name} takes {given} channels, which no known variant does")
    variant = _BY_RATIO[given // made]
    if variant != "dev":
        return variant
    if f"{prefix}guidance_in.in_layer.weight" not in contents.tensors:
        return "schnell"
    return "kontext" if contents.says("kontext") else "dev"
