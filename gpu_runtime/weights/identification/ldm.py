"""Single files of SD 1, SD 2 and SDXL: LDM and SGM layouts, with or without text encoders and VAE."""

from __future__ import annotations

from gpu_runtime.errors import NotRecognised, WeightsCorrupt
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.hints import few_steps, prediction_type
from gpu_runtime.weights.identification.parts import Part, require_contiguous, require_names, split
from gpu_runtime.weights.identification.said import identified
from gpu_runtime.weights.taxonomy import FileFormat, Identified, ModelKind

PREFIX = "model.diffusion_model."

_BLOCK_LISTS = ("input_blocks", "middle_block", "output_blocks")

_VAE = Part("vae", "AutoencoderKL", "first_stage_model.")
_CLIP_L = Part("text_encoder", "CLIPTextModel", "cond_stage_model.transformer.")
_CLIP_H = Part("text_encoder", "CLIPTextModel", "cond_stage_model.model.")
_XL_CLIP_L = Part("text_encoder", "CLIPTextModel", "conditioner.embedders.0.transformer.")
_XL_CLIP_G = Part("text_encoder_2", "CLIPTextModelWithProjection", "conditioner.embedders.1.model.")
_REFINER_CLIP_G = Part("text_encoder_2", "CLIPTextModelWithProjection", "conditioner.embedders.0.model.")

_BY_CHANNELS = {4: "base", 5: "depth", 8: "pix2pix", 9: "inpaint"}
"""What else than latents the first convolution takes."""


def claim(contents: Contents) -> Identified | None:
    """A checkpoint whose denoiser is an LDM UNet. Raises WeightsCorrupt for an incomplete one."""
    prefix = _prefix(contents)
    if prefix is None:
        return None
    _require_complete(contents, prefix)
    family, parts = _family(contents, prefix)
    components, missing = split(contents, (Part("unet", "UNet2DConditionModel", prefix), *parts))
    channels = contents.side(f"{prefix}input_blocks.0.0.weight", 1)
    return identified(
        contents,
        ModelKind.CHECKPOINT,
        family=family,
        variant=_variant(contents, family, channels, parts),
        file_format=FileFormat.SINGLE_FILE,
        components=components,
        details={
            "missing": missing,
            "in_channels": channels,
            "prediction_type": prediction_type(contents, family),
            "has_ema": contents.has("model_ema."),
        },
    )


def _prefix(contents: Contents) -> str | None:
    if contents.has("control_model.") or contents.has("zero_convs."):
        return None
    for prefix in (PREFIX, ""):
        if any(contents.has(f"{prefix}{name}.") for name in _BLOCK_LISTS):
            return prefix
    return None


def _require_complete(contents: Contents, prefix: str) -> None:
    ends = ("time_embed.0.weight", "time_embed.2.weight", "out.0.weight", "out.2.weight")
    firsts = ("input_blocks.0.0.weight", "middle_block.0.in_layers.0.weight")
    require_names(contents, "the denoiser", [prefix + name for name in (*ends, *firsts)])
    into = require_contiguous(contents, "the denoiser", f"{prefix}input_blocks")
    out = require_contiguous(contents, "the denoiser", f"{prefix}output_blocks")
    if into != out:
        raise WeightsCorrupt(
            f"{contents.path.name} is incomplete: {into} input blocks and {out} output blocks in the denoiser"
        )


def _family(contents: Contents, prefix: str) -> tuple[str, tuple[Part, ...]]:
    """Family and the parts a complete file has beside the UNet."""
    attends_at_top = contents.has(f"{prefix}input_blocks.1.1.transformer_blocks.")
    if contents.shape(f"{prefix}label_emb.weight") is not None:
        raise NotRecognised(f"{contents.path.name} is a latent upscaler of SD 2, which is not supported")
    if contents.shape(f"{prefix}label_emb.0.0.weight") is not None:
        if attends_at_top:
            raise NotRecognised(f"{contents.path.name} is an unCLIP model, which is not supported")
        if len(contents.blocks(f"{prefix}input_blocks")) > 9:
            return "sdxl", (_REFINER_CLIP_G, _VAE)
        return "sdxl", (_XL_CLIP_L, _XL_CLIP_G, _VAE)
    if contents.has(_CLIP_H.prefix):
        return "sd2", (_CLIP_H, _VAE)
    if contents.has(_CLIP_L.prefix):
        return "sd15", (_CLIP_L, _VAE)
    return ("sd2", (_CLIP_H, _VAE)) if is_sd2_unet(contents, prefix) else ("sd15", (_CLIP_L, _VAE))


def is_sd2_unet(contents: Contents, prefix: str) -> bool:
    """SD 2 enters its attention through matrices where SD 1 has 1x1 convolutions."""
    return len(contents.shape(f"{prefix}input_blocks.1.1.proj_in.weight") or ()) == 2


def _variant(contents: Contents, family: str, channels: int, parts: tuple[Part, ...]) -> str:
    if channels not in _BY_CHANNELS:
        raise NotRecognised(f"{contents.path.name} takes {channels} channels, which no known variant does")
    if _REFINER_CLIP_G in parts:
        return "refiner"
    return _BY_CHANNELS[channels] if channels != 4 else few_steps(contents, family) or "base"
