"""Text encoders by themselves: CLIP in its three sizes and T5, by transformers' names or OpenCLIP's."""

from __future__ import annotations

from gpu_runtime.errors import NotRecognised
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.parts import require_contiguous, require_names
from gpu_runtime.weights.identification.said import identified
from gpu_runtime.weights.taxonomy import FileFormat, Identified, ModelKind

_CLIP_BY_WIDTH = {768: "clip_l", 1024: "clip_h", 1280: "clip_g"}


def claim(contents: Contents) -> Identified | None:
    """A text encoder and nothing else. Raises WeightsCorrupt for an incomplete one."""
    return _clip(contents) or _openclip(contents) or _t5(contents)


def _clip(contents: Contents) -> Identified | None:
    for prefix in ("text_model.", ""):
        if contents.has(f"{prefix}encoder.layers.0.self_attn.q_proj."):
            break
    else:
        return None
    if contents.has("vision_model.") and contents.has("text_model."):
        raise NotRecognised(
            f"{contents.path.name} is a whole CLIP without its config.json; import its folder, for what sees "
            "pictures, or its text encoder alone"
        )
    if contents.has("vision_model."):
        raise NotRecognised(
            f"{contents.path.name} is an image encoder without its config.json; import its folder"
        )
    table = f"{prefix}embeddings.token_embedding.weight"
    ends = (table, f"{prefix}embeddings.position_embedding.weight", f"{prefix}final_layer_norm.weight")
    require_names(contents, "the text encoder", ends)
    layers = require_contiguous(contents, "the text encoder", f"{prefix}encoder.layers")
    is_projected = "text_projection.weight" in contents.tensors
    return identified(
        contents,
        ModelKind.TEXT_ENCODER,
        family="",
        variant=clip_size(contents, contents.side(table, 1)),
        file_format=FileFormat.DIFFUSERS,
        components=(
            contents.component(
                "text_encoder", "CLIPTextModelWithProjection" if is_projected else "CLIPTextModel"
            ),
        ),
        details={"width": contents.side(table, 1), "layers": layers},
    )


def clip_size(contents: Contents, width: int) -> str:
    """Which of the field's CLIP encoders has this width; configuration and names decide for other widths."""
    if width in _CLIP_BY_WIDTH:
        return _CLIP_BY_WIDTH[width]
    if contents.config.get("hidden_act") == "gelu":
        return "clip_g" if "text_projection.weight" in contents.tensors else "clip_h"
    if {"clip", "g"} <= contents.words or contents.says("bigg"):
        return "clip_g"
    return "clip_h" if {"clip", "h"} <= contents.words else "clip_l"


def _openclip(contents: Contents) -> Identified | None:
    if not contents.has("transformer.resblocks.0.attn.in_proj_weight"):
        return None
    if contents.has("visual."):
        raise NotRecognised(f"{contents.path.name} is a whole OpenCLIP; import its text encoder alone")
    require_names(
        contents, "the text encoder", ("token_embedding.weight", "positional_embedding", "ln_final.weight")
    )
    layers = require_contiguous(contents, "the text encoder", "transformer.resblocks")
    width = contents.side("token_embedding.weight", 1)
    return identified(
        contents,
        ModelKind.TEXT_ENCODER,
        family="",
        variant=clip_size(contents, width),
        file_format=FileFormat.SINGLE_FILE,
        components=(contents.component("text_encoder", "CLIPTextModelWithProjection"),),
        details={"width": width, "layers": layers},
    )


def _t5(contents: Contents) -> Identified | None:
    if not contents.has("encoder.block.0.layer.0.SelfAttention."):
        return None
    if contents.has("decoder.block."):
        raise NotRecognised(f"{contents.path.name} is a whole T5; import the encoder alone")
    tables = [n for n in ("shared.weight", "encoder.embed_tokens.weight") if n in contents.tensors]
    require_names(contents, "the text encoder", tables[:1] or ("shared.weight",))
    require_names(contents, "the text encoder", ("encoder.final_layer_norm.weight",))
    layers = require_contiguous(contents, "the text encoder", "encoder.block")
    return identified(
        contents,
        ModelKind.TEXT_ENCODER,
        family="",
        variant="t5",
        file_format=FileFormat.DIFFUSERS,
        components=(contents.component("text_encoder", "T5EncoderModel"),),
        details={"width": contents.side(tables[0], 1), "layers": layers},
    )
