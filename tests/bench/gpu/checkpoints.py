"""Checkpoints of the released sizes without any download: real configurations, random weights.

The folders are complete and take no space: their safetensors files are holes as long as the real ones. The
engine stages and copies them as always, which is what a swap costs, and the values are drawn on the device
once they are there. Tokenizers know few words; prompts have the real lengths all the same.

With `is_tiny` the same names stand for the tiny pipelines of `gpu_runtime.tiny`.
"""

from __future__ import annotations

import copy
import json
import shutil
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import EulerDiscreteScheduler
from torch import nn

from gpu_runtime.families.family import Family
from gpu_runtime.families.registry import FAMILIES, LoadFamily
from gpu_runtime.messages import CheckpointRef
from gpu_runtime.tiny import clip, t5
from gpu_runtime.tiny.pipelines import make_tiny
from gpu_runtime.weights.loader import NETWORKS, component_classes
from gpu_runtime.weights.modules import TensorSpec, build_module, tensor_specs
from gpu_runtime.weights.staging import read_config

SHIPPED = Path("gpu_runtime/weights/shipped")

SAFETENSORS_DTYPES = {torch.float32: "F32", torch.bfloat16: "BF16", torch.int64: "I64"}

T5_TOKENS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One of the models that the suite knows."""

    family: str
    shipped: str
    """Folder of its configurations."""
    tiny: str
    """Recipe of `gpu_runtime.tiny`."""
    side: int
    """Pixels for which it was trained."""
    steps: int
    guidance: float
    target_s: str = ""
    """Seconds of one image on an H100, from the architecture."""


MODELS: Mapping[str, Model] = {
    "sd15": Model(
        family="sd15",
        shipped="sd15-base",
        tiny="sd15",
        side=512,
        steps=25,
        guidance=7.5,
        target_s="<= 0.35 s",
    ),
    "sdxl": Model(
        family="sdxl",
        shipped="sdxl-base",
        tiny="sdxl",
        side=1024,
        steps=30,
        guidance=5.0,
        target_s="<= 1.3 s",
    ),
    "sd35m": Model(
        family="sd3", shipped="sd3-3.5-medium", tiny="sd3.5-medium", side=1024, steps=28, guidance=4.5
    ),
    "schnell": Model(
        family="flux",
        shipped="flux-schnell",
        tiny="flux-schnell",
        side=1024,
        steps=4,
        guidance=0.0,
        target_s="<= 0.7 s",
    ),
    "dev": Model(
        family="flux",
        shipped="flux-dev",
        tiny="flux",
        side=1024,
        steps=28,
        guidance=3.5,
        target_s="<= 3.3 s",
    ),
}


class Checkpoints:
    """Makes checkpoints in one folder when they are asked for."""

    def __init__(self, folder: Path, *, is_tiny: bool) -> None:
        self._folder = folder
        self._is_tiny = is_tiny
        self._parts: dict[tuple[int, str, bytes], Path] = {}

    def get(self, name: str, number: int = 0) -> CheckpointRef:
        """Checkpoint `number` of a model; those of one model share nothing."""
        model = MODELS[name]
        folder = self._folder / f"{name}-{number}"
        if not folder.exists():
            if self._is_tiny:
                make_tiny(model.tiny, folder, seed=number)
            else:
                write_sized(SHIPPED / model.shipped, folder)
                self._share_parts(folder, number)
        return CheckpointRef(
            name=folder.name, family=model.family, path=str(folder.resolve()), digest=folder.name
        )

    def _share_parts(self, folder: Path, number: int) -> None:
        """Lead parts with equal configurations to one folder, as the store does: staging T5 takes long."""
        for name, class_name in component_classes(folder).items():
            if class_name not in NETWORKS or name in ("unet", "transformer"):
                continue
            key = number, class_name, (folder / name / "config.json").read_bytes()
            known = self._parts.setdefault(key, folder / name)
            if known != folder / name:
                shutil.rmtree(folder / name)
                (folder / name).symlink_to(known.resolve(), target_is_directory=True)


def write_sized(shipped: Path, folder: Path) -> None:
    """A checkpoint folder with the shipped configurations and files of the right length full of holes."""
    shutil.copytree(shipped, folder)
    for name, class_name in component_classes(folder).items():
        part = folder / name
        if class_name in NETWORKS:
            dtype = torch.float32 if name == "vae" else torch.bfloat16
            network = build_module(NETWORKS[class_name], read_config(part), dtype)
            is_diffusers = hasattr(network, "_fix_state_dict_keys_on_load")
            file = "diffusion_pytorch_model.safetensors" if is_diffusers else "model.safetensors"
            write_holes(part / file, tensor_specs(network, dtype))
        elif class_name.startswith("CLIPTokenizer"):
            clip.tokenizer().save_pretrained(part)
        elif class_name.startswith("T5Tokenizer"):
            t5.tokenizer(T5_TOKENS).save_pretrained(part)


def write_holes(file: Path, specs: Mapping[str, TensorSpec]) -> None:
    """A safetensors file whose header is true and whose values are a hole: all zero, no space on the disk."""
    header, end = {}, 0
    for name, spec in specs.items():
        header[name] = {
            "dtype": SAFETENSORS_DTYPES[spec.dtype],
            "shape": list(spec.shape),
            "data_offsets": [end, end + spec.size_bytes],
        }
        end += spec.size_bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with file.open("wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + end)


def families(*, is_tiny: bool) -> Mapping[str, LoadFamily]:
    """The engine's families; those of sized checkpoints get their values when they are loaded."""
    if is_tiny:
        return FAMILIES
    return {name: _drawing(load) for name, load in FAMILIES.items() if name != "generic"}


