"""Single-file checkpoints in the layouts of the original trainers, made from diffusers components.

The inverse of what an import does. Used to make tiny single files for tests and demos, and the stripped
headers of real ones; values are untouched, tensors may be on the meta device. Not imported by the apps.

Layouts: LDM (SD 1, SD 2, inpainting and pix2pix alike), SGM (SDXL and its refiner), Stability's (SD3, 3.5),
Black Forest Labs' (Flux).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from gpu_runtime.tiny.original_ldm import controlnet_to_ldm, unet_to_ldm, vae_to_ldm
from gpu_runtime.tiny.original_text import clip_to_openclip, clip_to_original, t5_to_original
from gpu_runtime.tiny.original_transformers import flux_to_original, sd3_to_original

StateDict = Mapping[str, Tensor]
Part = tuple[str, Callable[[StateDict], dict[str, Tensor]]]
"""Prefix in the single file, and the component's own mapping."""

DENOISER_PREFIX = "model.diffusion_model."
CONTROLNET_PREFIX = "control_model."

_LDM_PARTS: Mapping[str, Part] = {
    "unet": (DENOISER_PREFIX, unet_to_ldm),
    "vae": ("first_stage_model.", vae_to_ldm),
    "controlnet": (CONTROLNET_PREFIX, controlnet_to_ldm),
}

_LAYOUTS: Mapping[str, Mapping[str, Part]] = {
    "sd15": {**_LDM_PARTS, "text_encoder": ("cond_stage_model.transformer.", clip_to_original)},
    "sd2": {**_LDM_PARTS, "text_encoder": ("cond_stage_model.model.", clip_to_openclip)},
    "sdxl": {
        **_LDM_PARTS,
        "text_encoder": ("conditioner.embedders.0.transformer.", clip_to_original),
        "text_encoder_2": ("conditioner.embedders.1.model.", clip_to_openclip),
    },
    "sd3": {
        "transformer": (DENOISER_PREFIX, sd3_to_original),
        "vae": ("first_stage_model.", vae_to_ldm),
        "text_encoder": ("text_encoders.clip_l.transformer.", clip_to_original),
        "text_encoder_2": ("text_encoders.clip_g.transformer.", clip_to_original),
        "text_encoder_3": ("text_encoders.t5xxl.transformer.", t5_to_original),
    },
    "flux": {
        "transformer": (DENOISER_PREFIX, flux_to_original),
        "vae": ("vae.", vae_to_ldm),
        "text_encoder": ("text_encoders.clip_l.transformer.", clip_to_original),
        "text_encoder_2": ("text_encoders.t5xxl.transformer.", t5_to_original),
    },
}

_REFINER_ENCODER: Part = ("conditioner.embedders.0.model.", clip_to_openclip)
"""The refiner has only the larger encoder, in the first place."""

FAMILIES = tuple(_LAYOUTS)
"""Families that have an original layout here."""


def to_original(
    family: str, components: Mapping[str, StateDict], *, is_prefixed: bool = True
) -> dict[str, Tensor]:
    """Components by their diffusers names -> the tensors of one file in the family's original layout.

    A single component without its prefix (`is_prefixed=False`) is how VAEs, Flux and SD3 transformers are
    published on their own. Raises KeyError for a family, component or tensor the layout has no place for.
    """
    layout = dict(_LAYOUTS[family])
    if family == "sdxl" and "text_encoder_2" in components and "text_encoder" not in components:
        layout["text_encoder_2"] = _REFINER_ENCODER
    if not is_prefixed and len(components) != 1:
        raise ValueError("only a single component goes without its prefix")
    original: dict[str, Tensor] = {}
    for name, tensors in components.items():
        prefix, convert = layout[name]
        original |= {(prefix if is_prefixed else "") + key: t for key, t in convert(tensors).items()}
    return original


def read_components(
    folder: Path, names: Mapping[str, object] | tuple[str, ...]
) -> dict[str, dict[str, Tensor]]:
    """The tensors of each of these components of a diffusers folder; absent ones are left out."""
    components = {}
    for name in names:
        files = sorted((folder / name).glob("*.safetensors"))
        if files:
            components[name] = {key: tensor for file in files for key, tensor in load_file(file).items()}
    return components


def write_single_file(
    family: str,
    folder: Path,
    file: Path,
    *,
    only: tuple[str, ...] | None = None,
    is_prefixed: bool = True,
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write a diffusers folder as one safetensors file in the family's original layout; returns `file`.

    `only` names the components to take, else all the layout has a place for. Raises KeyError for a family
    without such a layout and FileNotFoundError for a folder without weights.
    """
    components = read_components(folder, only or tuple(_LAYOUTS[family]))
    if not components:
        raise FileNotFoundError(f"{folder} has no component of {family}")
    tensors = to_original(family, components, is_prefixed=is_prefixed)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(
        {name: t.contiguous() for name, t in tensors.items()}, file, metadata=dict(metadata or {}) or None
    )
    return file
