"""Tiny pipelines of every family in the layout of the real repositories, built from a seed.

Random weights: the images mean nothing, but every code path is the real one and a step takes milliseconds.
What the files promise: class names, component names, tensor names, tokenizer files and noise-scheduler
settings as released; equal seeds give equal bytes. Text encoders and autoencoders that the real families have
in common (CLIP ViT-L in 1.x, XL, 3 and FLUX; T5 in 3 and FLUX) are equal here as well.

Largest: HunyuanImage, 22 MB, since one of its layers has a fixed width of 2048.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from diffusers.utils import logging as diffusers_logging
from safetensors.torch import load_file
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.models.t5gemma.modeling_t5gemma import T5GemmaEncoder
from transformers.utils import logging as transformers_logging

from gpu_runtime.tiny import (
    clip,
    first_generation,
    flow,
    kolors,
    language_models,
    read_by_language_model,
    read_by_processor,
    read_by_t5,
    read_by_vision_model,
    stable_diffusion,
    structured_captions,
    two_stages,
)
from gpu_runtime.tiny.files import write_safetensors
from gpu_runtime.tiny.seeding import Seeds

Recipe = Callable[[Seeds], Any]
"""Builds a diffusers pipeline (untyped, hence Any)."""

RECIPES: Mapping[str, Recipe] = {
    "sd15": stable_diffusion.sd15,
    "sd15-inpaint": partial(stable_diffusion.sd15, is_inpaint=True),
    "sd2": stable_diffusion.sd2,
    "sd2-base": partial(stable_diffusion.sd2, is_v_prediction=False),
    "sdxl": stable_diffusion.sdxl,
    "sdxl-inpaint": partial(stable_diffusion.sdxl, is_inpaint=True),
    "sdxl-turbo": partial(stable_diffusion.sdxl, is_turbo=True),
    "sdxl-refiner": stable_diffusion.sdxl_refiner,
    "sd3": flow.sd3,
    "sd3.5-large": partial(flow.sd3, is_normed=True),
    "sd3.5-medium": partial(flow.sd3, is_normed=True, dual_blocks=1),
    "flux": flow.flux,
    "flux-schnell": flow.flux_schnell,
    "flux-kontext": flow.flux_kontext,
    "flux-fill": flow.flux_fill,
    "pixart": read_by_t5.pixart_sigma,
    "pixart-alpha": read_by_t5.pixart_alpha,
    "chroma": read_by_t5.chroma,
    "auraflow": read_by_t5.auraflow,
    "cogview3": read_by_t5.cogview3,
    "hunyuan-dit": read_by_t5.hunyuan_dit,
    "bria": read_by_t5.bria,
    "kandinsky3": read_by_t5.kandinsky3,
    "sana": read_by_language_model.sana,
    "sana-sprint": read_by_language_model.sana_sprint,
    "lumina": read_by_language_model.lumina,
    "lumina2": read_by_language_model.lumina2,
    "cogview4": read_by_language_model.cogview4,
    "flux2-klein": read_by_language_model.flux2_klein,
    "flux2-klein-kv": partial(read_by_language_model.flux2_klein, has_cache=True),
    "qwen-image": read_by_vision_model.qwen_image,
    "hunyuan-image": read_by_vision_model.hunyuan_image,
    "flux2": read_by_vision_model.flux2,
    "ernie-image": read_by_vision_model.ernie_image,
    "krea2": read_by_vision_model.krea2,
    "z-image": read_by_language_model.z_image,
    "ovis-image": read_by_language_model.ovis_image,
    "prx": read_by_language_model.prx,
    "prx-pixel": read_by_language_model.prx_pixel,
    "hidream": read_by_language_model.hidream,
    "z-image-omni": read_by_language_model.z_image_omni,
    "kolors": kolors.kolors,
    "fibo": structured_captions.fibo,
    "ideogram4": structured_captions.ideogram4,
    "fibo2": read_by_processor.fibo2,
    "kandinsky5": read_by_processor.kandinsky5,
    "longcat-image": read_by_processor.longcat_image,
    "longcat-image-edit": read_by_processor.longcat_image_edit,
    "qwen-image-edit": read_by_processor.qwen_image_edit,
    "dreamlite": read_by_processor.dreamlite,
    "dreamlite-mobile": read_by_processor.dreamlite_mobile,
    "qwen-image-2.1": read_by_processor.qwen_image_21,
    "nucleus-image": read_by_processor.nucleus_image,
    "kandinsky2": two_stages.kandinsky2,
    "kandinsky2.2": two_stages.kandinsky22,
    "stable-cascade": two_stages.stable_cascade,
    "wuerstchen": two_stages.wuerstchen,
    "deepfloyd-if": first_generation.deepfloyd_if,
    "latent-diffusion": first_generation.latent_diffusion,
    "alt-diffusion": first_generation.alt_diffusion,
    "stable-unclip": first_generation.stable_unclip,
    "karlo": first_generation.karlo,
    "amused": first_generation.amused,
    "vq-diffusion": first_generation.vq_diffusion,
    "ldm3d": first_generation.ldm3d,
    "unidiffuser": first_generation.unidiffuser,
}
"""By family, or family and variant."""

CLASS_NAMES_THEN = {
    "Siglip2ImageProcessorPil": "Siglip2ImageProcessor",
    "T5Tokenizer": "T5TokenizerFast",
    "TokenizersBackend": "PreTrainedTokenizerFast",
}
"""Names that released model_index.json files have for classes which the library has renamed since."""


def make_tiny(family: str, folder: Path, *, seed: int = 0, shared_seed: int | None = None) -> Path:
    """Build and save the tiny pipeline of a family, e.g. "sdxl" or "flux-schnell"; returns the folder.

    Two pipelines with one `shared_seed` (by default the seed) and different seeds are like fine-tunes of one
    base: they differ in the denoiser alone. Raises ValueError for an unknown family.
    """
    pipeline = tiny_pipeline(family, seed=seed, shared_seed=shared_seed)
    _save(pipeline, folder)
    return folder


def tiny_pipeline(family: str, *, seed: int = 0, shared_seed: int | None = None) -> Any:
    """The same in memory: a diffusers pipeline in float32. Any: untyped in diffusers."""
    if family not in RECIPES:
        raise ValueError(f"no tiny pipeline of {family!r}; there are: {', '.join(RECIPES)}")
    return RECIPES[family](Seeds(denoiser=seed, shared=seed if shared_seed is None else shared_seed))


def base_family(name: str) -> str:
    """The family of a variant's name: "sd3" of "sd3.5-large", "flux" of "flux-schnell"."""
    return name.split("-")[0].split(".")[0]


def _save(pipeline: Any, folder: Path) -> None:
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    pipeline.save_pretrained(folder, safe_serialization=True)
    _restore_class_names(folder / "model_index.json")
    for name, component in pipeline.components.items():
        if type(component) is CLIPTextModel:
            _restore_prefix(folder / name / "model.safetensors")
        elif isinstance(component, CLIPTokenizer):
            clip.save_tokenizer(folder / name, component)
        elif isinstance(component, T5GemmaEncoder):
            # Released with the configuration of the whole model, of which this is one half.
            language_models.t5gemma_config().save_pretrained(folder / name)


def _restore_class_names(file: Path) -> None:
    index = json.loads(file.read_text(encoding="utf-8"))
    for entry in index.values():
        if isinstance(entry, list):
            entry[1] = CLASS_NAMES_THEN.get(entry[1], entry[1])
    file.write_text(json.dumps(index, indent=2) + "\n", encoding="utf-8")


def _restore_prefix(file: Path) -> None:
    """Released text encoders keep their tensors under `text_model.`; transformers 5 writes them without."""
    tensors = {f"text_model.{name}": tensor for name, tensor in load_file(file).items()}
    write_safetensors(tensors, file, metadata={"format": "pt"})
