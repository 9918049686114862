"""What an image file says of itself: AUTOMATIC1111's text, which other programs read, and our own JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from apps.catalog.models import CatalogEntry
from apps.generation.choices import Balance
from apps.generation.resolved import ResolvedRequest
from gpu_runtime.messages import Enlarging, PromptStyle, Sampler, SigmaSchedule
from gpu_runtime.metadata.infotext import write_infotext

SOFTWARE: Final = "Darkroom"
HASH_CHARS: Final = 10
LORA_HASH_CHARS: Final = 12
"""As AUTOMATIC1111 cuts them; what is cut is the catalogue's digest of the files."""

SAMPLER_NAMES: Final[Mapping[Sampler, str]] = {
    Sampler.EULER: "Euler",
    Sampler.EULER_A: "Euler a",
    Sampler.HEUN: "Heun",
    Sampler.LMS: "LMS",
    Sampler.IPNDM: "IPNDM",
    Sampler.KDPM2: "DPM2",
    Sampler.KDPM2_A: "DPM2 a",
    Sampler.DPM_FAST: "DPM fast",
    Sampler.DPM_ADAPTIVE: "DPM adaptive",
    Sampler.DPMPP_2M: "DPM++ 2M",
    Sampler.DPMPP_2M_SDE: "DPM++ 2M SDE",
    Sampler.DPMPP_2M_SDE_HEUN: "DPM++ 2M SDE Heun",
    Sampler.DPMPP_3M_SDE: "DPM++ 3M SDE",
    Sampler.DPMPP_2S: "DPM++ 2S",
    Sampler.DPMPP_2S_A: "DPM++ 2S a",
    Sampler.DPMPP_SDE: "DPM++ SDE",
    Sampler.RESTART: "Restart",
    Sampler.DEIS: "DEIS",
    Sampler.UNIPC: "UniPC",
    Sampler.DDIM: "DDIM",
    Sampler.DDPM: "DDPM",
    Sampler.PNDM: "PLMS",
    Sampler.LCM: "LCM",
}
"""As AUTOMATIC1111 spells them."""

SCHEDULE_NAMES: Final[Mapping[SigmaSchedule, str]] = {
    SigmaSchedule.AUTOMATIC: "Automatic",
    SigmaSchedule.UNIFORM: "Uniform",
    SigmaSchedule.NORMAL: "Normal",
    SigmaSchedule.SGM_UNIFORM: "SGM Uniform",
    SigmaSchedule.SIMPLE: "Simple",
    SigmaSchedule.DDIM: "DDIM",
    SigmaSchedule.KARRAS: "Karras",
    SigmaSchedule.EXPONENTIAL: "Exponential",
    SigmaSchedule.POLYEXPONENTIAL: "Polyexponential",
    SigmaSchedule.KL_OPTIMAL: "KL Optimal",
    SigmaSchedule.ALIGN_YOUR_STEPS: "Align Your Steps",
    SigmaSchedule.BETA: "Beta",
}


def texts_of(
    resolved: ResolvedRequest, checkpoint: CatalogEntry | None, entries: Mapping[int, CatalogEntry]
) -> tuple[Mapping[str, str], ...]:
    """One mapping an image, or one for all where nothing was denoised; `entries` as for `parameters_text`."""
    if checkpoint is None:
        return ({"darkroom": _own_json(resolved, None)},)
    return tuple(
        {
            "parameters": parameters_text(resolved, checkpoint, entries, seed=seed, index=index),
            "darkroom": _own_json(resolved, seed),
        }
        for index, seed in enumerate(resolved.seeds)
    )


def parameters_text(
    resolved: ResolvedRequest,
    checkpoint: CatalogEntry | None,
    entries: Mapping[int, CatalogEntry],
    *,
    seed: int,
    index: int = 0,
) -> str:
    """The text that AUTOMATIC1111 calls "parameters", of the image of this seed and index.

    `entries` by primary key: those of its LoRAs, whose weights it names; of others it says the name alone.
    """
    return write_infotext(
        prompt=_prompt(resolved),
        negative_prompt=resolved.negative_prompt,
        settings={
            **_basics(resolved, checkpoint, seed, index),
            **_parts(resolved, _lora_hashes(resolved, entries)),
            "Version": SOFTWARE,
        },
    )


def _prompt(resolved: ResolvedRequest) -> str:
    """Where prompts are read as AUTOMATIC1111 reads them, with the LoRAs that it would find in them."""
    if resolved.prompt_style is not PromptStyle.WEIGHTED:
        return resolved.prompt
    tags = [f"<lora:{lora.name}:{lora.scale:g}>" for lora in resolved.adapters.loras]
    return " ".join([resolved.prompt.strip(), *tags])


