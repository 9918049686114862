"""Which base model a LoRA was trained on, by the layers it names; sizes only where the layers are the same.

A layer's name is brought into one spelling first: without the trainer's prefix, with underscores for dots.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from gpu_runtime.adapters.lora_keys import Part, Stems
from gpu_runtime.errors import NotRecognised
from gpu_runtime.weights.identification.contents import Contents

_PREFIXES = re.compile(
    r"^(base_model_model_)?(lora_(unet|transformer|prior)_|lycoris_(unet_)?|unet_|transformer_(?!blocks)"
    r"|(model_)?diffusion_model_)?"
)
_TEXT = re.compile(r"^(base_model_model_)?(lora_te\d?_|text_encoders?_)")


class Layers:
    """The denoiser's layers of one adapter in one spelling, and the text encoders' stems."""

    def __init__(self, contents: Contents, stems: Stems) -> None:
        self.contents = contents
        self.stems = stems
        self.denoiser: dict[str, str] = {}
        """Spelling -> stem."""
        self.text: list[str] = []
        for stem in [*stems.parts, *(stems.unknown if not stems.parts else ())]:
            flat = stem.replace(".", "_")
            if _TEXT.match(flat):
                self.text.append(flat)
            else:
                self.denoiser[_PREFIXES.sub("", flat)] = stem

    def any(self, pattern: str) -> bool:
        """Whether any layer of the denoiser begins so."""
        compiled = re.compile(pattern)
        return any(compiled.match(name) for name in self.denoiser)

    def matching(self, pattern: str) -> Iterable[str]:
        compiled = re.compile(pattern)
        return (name for name in self.denoiser if compiled.search(name))

    def given(self, name: str) -> int:
        """Width of what the layer takes, 0 where its factors do not show it."""
        parts = self.stems.parts.get(self.denoiser.get(name, name), {})
        for part in (Part.DOWN, Part.HADA_W1_B, Part.LOKR_W2_B):
            if part in parts:
                return self.contents.side(parts[part], 1)
        return self.contents.side(parts[Part.FULL], 1) if Part.FULL in parts else 0

    def made(self, name: str) -> int:
        """Width of what the layer gives, 0 where its factors do not show it."""
        parts = self.stems.parts.get(self.denoiser.get(name, name), {})
        for part in (Part.UP, Part.HADA_W1_A):
            if part in parts:
                return self.contents.side(parts[part], 0)
        return 0


def base_family(contents: Contents, stems: Stems) -> str:
    """Raises NotRecognised for layers no family here has."""
    layers = Layers(contents, stems)
    for rule in _RULES:
        family = rule(layers)
        if family:
            return family
    raise NotRecognised(f"{contents.path.name} is a LoRA for a base model that is not known here")


def _video(layers: Layers) -> str:
    patterns = (
        r"blocks_\d+_(self_attn|cross_attn)_[qkvo]$",
        r"txt_in_individual_token_refiner",
        r"transformer_blocks_\d+_attn\d_to_\w+_video",
        r"down_blocks_\d+_motion_modules",
    )
    if any(layers.any(pattern) for pattern in patterns):
        raise NotRecognised(f"{layers.contents.path.name} is a LoRA for a video model")
    return ""


def _marked(layers: Layers) -> str:
    """Families whose layers have names of their own."""
    for pattern, family in _MARKS:
        if layers.any(pattern):
            return family
    return ""


_MARKS = (
    (r"joint_blocks_\d+_", "sd3"),
    (r"double_stream_blocks_\d+_|single_stream_blocks_\d+_", "hidream"),
    (r"(double|single)_layers_\d+_|joint_transformer_blocks_\d+_", "auraflow"),
    (r"distilled_guidance_layer", "chroma"),
    (r"double_stream_modulation|single_stream_modulation", "flux2"),
    (r"single_transformer_blocks_\d+_attn_(to_qkv_mlp_proj|to_out$)", "flux2"),
    (r"transformer_blocks_\d+_(img|txt)_(mlp|mod)_", "qwen-image"),
    (r"(layers|noise_refiner|context_refiner)_\d+_(attention|feed_forward|adaLN)", "z-image"),
)


def _flux(layers: Layers) -> str:
    """BFL's and XLabs' names, and diffusers' with single blocks."""
    if layers.any(r"double_blocks_\d+_processor|single_blocks_\d+_processor"):
        return "flux"
    if layers.any(r"double_blocks_\d+_(img|txt)_|single_blocks_\d+_(linear|modulation|norm)"):
        # FLUX.2's feed-forward is gated, so its fused layers are 9 times as wide as their input, not 7.
        fused = [name for name in layers.matching(r"single_blocks_\d+_linear1$") if layers.given(name)]
        is_gated = any(layers.made(name) == 9 * layers.given(name) for name in fused)
        return "flux2" if is_gated else _flux_or_chroma(layers)
    if layers.any(r"single_transformer_blocks_\d+_"):
        return _flux_or_chroma(layers)
    return ""


