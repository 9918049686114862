"""Single files of the architectures without a page of their own: one row each.

A row's marks are tensors no other architecture has. Text encoders of these families are separate files.
"""

from __future__ import annotations

from dataclasses import dataclass

from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.hints import few_steps
from gpu_runtime.weights.identification.parts import Part, require_contiguous, require_names, split
from gpu_runtime.weights.identification.said import identified
from gpu_runtime.weights.taxonomy import FileFormat, Identified, ModelKind

_PREFIXES = ("model.diffusion_model.", "diffusion_model.", "model.", "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """How the denoiser of one family looks in its original layout."""

    family: str
    class_name: str
    marks: tuple[str, ...]
    """Tensors that are all there in this architecture alone."""
    needed: tuple[str, ...]
    """Tensors without which the file is torn."""
    blocks: tuple[str, ...]
    """Numbered blocks, without gaps from 0."""
    missing: tuple[str, ...] = ("vae", "text_encoder")
    """Components of the family that its single files never hold."""


ARCHITECTURES = (
    Architecture(
        family="flux2",
        class_name="Flux2Transformer2DModel",
        marks=("double_stream_modulation_img.lin.weight",),
        needed=(
            "img_in.weight",
            "txt_in.weight",
            "final_layer.linear.weight",
            "single_stream_modulation.lin.weight",
        ),
        blocks=("double_blocks", "single_blocks"),
    ),
    Architecture(
        family="chroma",
        class_name="ChromaTransformer2DModel",
        marks=("distilled_guidance_layer.in_proj.weight",),
        needed=("img_in.weight", "txt_in.weight", "final_layer.linear.weight"),
        blocks=("double_blocks", "single_blocks"),
    ),
    Architecture(
        family="z-image",
        class_name="ZImageTransformer2DModel",
        marks=("layers.0.adaLN_modulation.0.weight", "layers.0.attention.qkv.weight"),
        needed=("x_embedder.weight", "final_layer.linear.weight", "cap_embedder.0.weight"),
        blocks=("layers", "context_refiner"),
    ),
    Architecture(
        family="lumina2",
        class_name="Lumina2Transformer2DModel",
        marks=("layers.0.adaLN_modulation.1.weight", "cap_embedder.0.weight"),
        needed=("x_embedder.weight", "final_layer.linear.weight", "t_embedder.mlp.0.weight"),
        blocks=("layers", "context_refiner", "noise_refiner"),
    ),
    Architecture(
        family="auraflow",
        class_name="AuraFlowTransformer2DModel",
        marks=("double_layers.0.attn.w1q.weight", "cond_seq_linear.weight"),
        needed=("init_x_linear.weight", "positional_encoding", "final_linear.weight", "register_tokens"),
        blocks=("double_layers", "single_layers"),
    ),
    Architecture(
        family="sana",
        class_name="SanaTransformer2DModel",
        marks=("blocks.0.cross_attn.q_linear.weight", "blocks.0.mlp.inverted_conv.conv.weight"),
        needed=(
            "x_embedder.proj.weight",
            "t_block.1.weight",
            "final_layer.linear.weight",
            "attention_y_norm.weight",
        ),
        blocks=("blocks",),
    ),
    Architecture(
        family="pixart",
        class_name="PixArtTransformer2DModel",
        marks=("blocks.0.cross_attn.q_linear.weight", "blocks.0.mlp.fc1.weight"),
        needed=("x_embedder.proj.weight", "t_block.1.weight", "final_layer.linear.weight"),
        blocks=("blocks",),
    ),
    Architecture(
        family="hidream",
        class_name="HiDreamImageTransformer2DModel",
        marks=("double_stream_blocks.0.block.adaLN_modulation.1.bias",),
        needed=("x_embedder.proj.weight", "final_layer.linear.weight"),
        blocks=("double_stream_blocks", "single_stream_blocks"),
    ),
    Architecture(
        family="qwen-image",
        class_name="QwenImageTransformer2DModel",
        marks=("transformer_blocks.0.img_mod.1.weight", "txt_norm.weight"),
        needed=("img_in.weight", "txt_in.weight", "proj_out.weight"),
        blocks=("transformer_blocks",),
    ),
    Architecture(
        family="krea2",
        class_name="Krea2Transformer2DModel",
        marks=("txtfusion.projector.weight", "blocks.0.attn.wq.weight"),
        needed=("first.weight", "last.linear.weight", "tproj.1.weight"),
        blocks=("blocks",),
    ),
)


def claim(contents: Contents) -> Identified | None:
    """A checkpoint of one of the rows above. Raises WeightsCorrupt for an incomplete one."""
    for prefix in _PREFIXES:
        for row in ARCHITECTURES:
            if all(prefix + mark in contents.tensors for mark in row.marks):
                return _answer(contents, row, prefix)
    return None


def _answer(contents: Contents, row: Architecture, prefix: str) -> Identified | None:
    if contents.has("controlnet_blocks."):
        return None
    require_names(contents, "the denoiser", [prefix + name for name in row.needed])
    for blocks in row.blocks:
        require_contiguous(contents, "the denoiser", prefix + blocks)
    components, _ = split(contents, (Part("transformer", row.class_name, prefix),))
    return identified(
        contents,
        ModelKind.CHECKPOINT,
        family=row.family,
        variant=_variant(contents, row, prefix),
        file_format=FileFormat.SINGLE_FILE,
        components=components,
        details={"missing": row.missing},
    )


def _variant(contents: Contents, row: Architecture, prefix: str) -> str:
    # FLUX.2's small models take no guidance scale as an input; those that need few steps are not called base.
    if row.family == "flux2" and not contents.has(f"{prefix}guidance_in."):
        return "klein-base" if "base" in contents.words else "klein"
    return few_steps(contents, row.family)
