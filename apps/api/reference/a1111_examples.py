"""Answers of the AUTOMATIC1111 dialect as examples, by path where a list is meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from apps.api.a1111.options import Option
from apps.api.reference.shapes import Json, shape_of

IMAGES: Final = {"images": ["iVBORw0KGgo…"], "parameters": {}, "info": '{"prompt": "a red fox", "seed": 7}'}
_STATE: Final = {
    "skipped": False,
    "interrupted": False,
    "stopping_generation": False,
    "job": "task(a1)",
    "job_count": 1,
    "job_timestamp": "20260302120000",
    "job_no": 0,
    "sampling_step": 5,
    "sampling_steps": 20,
}
PROGRESS: Final = {
    "progress": 0.25,
    "eta_relative": 3.1,
    "state": _STATE,
    "current_image": None,
    "textinfo": None,
    "current_task": "task(a1)",
}
_OR_NULL: Final[Json] = {"type": ["string", "null"]}
PROGRESS_SCHEMA: Final = shape_of(PROGRESS, current_image=_OR_NULL, textinfo=_OR_NULL, current_task=_OR_NULL)
TASK: Final = {
    "active": True,
    "queued": False,
    "completed": False,
    "progress": 0.25,
    "eta": 3.1,
    "live_preview": None,
    "id_live_preview": -1,
    "textinfo": None,
}
_NUMBER_OR_NULL: Final[Json] = {"type": ["number", "null"]}
TASK_SCHEMA: Final = shape_of(
    TASK, progress=_NUMBER_OR_NULL, eta=_NUMBER_OR_NULL, live_preview=_OR_NULL, textinfo=_OR_NULL
)
MODULES: Final = {"none": {"model_free": False, "sliders": []}}
CONTROL_TYPE: Final = {
    "module_list": ["none", "canny"],
    "model_list": ["None"],
    "default_option": "canny",
    "default_model": "None",
}
_FILE: Final = "models/Stable-diffusion/starter.safetensors"
_CHECKPOINT: Final = {
    "title": "starter.safetensors [9f86d08188]",
    "model_name": "starter",
    "hash": "9f86d08188",
    "sha256": "9f86d081884c7d65…",
    "filename": _FILE,
    "config": None,
}
_SAMPLER: Final = {"name": "Euler", "aliases": ["k_euler"], "options": {}}
_SCHEDULER: Final = {
    "name": "karras",
    "label": "Karras",
    "aliases": None,
    "default_rho": 7.0,
    "need_inner_model": False,
}
_UPSCALER: Final = {
    "name": "Lanczos",
    "model_name": None,
    "model_path": None,
    "model_url": None,
    "scale": 4.0,
}
_LORA: Final = {"name": "ink", "alias": "ink", "path": "models/Lora/ink.safetensors", "metadata": {}}
_EMBEDDING: Final = {
    "step": None,
    "sd_checkpoint": None,
    "sd_checkpoint_name": None,
    "shape": 768,
    "vectors": 4,
}
_SCRIPT: Final = {"name": "controlnet", "is_alwayson": True, "is_img2img": False, "args": []}
_EXTENSION: Final = {
    "name": "sd-webui-controlnet",
    "remote": "",
    "branch": "",
    "commit_hash": "",
    "version": "",
    "commit_date": 0,
    "enabled": True,
}
_RAM: Final = {"free": 8_000_000_000, "used": 8_000_000_000, "total": 16_000_000_000}
_NOTHING: Final[Json] = {"type": "array", "maxItems": 0}


def _rows(example: Mapping[str, Any], **overrides: Json) -> tuple[list[Mapping[str, Any]], Json]:
    """A list of one row, and its schema. Any: JSON."""
    return [example], {"type": "array", "items": shape_of(example, **overrides)}


LISTS: Final[Mapping[str, tuple[str, Any, Json]]] = {
    "sd-models": ("Checkpoints", *_rows(_CHECKPOINT, hash=_OR_NULL, sha256=_OR_NULL)),
    "sd-vae": ("VAEs", *_rows({"model_name": "clear", "filename": "models/VAE/clear.safetensors"})),
    "samplers": ("Samplers", *_rows(_SAMPLER)),
    "schedulers": (
        "Schedules",
        *_rows(_SCHEDULER, aliases={"type": ["array", "null"]}, default_rho=_NUMBER_OR_NULL),
    ),
    "upscalers": ("Upscalers", *_rows(_UPSCALER, model_path=_OR_NULL)),
    "latent-upscale-modes": ("Ways to enlarge latents", *_rows({"name": "Latent"})),
    "loras": ("LoRAs", *_rows(_LORA)),
    "embeddings": (
        "Embeddings",
        {"loaded": {"ink": _EMBEDDING}, "skipped": {}},
        shape_of({"loaded": {}, "skipped": {}}),
    ),
    "hypernetworks": ("Hypernetworks: none here", [], _NOTHING),
    "prompt-styles": ("Prompt styles: none here", [], _NOTHING),
    "face-restorers": ("Face restorers", *_rows({"name": "GFPGAN", "cmd_dir": None})),
    "realesrgan-models": (
        "Real-ESRGAN models",
        *_rows({"name": "R-ESRGAN 4x+", "path": "models/RealESRGAN/x4plus.safetensors", "scale": 4}),
    ),
    "scripts": (
        "Names of scripts",
        {"txt2img": ["controlnet"], "img2img": ["controlnet"]},
        shape_of({"txt2img": [""], "img2img": [""]}),
    ),
    "script-info": ("Scripts with their arguments", *_rows(_SCRIPT)),
    "extensions": ("Extensions whose endpoints are here", *_rows(_EXTENSION)),
    "cmd-flags": ("Flags of the command line", {"api": True, "nowebui": True}, shape_of({"api": True})),
    "memory": (
        "Memory, in bytes",
        {"ram": _RAM, "cuda": {"system": _RAM}},
        shape_of({"ram": _RAM, "cuda": {}}),
    ),
}
"""Name of the list -> summary, example, schema."""


def options(fixed: Mapping[str, object], changeable: Mapping[str, Option]) -> dict[str, object]:
    """What GET options answers before anything was changed."""
    return {**fixed, **{name: row.default for name, row in changeable.items()}}
