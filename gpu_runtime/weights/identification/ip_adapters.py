"""IP-adapters: image prompts for SD 1, SDXL, SD 3 and FLUX, and which encoder of pictures each sees with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.said import identified
from gpu_runtime.weights.taxonomy import Detail, FileFormat, Identified, ModelKind

SD15_LAYERS = 16
"""Cross-attentions of SD 1 and 2; SDXL has 70."""

SUMMARY: Final = "summary"
"""An adapter reads one vector a picture, as wide as CLIP's projection."""
TOKENS: Final = "tokens"
"""An adapter reads what the last layers see of each patch, as wide as the encoder itself."""

_CLIP, _SIGLIP = "CLIPVisionModelWithProjection", "SiglipVisionModel"
_TIMED: Final = "image_proj.time_embedding."
"""The resampler that knows the timestep, which adapters for SD 3 alone have."""
_INPUTS: Final = (
    ("image_proj.proj.weight", SUMMARY),
    ("ip_adapter_proj_model.proj.weight", SUMMARY),
    ("image_proj.proj.0.weight", TOKENS),
    ("image_proj.proj_in.weight", TOKENS),
)
"""The matrix that takes what the encoder gives, by make."""


def claim(contents: Contents) -> Identified | None:
    """An IP-adapter. Raises WeightsCorrupt when its projection or its attention is missing."""
    if contents.has("ip_adapter_proj_model.") or contents.has("double_blocks.0.processor.ip_adapter_"):
        return _flux(contents)
    has_projection, has_attention = contents.has("image_proj."), contents.has("ip_adapter.")
    if not has_projection and not has_attention:
        return None
    if not (has_projection and has_attention):
        lacking = "its attention" if has_projection else "its image projection"
        raise WeightsCorrupt(f"{contents.path.name} is an incomplete IP-adapter: {lacking} is missing")
    layers = [name for name in contents.starting("ip_adapter.") if name.endswith(".to_k_ip.weight")]
    return identified(
        contents,
        ModelKind.IP_ADAPTER,
        family=_family(contents, layers),
        variant=_variant(contents),
        file_format=FileFormat.OTHER,
        components=(
            contents.component("image_projection", "", "image_proj."),
            contents.component("attention", "", "ip_adapter."),
        ),
        details={"layers": len(layers), **_sight(contents)},
    )


def is_fitting(adapter: Mapping[str, object], encoder: Mapping[str, object]) -> bool:
    """Whether an adapter sees with an encoder, by their details; what either does not say fits anything."""
    given = encoder.get("projected" if adapter.get("reads") == SUMMARY else "width")
    pairs = (
        (adapter.get("encoder_class"), encoder.get("encoder_class")),
        (adapter.get("picture_width"), given),
    )
    return all(wanted == found for wanted, found in pairs if wanted is not None and found is not None)


def wanted_encoder(adapter: Mapping[str, object]) -> str:
    """The encoder that an adapter's details speak of, in words."""
    values = "projected values" if adapter.get("reads") == SUMMARY else "values a patch"
    width = adapter.get("picture_width")
    return f"a {adapter.get('encoder_class', _CLIP)}" + (f" of {width} {values}" if width else "")


def _sight(contents: Contents) -> dict[str, Detail]:
    """What it wants of an encoder of pictures."""
    name, reads = next((each for each in _INPUTS if each[0] in contents.tensors), ("", ""))
    if not name:
        return {}
    return {
        "encoder_class": _SIGLIP if contents.has(_TIMED) else _CLIP,
        "picture_width": contents.side(name, 1),
        "reads": reads,
    }


def _flux(contents: Contents) -> Identified:
    if not contents.has("ip_adapter_proj_model.") or not contents.has("double_blocks."):
        raise WeightsCorrupt(f"{contents.path.name} is an incomplete IP-adapter for FLUX")
    return identified(
        contents,
        ModelKind.IP_ADAPTER,
        family="flux",
        file_format=FileFormat.OTHER,
        components=(contents.component("attention", ""),),
        details=_sight(contents),
    )


def _family(contents: Contents, layers: list[str]) -> str:
    if contents.has(_TIMED):
        return "sd3"
    widths = {contents.side(name, 1) for name in layers}
    if 2048 in widths:
        return "sdxl"
    return "sd15" if 768 in widths or len(layers) <= SD15_LAYERS else "sdxl"


def _variant(contents: Contents) -> str:
    if contents.says("faceid", "face") and contents.has("ip_adapter.0.to_q_lora."):
        return "faceid"
    if contents.has("image_proj.latents") or contents.has("image_proj.perceiver_resampler."):
        return "plus"
    return "full" if contents.has("image_proj.proj.0.") else "base"
