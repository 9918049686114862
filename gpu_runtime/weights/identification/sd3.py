"""Single files of SD3 and SD3.5 in Stability's layout, with or without text encoders and VAE."""

from __future__ import annotations

from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.hints import few_steps
from gpu_runtime.weights.identification.parts import Part, require_contiguous, require_names, split
from gpu_runtime.weights.identification.said import identified
from gpu_runtime.weights.taxonomy import FileFormat, Identified, ModelKind

_PARTS = (
    Part("text_encoder", "CLIPTextModelWithProjection", "text_encoders.clip_l.transformer."),
    Part("text_encoder_2", "CLIPTextModelWithProjection", "text_encoders.clip_g.transformer."),
    Part("text_encoder_3", "T5EncoderModel", "text_encoders.t5xxl.transformer."),
    Part("vae", "AutoencoderKL", "first_stage_model.", "vae."),
)

_NEEDED = (
    "pos_embed",
    "x_embedder.proj.weight",
    "t_embedder.mlp.0.weight",
    "y_embedder.mlp.0.weight",
    "context_embedder.weight",
    "final_layer.linear.weight",
    "joint_blocks.0.x_block.attn.qkv.weight",
    "joint_blocks.0.context_block.attn.qkv.weight",
)


def claim(contents: Contents) -> Identified | None:
    """A checkpoint whose denoiser is Stability's MMDiT. Raises WeightsCorrupt for an incomplete one."""
    if contents.has("controlnet_blocks."):
        return None
    for prefix in ("model.diffusion_model.", ""):
        if contents.has(f"{prefix}joint_blocks."):
            break
    else:
        return None
    require_names(contents, "the denoiser", [prefix + name for name in _NEEDED])
    require_contiguous(contents, "the denoiser", f"{prefix}joint_blocks")
    components, missing = split(contents, (Part("transformer", "SD3Transformer2DModel", prefix), *_PARTS))
    return identified(
        contents,
        ModelKind.CHECKPOINT,
        family="sd3",
        variant=_variant(contents, f"{prefix}joint_blocks.0.x_block."),
        file_format=FileFormat.SINGLE_FILE,
        components=components,
        details={"missing": missing},
    )


def _variant(contents: Contents, block: str) -> str:
    """3 has bare attention; 3.5 norms queries and keys, and its medium attends twice in the first blocks."""
    if few := few_steps(contents, "sd3"):
        return few
    if f"{block}attn.ln_q.weight" not in contents.tensors:
        return "medium"
    return "3.5-medium" if contents.has(f"{block}attn2.") else "3.5-large"