def _basics(
    resolved: ResolvedRequest, checkpoint: CatalogEntry | None, seed: int, index: int
) -> dict[str, object]:
    """What every image has."""
    return {
        "Steps": resolved.steps,
        "Sampler": SAMPLER_NAMES[resolved.sampler],
        "Schedule type": SCHEDULE_NAMES[resolved.schedule],
        "CFG scale": resolved.guidance_scale,
        "Seed": seed,
        **_variation(resolved, index),
        "Size": f"{resolved.width}x{resolved.height}",
        "Model hash": checkpoint.digest[:HASH_CHARS] if checkpoint else None,
        "Model": resolved.checkpoint,
    }


def _parts(resolved: ResolvedRequest, lora_hashes: str) -> dict[str, object]:
    """What some images have; None where this one has not."""
    vae = resolved.adapters.vae
    return {
        "VAE": vae.name if vae else None,
        "Denoising strength": _strength(resolved),
        "Mix share": resolved.mix.share if resolved.mix else None,
        "Mix until": resolved.mix.until if resolved.mix else None,
        # AUTOMATIC1111 counts the last layer as 1.
        "Clip skip": resolved.clip_skip + 1 if resolved.clip_skip else None,
        "Mask blur": resolved.mask_options.blur_px if resolved.mask else None,
        "Lora hashes": lora_hashes or None,
        "Refiner": resolved.refiner.checkpoint.name if resolved.refiner else None,
        "Refiner switch at": resolved.refiner.switch_at if resolved.refiner else None,
        **_hires(resolved),
        **_controls(resolved),
        "Tiling": "True" if resolved.is_seamless else None,
        "Face restoration": ", ".join(used.assets[0].name for used in resolved.faces) or None,
    }


def _lora_hashes(resolved: ResolvedRequest, entries: Mapping[int, CatalogEntry]) -> str:
    """Which weights stand behind the names."""
    named = [(lora.name, entries.get(lora.entry_id)) for lora in resolved.adapters.loras]
    return ", ".join(f"{name}: {entry.digest[:LORA_HASH_CHARS]}" for name, entry in named if entry)


def _strength(resolved: ResolvedRequest) -> float | None:
    if resolved.image is not None:
        return resolved.strength
    return resolved.hires.strength if resolved.hires else None


def _hires(resolved: ResolvedRequest) -> dict[str, object]:
    hires = resolved.hires
    if hires is None:
        return {}
    return {
        "Hires resize": f"{hires.output_width}x{hires.output_height}",
        "Hires steps": hires.steps,
        "Hires sampler": SAMPLER_NAMES[hires.sampler] if hires.sampler else None,
        "Hires schedule type": SCHEDULE_NAMES[hires.schedule] if hires.sampler else None,
        "Hires prompt": hires.prompt,
        "Hires negative prompt": hires.negative_prompt,
        "Hires upscaler": hires.assets[0].name if hires.assets else _HIRES_NAMES[hires.enlarging],
    }


_CONTROL_MODES: Final[Mapping[Balance, str]] = {
    Balance.BALANCED: "Balanced",
    Balance.PROMPT: "My prompt is more important",
    Balance.CONTROL: "ControlNet is more important",
}

_HIRES_NAMES: Final[Mapping[Enlarging, str]] = {
    Enlarging.LATENTS: "Latent",
    Enlarging.LANCZOS: "Lanczos",
    Enlarging.NEAREST: "Nearest",
}


def _variation(resolved: ResolvedRequest, index: int) -> dict[str, object]:
    wish, seeds = resolved.variation, resolved.variation_seeds
    if wish is None:
        return {}
    return {
        "Variation seed": seeds[index] if seeds else None,
        "Variation seed strength": wish.strength if seeds else None,
        "Seed resize from": f"{wish.from_width}x{wish.from_height}" if wish.from_width else None,
    }


def _controls(resolved: ResolvedRequest) -> dict[str, object]:
    return {
        f"ControlNet {number}": f"Module: {control.type.value}, Model: {control.network.name},"
        f" Weight: {control.scale:g}, Guidance Start: {control.start:g}, Guidance End: {control.end:g},"
        f" Control Mode: {_CONTROL_MODES[control.balance]}"
        for number, control in enumerate(resolved.controls)
    }


def _own_json(resolved: ResolvedRequest, seed: int | None) -> str:
    """The request as it was run, without what only this server understands. Any: JSON."""
    stored: dict[str, Any] = {
        name: value for name, value in resolved.to_json().items() if name not in LEFT_OUT
    }
    if "hires" in stored:
        stored["hires"] = {name: value for name, value in stored["hires"].items() if name != "assets"}
    if seed is not None:
        stored["seed"] = seed
    return json.dumps({"software": SOFTWARE, **stored}, ensure_ascii=False, default=str)


LEFT_OUT: Final = frozenset(
    {
        "picture_digests",
        "num_images",
        "image",
        "mask",
        "references",
        "adapters",
        "controls",
        "ip_adapters",
        "face_swap",
        "detect",
        "background",
        "faces",
        "upscale",
        "reader",
        "check",
        "wants_previews",
    }
)
"""Fields that hold pictures and primary keys of ours, or say nothing about the image."""
