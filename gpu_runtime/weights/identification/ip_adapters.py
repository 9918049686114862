"""IP-adapters: image prompts for SD 1, SDXL and FLUX."""

from __future__ import annotations

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.identification.said import identified
from gpu_runtime.weights.taxonomy import FileFormat, Identified, ModelKind

SD15_LAYERS = 16
"""Cross-attentions of SD 1 and 2; SDXL has 70."""


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
        details={"layers": len(layers)},
    )


def _flux(contents: Contents) -> Identified:
    if not contents.has("ip_adapter_proj_model.") or not contents.has("double_blocks."):
        raise WeightsCorrupt(f"{contents.path.name} is an incomplete IP-adapter for FLUX")
    return identified(
        contents,
        ModelKind.IP_ADAPTER,
        family="flux",
        file_format=FileFormat.OTHER,
        components=(contents.component("attention", ""),),
    )


def _family(contents: Contents, layers: list[str]) -> str:
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
