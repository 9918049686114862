"""Writes the starter model in the diffusers layout and loads it again the way any user would.

Knows the layout only: what the weights mean is the trainers' business.
"""

import copy
import json
import shutil
from pathlib import Path
from typing import TypeVar

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

ModuleT = TypeVar("ModuleT", bound=torch.nn.Module)

SHARD = "15MB"
"""Largest weights file. Some hosts refuse or hide larger files in a repository."""


def export(
    folder: Path,
    *,
    vae: AutoencoderKL,
    unet: UNet2DConditionModel,
    text_encoder: CLIPTextModel,
    tokenizer_folder: Path,
    scheduler: DDIMScheduler,
) -> None:
    """Replaces the weights and configs in `folder`, float16 safetensors; the card and the notice stay."""
    for part in ("vae", "unet", "text_encoder", "tokenizer", "scheduler"):
        shutil.rmtree(folder / part, ignore_errors=True)
    pipeline = StableDiffusionPipeline(
        vae=half_copy(vae),
        unet=half_copy(unet),
        text_encoder=half_copy(text_encoder),
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer_folder),
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.save_pretrained(folder, safe_serialization=True, max_shard_size=SHARD)
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(tokenizer_folder / name, folder / "tokenizer" / name)
    _forget_paths(folder)
    _open_in_full_precision(folder / "text_encoder" / "config.json")
    for path in folder.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)


def half_copy(module: ModuleT) -> ModuleT:
    """A float16 copy on the CPU in contiguous layout; the original stays as it is."""
    halved = copy.deepcopy(module).cpu().half()
    for parameter in halved.parameters():
        parameter.data = parameter.data.contiguous()
    return halved


def _forget_paths(folder: Path) -> None:
    """Configs remember the folder they came from: a build machine's path is nobody's business."""
    for path in folder.rglob("*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and content.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _open_in_full_precision(config: Path) -> None:
    """transformers opens weights in the precision its config names, diffusers in float32 unless told.

    With float16 in the config a plain `from_pretrained` would end in a mixture that cannot compute.
    """
    content = json.loads(config.read_text(encoding="utf-8"))
    config.write_text(json.dumps(content | {"dtype": "float32"}, indent=2) + "\n", encoding="utf-8")


def load(folder: Path) -> StableDiffusionPipeline:
    """The exported pipeline in float32 on the CPU, without touching any network."""
    pipeline = StableDiffusionPipeline.from_pretrained(
        folder, torch_dtype=torch.float32, local_files_only=True
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
