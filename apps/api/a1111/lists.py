"""What lists of the dialect hold: models and what else there is, in stable-diffusion-webui's shapes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from apps.api.a1111.checkpoints import list_checkpoints, sha256_of, short_hash, title_of
from apps.api.a1111.faces import list_restorers
from apps.api.a1111.samplers import SAMPLERS, SCHEDULERS
from apps.api.a1111.upscalers import LANCZOS, NONE, list_upscalers, title_of_upscaler
from apps.apikeys.models import ApiKey
from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry, CatalogQuerySet
from apps.catalog.selectors import list_usable
from apps.core import clock
from apps.generation.selectors import fresh_workers

Row = Mapping[str, object]

LATENT_MODES: Final = (
    "Latent",
    "Latent (antialiased)",
    "Latent (bicubic)",
    "Latent (bicubic antialiased)",
    "Latent (nearest)",
    "Latent (nearest-exact)",
)
"""All of theirs; one enlargement of latents stands for each here."""

UNIT_WIDTH: Final = {"sd15": 768, "sd2": 1024, "sdxl": 2048}
"""Of an embedding's vectors, by family."""

CMD_FLAGS: Final[Row] = {
    "api": True,
    "nowebui": True,
    "listen": True,
    "port": None,
    "share": False,
    "lowvram": False,
    "medvram": False,
    "no_half": False,
    "xformers": False,
    "disable_safe_unpickle": False,
    "ui_settings_file": "",
    "api_log": False,
}

SCRIPT_NAMES: Final = ("controlnet", "refiner")
"""What `alwayson_scripts` takes."""


def _file(folder: str, entry: CatalogEntry) -> str:
    """Where it would lie there; where it lies here is nobody's business."""
    return f"models/{folder}/{entry.name}.safetensors"


def _of_kind(key: ApiKey, kind: Kind) -> CatalogQuerySet:
    return list_usable(account=key.account, key=key).filter(kind=kind).order_by("name")


def checkpoints(key: ApiKey) -> list[Row]:
    """GET sd-models."""
    return [
        {
            "title": title_of(entry),
            "model_name": entry.name,
            "hash": short_hash(entry),
            "sha256": sha256_of(entry),
            "filename": _file("Stable-diffusion", entry),
            "config": None,
        }
        for entry in list_checkpoints(key).order_by("name")
    ]


def vaes(key: ApiKey) -> list[Row]:
    """GET sd-vae."""
    return [{"model_name": entry.name, "filename": _file("VAE", entry)} for entry in _of_kind(key, Kind.VAE)]


def samplers(key: ApiKey) -> list[Row]:
    """GET samplers."""
    return [
        {"name": row.name, "aliases": list(row.aliases), "options": dict(row.options)} for row in SAMPLERS
    ]


def schedulers(key: ApiKey) -> list[Row]:
    """GET schedulers."""
    return [
        {
            "name": row.schedule.value,
            "label": row.label,
            "aliases": list(row.aliases) or None,
            "default_rho": row.default_rho,
            "need_inner_model": row.need_inner_model,
        }
        for row in SCHEDULERS
    ]


def upscalers(key: ApiKey) -> list[Row]:
    """GET upscalers: the two without weights first, as there."""
    found: list[Row] = [_upscaler(NONE, 4.0), _upscaler(LANCZOS, 4.0)]
    for entry in list_upscalers(key.account):
        scale = float(entry.details.get("scale", 4))
        found.append(_upscaler(title_of_upscaler(entry), scale, _file("ESRGAN", entry)))
    return found


def _upscaler(name: str, scale: float, path: str | None = None) -> Row:
    return {"name": name, "model_name": None, "model_path": path, "model_url": None, "scale": scale}


def latent_modes(key: ApiKey) -> list[Row]:
    """GET latent-upscale-modes."""
    return [{"name": name} for name in LATENT_MODES]


def loras(key: ApiKey) -> list[Row]:
    """GET loras; the alias is what prompts may say as well."""
    return [
        {
            "name": entry.name,
            "alias": entry.aliases[0] if entry.aliases else entry.name,
            "path": _file("Lora", entry),
            "metadata": _metadata(entry),
        }
        for entry in _of_kind(key, Kind.LORA)
    ]


