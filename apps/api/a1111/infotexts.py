"""Between an image's text ("parameters") and this dialect's fields."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from apps.generation.adapters import entries_of
from apps.generation.infotext import parameters_text
from apps.generation.models import GenerationJob
from gpu_runtime.metadata.infotext import parse_infotext

FIELDS: Final[Mapping[str, str]] = {
    "Steps": "steps",
    "Sampler": "sampler_name",
    "Schedule type": "scheduler",
    "CFG scale": "cfg_scale",
    "Seed": "seed",
    "Variation seed": "subseed",
    "Variation seed strength": "subseed_strength",
    "Tiling": "tiling",
    "Denoising strength": "denoising_strength",
    "Mask blur": "mask_blur",
    "Refiner": "refiner_checkpoint",
    "Refiner switch at": "refiner_switch_at",
    "Hires upscale": "hr_scale",
    "Hires upscaler": "hr_upscaler",
    "Hires steps": "hr_second_pass_steps",
    "Hires sampler": "hr_sampler_name",
    "Hires schedule type": "hr_scheduler",
    "Hires prompt": "hr_prompt",
    "Hires negative prompt": "hr_negative_prompt",
}
"""Names in the text, and those of the fields that mean the same."""

OPTIONS: Final[Mapping[str, str]] = {
    "Model": "sd_model_checkpoint",
    "VAE": "sd_vae",
    "Clip skip": "CLIP_stop_at_last_layers",
}
"""The same of settings that a request overrides."""

SIZE: Final = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")

OWN_KEYS: Final = frozenset(
    {
        "Steps",
        "Sampler",
        "CFG scale",
        "Seed",
        "Variation seed",
        "Variation seed strength",
        "Seed resize from",
        "Face restoration",
        "Size",
        "Model hash",
        "Model",
        "VAE",
        "VAE hash",
        "Clip skip",
        "Denoising strength",
        "Version",
    }
)
"""What `info` has under names of its own; the others are its extra_generation_params."""


def fields_in(text: str) -> dict[str, object]:
    """What such a text asks for, by this dialect's names; values are text, as readers take them."""
    found = parse_infotext(text)
    fields: dict[str, object] = {"prompt": found.prompt, "negative_prompt": found.negative_prompt}
    fields |= {ours: found.settings[name] for name, ours in FIELDS.items() if name in found.settings}
    size = SIZE.fullmatch(found.settings.get("Size", ""))
    if size is not None:
        fields |= {"width": size[1], "height": size[2]}
    later = SIZE.fullmatch(found.settings.get("Hires resize", ""))
    if later is not None:
        fields |= {"hr_resize_x": later[1], "hr_resize_y": later[2]}
    resized = SIZE.fullmatch(found.settings.get("Seed resize from", ""))
    if resized is not None:
        fields |= {"seed_resize_from_w": resized[1], "seed_resize_from_h": resized[2]}
    if found.settings.get("Face restoration"):
        fields["restore_faces"] = True
    if any(name.startswith("Hires ") for name in found.settings):
        fields["enable_hr"] = True
    options = {ours: found.settings[name] for name, ours in OPTIONS.items() if name in found.settings}
    return fields | ({"override_settings": options} if options else {})


def parameters_of(settings: Mapping[str, str]) -> dict[str, str]:
    """What png-info answers as `parameters`: as it is there, with a size in two parts."""
    found = {"Prompt": "", "Negative prompt": "", **settings}
    size = SIZE.fullmatch(found.pop("Size", ""))
    if size is not None:
        found |= {"Size-1": size[1], "Size-2": size[2]}
    return {"Clip skip": "1", "Schedule type": "Automatic"} | found


def infotexts_of(job: GenerationJob) -> list[str]:
    """The texts of the job's images, as their files have them."""
    resolved = job.resolved
    # Without LoRAs nothing is looked up: this is told of every image of a job.
    entries = entries_of([job]) if resolved.adapters.loras else {}
    return [
        parameters_text(resolved, job.checkpoint, entries, seed=seed, index=index)
        for index, seed in enumerate(resolved.seeds)
    ]


def extra_params(text: str) -> dict[str, str]:
    """What of a text `info` has no names of its own for."""
    settings = parse_infotext(text).settings
    return {name: value for name, value in settings.items() if name not in OWN_KEYS}
