"""Settings as SwarmUI, InvokeAI and NovelAI write them: flat JSON, under names of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

SWARMUI: Final = {
    "Prompt": ("prompt",),
    "Negative prompt": ("negativeprompt",),
    "Steps": ("steps",),
    "Sampler": ("sampler",),
    "Schedule type": ("scheduler",),
    "CFG scale": ("cfgscale",),
    "Seed": ("seed",),
    "Model": ("model",),
    "Denoising strength": ("initimagecreativity",),
}
INVOKEAI: Final = {
    "Prompt": ("positive_prompt", "prompt"),
    "Negative prompt": ("negative_prompt",),
    "Steps": ("steps",),
    "Sampler": ("scheduler", "sampler"),
    "CFG scale": ("cfg_scale",),
    "Seed": ("seed",),
    "Model": ("model", "model_weights"),
    "Denoising strength": ("strength",),
    "Clip skip": ("clip_skip",),
}
NOVELAI: Final = {
    "Prompt": ("prompt",),
    "Negative prompt": ("uc",),
    "Steps": ("steps",),
    "Sampler": ("sampler",),
    "Schedule type": ("noise_schedule",),
    "CFG scale": ("scale",),
    "Seed": ("seed",),
    "Denoising strength": ("strength",),
}
"""AUTOMATIC1111's name of a setting, and theirs."""


def settings_of(values: Mapping[str, Any], names: Mapping[str, tuple[str, ...]]) -> dict[str, str]:
    """By AUTOMATIC1111's names; what is not said is missing. `values` is JSON of anybody, hence Any."""
    found: dict[str, str] = {}
    for ours, theirs in names.items():
        text = next((text for name in theirs if (text := _text(values.get(name)))), "")
        if text:
            found[ours] = text
    width, height = _text(values.get("width")), _text(values.get("height"))
    if width and height:
        found["Size"] = f"{width}x{height}"
    return found


def _text(value: Any) -> str:
    if isinstance(value, dict):
        # InvokeAI names a model by what it is, beside its hash and its base.
        value = value.get("model_name") or value.get("name")
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    return str(value)
