"""A denoiser by itself in the diffusers layout: one file, whose config.json may be lost."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_runtime.errors import NotRecognised
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.hints import few_steps, prediction_type
from gpu_runtime.weights.identification.parts import require_contiguous, require_names
from gpu_runtime.weights.identification.said import identified
from gpu_runtime.weights.taxonomy import FileFormat, Identified, ModelKind


@dataclass(frozen=True, slots=True, kw_only=True)
class Denoiser:
    """How one diffusers transformer looks."""

    family: str
    class_name: str
    marks: tuple[str, ...]
    needed: tuple[str, ...]
    missing: tuple[str, ...]


TRANSFORMERS = (
    Denoiser(
        family="flux",
        class_name="FluxTransformer2DModel",
        marks=(
            "time_text_embed.text_embedder.linear_1.weight",
            "single_transformer_blocks.0.proj_mlp.weight",
        ),
        needed=("x_embedder.weight", "context_embedder.weight", "proj_out.weight", "norm_out.linear.weight"),
        missing=("text_encoder", "text_encoder_2", "vae"),
    ),
    Denoiser(
        family="sd3",
        class_name="SD3Transformer2DModel",
        marks=("time_text_embed.text_embedder.linear_1.weight", "pos_embed.pos_embed"),
        needed=(
            "pos_embed.proj.weight",
            "context_embedder.weight",
            "proj_out.weight",
            "norm_out.linear.weight",
        ),
        missing=("text_encoder", "text_encoder_2", "text_encoder_3", "vae"),
    ),
    Denoiser(
        family="flux2",
        class_name="Flux2Transformer2DModel",
        marks=("double_stream_modulation_img.linear.weight",),
        needed=("x_embedder.weight", "context_embedder.weight", "proj_out.weight"),
        missing=("text_encoder", "vae"),
    ),
    Denoiser(
        family="z-image",
        class_name="ZImageTransformer2DModel",
        marks=("all_x_embedder.2-1.weight", "cap_embedder.0.weight"),
        needed=("all_final_layer.2-1.linear.weight", "layers.0.attention.to_q.weight"),
        missing=("text_encoder", "vae"),
    ),
    Denoiser(
        family="chroma",
        class_name="ChromaTransformer2DModel",
        marks=("distilled_guidance_layer.layers.0.linear_1.weight",),
        needed=("x_embedder.weight", "context_embedder.weight", "proj_out.weight"),
        missing=("text_encoder", "vae"),
    ),
)


def claim(contents: Contents) -> Identified | None:
    """A UNet or transformer by its diffusers names. Raises WeightsCorrupt for an incomplete one."""
    if contents.has("controlnet_") or contents.has("control_"):
        return None
    if contents.has("down_blocks.") and contents.has("time_embedding."):
        return _unet(contents)
    for row in TRANSFORMERS:
        if all(mark in contents.tensors for mark in row.marks):
            require_names(contents, "the denoiser", row.needed)
            return identified(
                contents,
                ModelKind.CHECKPOINT,
                family=row.family,
                variant=few_steps(contents, row.family) or transformer_variant(contents, row.family),
                file_format=FileFormat.DIFFUSERS,
                components=(contents.component("transformer", row.class_name),),
                details={"missing": row.missing},
            )
    return None


def transformer_variant(contents: Contents, family: str) -> str:
    """What the transformer's tensors say about its variant, "" for families with one."""
    if family == "flux":
        return _flux_variant(contents)
    if family == "sd3":
        if not contents.has("transformer_blocks.0.attn.norm_q."):
            return "medium"
        return "3.5-medium" if contents.has("transformer_blocks.0.attn2.") else "3.5-large"
    return ""


def _flux_variant(contents: Contents) -> str:
    made = contents.side("proj_out.weight", 0)
    ratio = contents.side("x_embedder.weight", 1) // made if made else 0
    if ratio != 1:
        return {2: "control", 6: "fill"}.get(ratio, "")
    if not contents.has("time_text_embed.guidance_embedder."):
        return "schnell"
    return "kontext" if contents.says("kontext") else "dev"


def _unet(contents: Contents) -> Identified | None:
    if contents.has("down_blocks.0.motion_modules.") or contents.has("add_embedding.image_proj."):
        return None
    needed = ("conv_in.weight", "conv_out.weight", "time_embedding.linear_1.weight", "conv_norm_out.weight")
    require_names(contents, "the denoiser", needed)
    down = require_contiguous(contents, "the denoiser", "down_blocks")
    require_names(contents, "the denoiser", [f"up_blocks.{down - 1}.resnets.0.conv1.weight"])
    family, variant = unet_family(contents)
    encoders = ("text_encoder", "text_encoder_2") if family == "sdxl" else ("text_encoder",)
    encoders = ("text_encoder_2",) if variant == "refiner" else encoders
    return identified(
        contents,
        ModelKind.CHECKPOINT,
        family=family,
        variant=variant or few_steps(contents, family) or "base",
        file_format=FileFormat.DIFFUSERS,
        components=(contents.component("unet", "UNet2DConditionModel"),),
        details={
            "missing": (*encoders, "vae"),
            "in_channels": contents.side("conv_in.weight", 1),
            "prediction_type": prediction_type(contents, family),
        },
    )


def unet_family(contents: Contents) -> tuple[str, str]:
    """Family of a diffusers UNet, and the variant as far as its tensors tell. Raises NotRecognised."""
    channels = contents.side("conv_in.weight", 1)
    variant = {5: "depth", 8: "pix2pix", 9: "inpaint"}.get(channels, "")
    if contents.has("encoder_hid_proj."):
        raise NotRecognised(
            f"{contents.path.name} reads its text through a projection, as Kolors does, "
            "which is not supported"
        )
    if contents.has("add_embedding.linear_1."):
        return "sdxl", "refiner" if len(contents.blocks("down_blocks")) == 4 else variant
    entry = contents.shape("down_blocks.0.attentions.0.proj_in.weight") or ()
    return "sd2" if len(entry) == 2 else "sd15", variant
