"""One component's folder whose config.json names a class that the rules for bare tensors do not know."""

from __future__ import annotations

from gpu_runtime.errors import NotRecognised
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.said import identified
from gpu_runtime.weights.taxonomy import FileFormat, Identified, ModelKind

DENOISER_FAMILIES = {
    "AuraFlowTransformer2DModel": "auraflow",
    "BriaTransformer2DModel": "bria",
    "ChromaTransformer2DModel": "chroma",
    "CogView3PlusTransformer2DModel": "cogview3",
    "CogView4Transformer2DModel": "cogview4",
    "ErnieImageTransformer2DModel": "ernie-image",
    "Flux2Transformer2DModel": "flux2",
    "HiDreamImageTransformer2DModel": "hidream",
    "HunyuanDiT2DModel": "hunyuan-dit",
    "HunyuanImageTransformer2DModel": "hunyuan-image",
    "Kandinsky3UNet": "kandinsky3",
    "Krea2Transformer2DModel": "krea2",
    "Lumina2Transformer2DModel": "lumina2",
    "LuminaNextDiT2DModel": "lumina",
    "OvisImageTransformer2DModel": "ovis-image",
    "PRXTransformer2DModel": "prx",
    "PixArtTransformer2DModel": "pixart",
    "QwenImageTransformer2DModel": "qwen-image",
    "SanaTransformer2DModel": "sana",
    "ZImageTransformer2DModel": "z-image",
}
"""Denoisers of families that run through diffusers' own pipelines, by class."""

_AUTOENCODERS = {
    "AutoencoderKLFlux2": "flux2",
    "AutoencoderKLQwenImage": "qwen-image",
    "AutoencoderDC": "sana",
}

_REFUSED = {
    "MotionAdapter": "a motion module of AnimateDiff",
    "T2IAdapter": "a T2I adapter",
}


def claim_by_config(contents: Contents) -> Identified | None:
    """An answer by the class alone, None where the rules for tensors know better."""
    class_name = class_name_of(contents)
    if class_name in _REFUSED:
        raise NotRecognised(f"{contents.path.parent.name} is {_REFUSED[class_name]}, which is not supported")
    if class_name in DENOISER_FAMILIES:
        return identified(
            contents,
            ModelKind.CHECKPOINT,
            family=DENOISER_FAMILIES[class_name],
            file_format=FileFormat.DIFFUSERS,
            components=(
                contents.component("unet" if class_name.endswith("UNet") else "transformer", class_name),
            ),
            details={"missing": ("text_encoder", "vae")},
        )
    if class_name in _AUTOENCODERS:
        return identified(
            contents,
            ModelKind.VAE,
            family=_AUTOENCODERS[class_name],
            file_format=FileFormat.DIFFUSERS,
            components=(contents.component("vae", class_name),),
        )
    return None


def class_name_of(contents: Contents) -> str:
    """diffusers' `_class_name`, else the first of transformers' `architectures`."""
    said = contents.config.get("_class_name")
    if isinstance(said, str):
        return said
    named = contents.config.get("architectures")
    return named[0] if isinstance(named, list) and named and isinstance(named[0], str) else ""