def plain_pipeline(family: Family, checkpoint: CheckpointRef, dtype: torch.dtype) -> Any:
    """diffusers' own pipeline around the same networks, so that they are on the device once.

    Its autoencoder runs in `dtype`, as it does for who loads a whole pipeline in it. Any: untyped there.
    """
    parts = family._parts  # type: ignore[attr-defined]  # the bench compares with what the family runs
    index = json.loads((Path(checkpoint.path) / "model_index.json").read_text(encoding="utf-8"))
    pipeline_class = getattr(diffusers, index["_class_name"])
    components = {
        name: getattr(parts, name, None)
        for name, entry in index.items()
        if isinstance(entry, list) and name not in ("scheduler", "safety_checker")
    }
    components["vae"] = copy.deepcopy(parts.vae).to(dtype)
    settings = {"safety_checker": None} if "safety_checker" in index else {}
    scheduler_file = Path(checkpoint.path) / "scheduler" / "scheduler_config.json"
    scheduler_config = json.loads(scheduler_file.read_text(encoding="utf-8"))
    is_flow = "Flow" in scheduler_config["_class_name"]
    scheduler_class = diffusers.FlowMatchEulerDiscreteScheduler if is_flow else EulerDiscreteScheduler
    pipeline = pipeline_class(
        **components, **settings, scheduler=scheduler_class.from_config(scheduler_config)
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _drawing(load: LoadFamily) -> LoadFamily:
    def load_and_draw(checkpoint: CheckpointRef, source: Any) -> Family:
        family = load(checkpoint, source)
        seed = int(checkpoint.digest.rpartition("-")[2])
        for network in vars_of(family._parts):  # type: ignore[attr-defined]  # families name their parts alike
            draw(network, seed)
        return family

    return load_and_draw


def vars_of(parts: Any) -> list[nn.Module]:
    """The networks among a family's components."""
    values = (getattr(parts, name) for name in type(parts).__dataclass_fields__)
    return [value for value in values if isinstance(value, nn.Module)]


def draw(network: nn.Module, seed: int) -> None:
    """Values in place: matrices that shrink what goes through them a little, norms as training begins."""
    device = next(network.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if parameter.ndim >= 2:
                fan_in = parameter[0].numel()
                parameter.normal_(0.0, 0.5 * fan_in**-0.5, generator=generator)
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)