def _metadata(entry: CatalogEntry) -> Row:
    """In the words of training tools, as far as they are known."""
    known = {"ss_base_model_version": entry.family, "ss_output_name": entry.title}
    return {**known, "activation text": ", ".join(entry.trigger_words)} if entry.trigger_words else known


def embeddings(key: ApiKey) -> dict[str, object]:
    """GET embeddings: every one is usable with its own family of models, so none is skipped."""
    loaded = {
        entry.name: {
            "step": None,
            "sd_checkpoint": None,
            "sd_checkpoint_name": None,
            "shape": entry.details.get("width", UNIT_WIDTH.get(entry.family, 768)),
            "vectors": entry.details.get("vectors", 1),
        }
        for entry in _of_kind(key, Kind.EMBEDDING)
    }
    return {"loaded": loaded, "skipped": {}}


def face_restorers(key: ApiKey) -> list[Row]:
    """GET face-restorers: what `restore_faces` and the visibilities of extras use."""
    return [{"name": name, "cmd_dir": None} for name in list_restorers(key.account)]


def realesrgan_models(key: ApiKey) -> list[Row]:
    """GET realesrgan-models."""
    return [
        {
            "name": title_of_upscaler(entry),
            "path": _file("RealESRGAN", entry),
            "scale": int(entry.details.get("scale", 4)),
        }
        for entry in list_upscalers(key.account)
        if entry.name.startswith("realesr")
    ]


def nothing(key: ApiKey) -> list[Row]:
    """GET hypernetworks and prompt-styles: this server has none."""
    return []


def scripts(key: ApiKey) -> dict[str, object]:
    """GET scripts."""
    return {"txt2img": list(SCRIPT_NAMES), "img2img": list(SCRIPT_NAMES)}


def script_info(key: ApiKey) -> list[Row]:
    """GET script-info: each script once for each of the two endpoints."""
    return [
        {"name": name, "is_alwayson": True, "is_img2img": is_img2img, "args": list(ARGUMENTS[name])}
        for is_img2img in (False, True)
        for name in SCRIPT_NAMES
    ]


def _argument(label: str, value: object, minimum: float | None = None, maximum: float | None = None) -> Row:
    step = 0.01 if maximum is not None else None
    return {
        "label": label,
        "value": value,
        "minimum": minimum,
        "maximum": maximum,
        "step": step,
        "choices": None,
    }


ARGUMENTS: Final[Mapping[str, tuple[Row, ...]]] = {
    "controlnet": tuple(_argument(f"ControlNet Unit {number}", None) for number in range(5)),
    "refiner": (
        _argument("Refiner", False),
        _argument("Checkpoint", ""),
        _argument("Switch at", 0.8, 0.01, 1.0),
    ),
}


def extensions(key: ApiKey) -> list[Row]:
    """GET extensions: those whose endpoints are served here, for clients that look for them."""
    return [
        {
            "name": "sd-webui-controlnet",
            "remote": "",
            "branch": "",
            "commit_hash": "",
            "version": "",
            "commit_date": 0,
            "enabled": True,
        }
    ]


def cmd_flags(key: ApiKey) -> Row:
    """GET cmd-flags."""
    return CMD_FLAGS


def memory(key: ApiKey) -> dict[str, object]:
    """GET memory, in bytes: of this machine, and of weights on the GPUs of its workers."""
    page = os.sysconf("SC_PAGE_SIZE")
    total, free = os.sysconf("SC_PHYS_PAGES") * page, os.sysconf("SC_AVPHYS_PAGES") * page
    gpus = [worker for worker in fresh_workers(now=clock.now()) if worker.device.startswith("cuda")]
    budget = sum(worker.weights_budget_bytes for worker in gpus)
    used = sum(worker.weights_bytes for worker in gpus)
    system = {"free": max(0, budget - used), "used": used, "total": budget}
    return {
        "ram": {"free": free, "used": total - free, "total": total},
        "cuda": {"system": system} if gpus else {"error": "unavailable"},
    }
