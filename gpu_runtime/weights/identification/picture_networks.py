"""Networks of transformers that look at pictures, in folders whose config.json names their class.

Encoders of pictures for IP-adapters, and the readers that operations use: captions, masks from text, depth,
segmentation. The class decides; tensors tell whether the folder is whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from gpu_runtime.errors import NotRecognised, WeightsCorrupt
from gpu_runtime.weights.identification.components import class_name_of
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.parts import require_contiguous
from gpu_runtime.weights.identification.said import identified
from gpu_runtime.weights.taxonomy import Detail, FileFormat, Identified, ModelKind

IMAGE_ENCODER: Final = "image_encoder"


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureNetwork:
    """One class of transformers."""

    variant: str
    """By which requests find it."""
    marks: tuple[str, ...]
    """Its first and its last tensors, without which the folder is torn."""
    blocks: tuple[str, ...] = ()
    """Numbered blocks, without gaps from 0."""
    stored_class: str = ""
    """The class that is kept where that is a part of this one; "" for itself."""


_CLIP_EYES: Final = (
    "vision_model.embeddings.patch_embedding.weight",
    "vision_model.post_layernorm.weight",
    "visual_projection.weight",
)
_SIGLIP_EYES: Final = ("embeddings.patch_embedding.weight", "post_layernorm.weight")

PICTURE_NETWORKS: Final[Mapping[str, PictureNetwork]] = {
    "CLIPVisionModelWithProjection": PictureNetwork(
        variant=IMAGE_ENCODER, marks=_CLIP_EYES, blocks=("vision_model.encoder.layers",)
    ),
    "CLIPModel": PictureNetwork(
        variant=IMAGE_ENCODER,
        marks=_CLIP_EYES,
        blocks=("vision_model.encoder.layers",),
        stored_class="CLIPVisionModelWithProjection",
    ),
    "SiglipVisionModel": PictureNetwork(
        variant=IMAGE_ENCODER, marks=_SIGLIP_EYES, blocks=("vision_model.encoder.layers", "encoder.layers")
    ),
    "SiglipModel": PictureNetwork(
        variant=IMAGE_ENCODER,
        marks=_SIGLIP_EYES,
        blocks=("vision_model.encoder.layers",),
        stored_class="SiglipVisionModel",
    ),
    "BlipForConditionalGeneration": PictureNetwork(
        variant="caption",
        marks=(
            "vision_model.embeddings.patch_embedding.weight",
            "vision_model.post_layernorm.weight",
            "text_decoder.bert.embeddings.word_embeddings.weight",
            "text_decoder.cls.predictions.transform.dense.weight",
        ),
        blocks=("vision_model.encoder.layers", "text_decoder.bert.encoder.layer"),
    ),
    "CLIPSegForImageSegmentation": PictureNetwork(
        variant="text_mask",
        marks=(
            "vision_model.embeddings.patch_embedding.weight",
            "text_model.embeddings.token_embedding.weight",
            "decoder.transposed_convolution.bias",
        ),
        blocks=("clip.vision_model.encoder.layers", "clip.text_model.encoder.layers", "decoder.layers"),
    ),
    "DPTForDepthEstimation": PictureNetwork(
        variant="depth",
        marks=("neck.convs.0.weight", "head.head.0.weight", "head.head.4.weight"),
        blocks=("dpt.encoder.layer",),
    ),
    "DepthAnythingForDepthEstimation": PictureNetwork(
        variant="depth",
        marks=("neck.convs.0.weight", "head.conv1.weight", "head.conv3.weight"),
        blocks=("backbone.encoder.layer",),
    ),
    "SegformerForSemanticSegmentation": PictureNetwork(
        variant="segmentation",
        marks=("encoder.patch_embeddings.0.proj.weight", "decode_head.classifier.weight"),
        blocks=("segformer.encoder.block",),
    ),
    "UperNetForSemanticSegmentation": PictureNetwork(
        variant="segmentation", marks=("decode_head.bottleneck.conv.weight", "decode_head.classifier.weight")
    ),
}
"""By the class that config.json names. Marks are ends of names: what stands before differs by release."""

_UNSUPPORTED: Final[Mapping[str, str]] = {
    "CLIPVisionModel": "an image encoder without its projection; import the one that is published as "
    "CLIPVisionModelWithProjection, or the whole CLIPModel",
    "Blip2ForConditionalGeneration": "a captioner of a class that is not run here; import a "
    "BlipForConditionalGeneration",
}
"""Neighbours that look as if they would do."""


def claim(contents: Contents) -> Identified | None:
    """One that looks at pictures. Raises WeightsCorrupt for a torn one, NotRecognised for a neighbour."""
    class_name = class_name_of(contents)
    if class_name in _UNSUPPORTED:
        raise NotRecognised(f"{contents.path.parent.name} is {_UNSUPPORTED[class_name]}")
    network = PICTURE_NETWORKS.get(class_name)
    if network is None:
        return None
    _require_whole(contents, class_name, network)
    return identified(
        contents,
        ModelKind.PREPROCESSOR,
        family="",
        variant=network.variant,
        file_format=FileFormat.DIFFUSERS,
        components=(contents.component(network.variant, network.stored_class or class_name),),
        details=_details(contents, network),
    )


def _require_whole(contents: Contents, class_name: str, network: PictureNetwork) -> None:
    for mark in network.marks:
        if not any(name == mark or name.endswith(f".{mark}") for name in contents.tensors):
            raise WeightsCorrupt(f"{contents.path.parent.name} is incomplete: {class_name} lacks {mark}")
    for prefix in network.blocks:
        if contents.has(f"{prefix}."):
            require_contiguous(contents, class_name, prefix)


def _details(contents: Contents, network: PictureNetwork) -> dict[str, Detail]:
    """What an IP-adapter's choice of its encoder needs to know; nothing of other networks."""
    if network.variant != IMAGE_ENCODER:
        return {}
    seen = contents.config.get("vision_config")
    vision: Mapping[str, Any] = seen if isinstance(seen, dict) else contents.config
    table = next(name for name in contents.tensors if name.endswith("embeddings.patch_embedding.weight"))
    details: dict[str, Detail] = {
        "encoder_class": network.stored_class or class_name_of(contents),
        "width": contents.side(table, 0),
        "image_px": _whole(vision.get("image_size")),
    }
    if projected := contents.side("visual_projection.weight", 0):
        details["projected"] = projected
    return {name: value for name, value in details.items() if value}


def _whole(value: object) -> int:
    """0 for what is no number."""
    return value if type(value) is int and value > 0 else 0
