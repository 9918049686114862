"""ControlNets: LDM and diffusers layouts for UNets, those of transformers; the control type by its words."""

from __future__ import annotations

from gpu_runtime.errors import NotRecognised
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.diffusers_denoiser import unet_family
from gpu_runtime.weights.identification.parts import require_contiguous, require_names
from gpu_runtime.weights.identification.said import identified
from gpu_runtime.weights.taxonomy import FileFormat, Identified, ModelKind

CONTROL_TYPES = (
    ("union", ("union", "promax")),
    ("lineart_anime", ("lineart_anime", "animeline")),
    ("lineart", ("lineart",)),
    ("softedge", ("softedge", "hed", "pidi")),
    ("openpose", ("openpose", "pose", "dwpose")),
    ("canny", ("canny",)),
    ("depth", ("depth", "midas", "zoe")),
    ("normal", ("normal",)),
    ("scribble", ("scribble", "sketch")),
    ("seg", ("seg", "segmentation")),
    ("mlsd", ("mlsd",)),
    ("tile", ("tile",)),
    ("inpaint", ("inpaint", "inpainting")),
    ("shuffle", ("shuffle",)),
    ("ip2p", ("ip_2_p", "pix_2_pix")),
    ("recolor", ("recolor", "grayscale", "gray")),
    ("blur", ("blur",)),
    ("brightness", ("brightness", "illumination")),
    ("qrcode", ("qr", "qrcode", "monster")),
    ("surface_normal", ("surface",)),
)
"""Control type and the words that stand for it, joined ones all together; the first row that fits counts."""


def claim(contents: Contents) -> Identified | None:
    """A ControlNet. Raises WeightsCorrupt for an incomplete one."""
    for rule in (_refuse_lookalikes, _ldm, _unet, _flux_of_xlabs, _transformer):
        answer = rule(contents)
        if answer is not None:
            return answer
    return None


def control_type(contents: Contents) -> str:
    """What kind of control image it takes, by the words around it; "" where they say nothing."""
    for control, words in CONTROL_TYPES:
        for word in words:
            if word in contents.words or (len(word) > 4 and any(word in said for said in contents.words)):
                return control
            if "_" in word and contents.words.issuperset(word.split("_")):
                return control
    return ""


def _refuse_lookalikes(contents: Contents) -> None:
    name = contents.path.name
    if "lora_controlnet" in contents.tensors:
        raise NotRecognised(f"{name} is a control-LoRA, which is not supported; import the full ControlNet")
    if contents.has("lllite_unet_"):
        raise NotRecognised(f"{name} is a ControlNet-LLLite, which is not supported")
    if contents.has("adapter.body.") or (contents.has("body.0.resnets.") and contents.has("conv_in.")):
        raise NotRecognised(f"{name} is a T2I adapter, which is not supported")


def _answer(
    contents: Contents,
    *,
    family: str,
    class_name: str,
    file_format: FileFormat,
    prefix: str = "",
    variant: str = "",
) -> Identified:
    return identified(
        contents,
        ModelKind.CONTROLNET,
        family=family,
        variant=variant or control_type(contents),
        file_format=file_format,
        components=(contents.component("controlnet", class_name, prefix),),
    )


def _ldm(contents: Contents) -> Identified | None:
    """The layout of the first ControlNets, alone or with the checkpoint they were trained beside."""
    for prefix in ("control_model.", ""):
        if contents.has(f"{prefix}zero_convs.") or contents.has(f"{prefix}input_hint_block."):
            break
    else:
        return None
    # Those of transformers may have a hint block as well.
    if contents.has(f"{prefix}double_blocks.") or contents.has(f"{prefix}x_embedder."):
        return None
    needed = ("time_embed.0.weight", "input_hint_block.0.weight", "middle_block_out.0.weight")
    require_names(contents, "the ControlNet", [prefix + name for name in needed])
    inputs = require_contiguous(contents, "the ControlNet", f"{prefix}input_blocks")
    require_names(contents, "the ControlNet", [f"{prefix}zero_convs.{inputs - 1}.0.weight"])
    if contents.has(f"{prefix}label_emb."):
        family = "sdxl"
    else:
        entry = contents.shape(f"{prefix}input_blocks.1.1.proj_in.weight") or ()
        family = "sd2" if len(entry) == 2 else "sd15"
    return _answer(
        contents,
        family=family,
        class_name="ControlNetModel",
        file_format=FileFormat.SINGLE_FILE,
        prefix=prefix,
    )


def _unet(contents: Contents) -> Identified | None:
    """diffusers' ControlNetModel and its union form."""
    if not contents.has("controlnet_down_blocks."):
        return None
    needed = ("conv_in.weight", "time_embedding.linear_1.weight", "controlnet_mid_block.weight")
    require_names(contents, "the ControlNet", (*needed, "controlnet_cond_embedding.conv_in.weight"))
    require_contiguous(contents, "the ControlNet", "controlnet_down_blocks")
    require_contiguous(contents, "the ControlNet", "down_blocks")
    family, _ = unet_family(contents)
    is_union = contents.has("task_embedding") or contents.has("control_add_embedding.")
    return _answer(
        contents,
        family=family,
        class_name="ControlNetUnionModel" if is_union else "ControlNetModel",
        file_format=FileFormat.DIFFUSERS,
        variant="union" if is_union else "",
    )


def _flux_of_xlabs(contents: Contents) -> Identified | None:
    """XLabs' ControlNets for FLUX: BFL's block names beside a hint block."""
    if not (contents.has("input_hint_block.") and contents.has("double_blocks.")):
        return None
    require_names(contents, "the ControlNet", ("img_in.weight", "controlnet_blocks.0.weight"))
    return _answer(
        contents, family="flux", class_name="FluxControlNetModel", file_format=FileFormat.SINGLE_FILE
    )


def _transformer(contents: Contents) -> Identified | None:
    """ControlNets in diffusers' layout beside a transformer."""
    if contents.has("control_layers.") or contents.has("control_all_x_embedder."):
        return _answer(
            contents, family="z-image", class_name="ZImageControlNetModel", file_format=FileFormat.DIFFUSERS
        )
    if not contents.has("controlnet_blocks."):
        return None
    require_contiguous(contents, "the ControlNet", "controlnet_blocks")
    if contents.has("transformer_blocks.0.img_mod."):
        family, class_name, needed = "qwen-image", "QwenImageControlNetModel", "controlnet_x_embedder.weight"
    elif contents.has("controlnet_x_embedder."):
        family, class_name, needed = "flux", "FluxControlNetModel", "x_embedder.weight"
    else:
        family, class_name, needed = "sd3", "SD3ControlNetModel", "pos_embed_input.proj.weight"
    require_names(contents, "the ControlNet", (needed, "transformer_blocks.0.attn.to_q.weight"))
    return _answer(
        contents,
        family=family,
        class_name=class_name,
        file_format=FileFormat.DIFFUSERS,
        variant="union" if contents.has("controlnet_mode_embedder.") else "",
    )