def _flux_or_chroma(layers: Layers) -> str:
    return "chroma" if layers.contents.says("chroma") else "flux"


def _transformer(layers: Layers) -> str:
    """Names that several transformers share: joint attention, with or without its text half."""
    if not layers.any(r"transformer_blocks_\d+_"):
        return ""
    if layers.any(r"transformer_blocks_\d+_attn2_") and not layers.any(r"transformer_blocks_\d+_attn_"):
        return "sana" if layers.any(r"transformer_blocks_\d+_ff_conv") else "pixart"
    numbers = [int(name.split("_")[2]) for name in layers.denoiser if name.startswith("transformer_blocks_")]
    widths = {layers.given(name) for name in layers.matching(r"^transformer_blocks_\d+_attn_to_q$")}
    if 3072 in widths and not layers.any(r"transformer_blocks_\d+_ff"):
        return "qwen-image" if max(numbers) >= 19 else "flux"
    return "sd3"


def _unet(layers: Layers) -> str:
    """SDXL attends from the second level on and deeper; SD 1 and 2 at the top, once a layer."""
    top = r"input_blocks_[12]_1_|down_blocks_0_attentions|output_blocks_(9|10|11)_1_|up_blocks_3_attentions"
    if layers.any(top):
        return _sd15_or_sd2(layers)
    deep = r"(input_blocks_[4578]_1|output_blocks_[0-5]_1|middle_block_1)_transformer_blocks_[1-9]"
    deep_diffusers = r"(down_blocks_[12]|up_blocks_[01]|mid_block)_attentions_\d+_transformer_blocks_[1-9]"
    if layers.any(deep) or layers.any(deep_diffusers) or layers.any(r"label_emb|add_embedding"):
        return "sdxl"
    if not layers.any(r"(input_blocks|output_blocks|middle_block|down_blocks|up_blocks|mid_block)_"):
        return ""
    contexts = {layers.given(name) for name in layers.matching(r"attn2_to_[kv]$")}
    if 2048 in contexts:
        return "sdxl"
    return _sd15_or_sd2(layers)


def _sd15_or_sd2(layers: Layers) -> str:
    contexts = {layers.given(name) for name in layers.matching(r"attn2_to_[kv]$")}
    if 1024 in contexts or 768 in contexts:
        return "sd2" if 1024 in contexts else "sd15"
    if layers.contents.metadata.get("ss_v2", "").lower() == "true" or _version(layers).startswith("sd_v2"):
        return "sd2"
    if _version(layers).startswith("sd_v1"):
        return "sd15"
    for name in layers.matching(r"attentions_\d+_proj_in$|input_blocks_\d+_1_proj_in$"):
        parts = layers.stems.parts[layers.denoiser[name]]
        shape = layers.contents.shape(parts[Part.DOWN]) if Part.DOWN in parts else None
        if shape is not None:
            return "sd2" if len(shape) == 2 else "sd15"
    return "sd15"


def _version(layers: Layers) -> str:
    return layers.contents.metadata.get("ss_base_model_version", "").lower()


_BY_METADATA = (
    ("sdxl", "sdxl"),
    ("stable-diffusion-xl", "sdxl"),
    ("sd3", "sd3"),
    ("stable-diffusion-3", "sd3"),
    ("flux-2", "flux2"),
    ("flux", "flux"),
    ("sd_v2", "sd2"),
    ("stable-diffusion-v2", "sd2"),
    ("sd_v1", "sd15"),
    ("stable-diffusion-v1", "sd15"),
)


def _text_only(layers: Layers) -> str:
    """Adapters of text encoders alone: by what the trainer said, then by how many encoders there are."""
    if layers.denoiser or not layers.text:
        return ""
    said = [_version(layers), layers.contents.metadata.get("modelspec.architecture", "").lower()]
    for start, family in _BY_METADATA:
        if any(each.startswith(start) for each in said):
            return family
    if any(re.search(r"te2_|text_encoder_2_", name) for name in layers.text):
        return "sdxl"
    wide = (r"_(1[2-9]|2[0-9])_self_attn_", r"_(1[2-9]|2[0-9])_mlp_")
    is_deep = any(re.search(pattern, name) for pattern in wide for name in layers.text)
    return "sd2" if is_deep else "sd15"


_RULES: tuple[Callable[[Layers], str], ...] = (_video, _marked, _flux, _transformer, _unet, _text_only)
