"""Reads the components of a checkpoint folder in the diffusers layout. Never touches the network.

Only safetensors is read. A file that lacks a tensor is an error here, where diffusers and transformers would
warn and fill in random numbers.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, UNet2DConditionModel
from diffusers.utils import logging as diffusers_logging
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from gpu_runtime.errors import CheckpointMissing, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.weights.safetensors_header import check_safetensors

# Any: the classes come from libraries without usable annotations.
NETWORKS: Mapping[str, Any] = {
    "AutoencoderKL": AutoencoderKL,
    "AutoencoderTiny": AutoencoderTiny,
    "CLIPTextModel": CLIPTextModel,
    "UNet2DConditionModel": UNet2DConditionModel,
}


def checkpoint_folder(path: str) -> Path:
    """The checkpoint's folder. Raises CheckpointMissing unless it holds a model_index.json."""
    folder = Path(path)
    if not (folder / "model_index.json").is_file():
        raise CheckpointMissing(f"{folder} is no checkpoint folder: model_index.json is missing")
    return folder


def read_index(folder: Path) -> dict[str, Any]:
    """model_index.json as it is. Raises WeightsCorrupt."""
    file = folder / "model_index.json"
    try:
        index = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsCorrupt(f"{file} is damaged: {error!r}") from error
    if not isinstance(index, dict):
        raise WeightsCorrupt(f"{file} is damaged: it is no object")
    return index


def component_classes(folder: Path) -> dict[str, str]:
    """Class name of each component, from model_index.json."""
    entries = {name: entry for name, entry in read_index(folder).items() if isinstance(entry, list)}
    if any(len(entry) != 2 for entry in entries.values()):
        raise WeightsCorrupt(f"{folder / 'model_index.json'} is damaged: a component needs library and class")
    return {name: entry[1] for name, entry in entries.items() if entry[1]}


def load_network(
    folder: Path, name: str, *, allowed: tuple[str, ...], dtype: torch.dtype, device: torch.device
) -> Any:  # a diffusers or transformers module
    """One component in eval mode on the device; `allowed` are the class names the family can use.

    Raises CheckpointMissing, UnsupportedCombination or WeightsCorrupt.
    """
    class_name = component_classes(folder).get(name)
    subfolder = folder / name
    if class_name is None or not subfolder.is_dir():
        raise CheckpointMissing(f"{folder} has no component {name!r}")
    if class_name not in allowed:
        raise UnsupportedCombination(f"{subfolder} is a {class_name}; this family takes {', '.join(allowed)}")
    _check_files(subfolder)
    # A worker's log is no terminal; both libraries draw a bar for every network otherwise.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        network, report = NETWORKS[class_name].from_pretrained(
            str(subfolder),
            torch_dtype=dtype,
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise WeightsCorrupt(f"{subfolder} could not be loaded: {error}") from error
    _require_complete(subfolder, report)
    network.requires_grad_(False)
    return network.eval().to(device)


def load_tokenizer(folder: Path, name: str = "tokenizer") -> Any:  # a transformers tokenizer
    """The CLIP tokenizer of a checkpoint. Raises CheckpointMissing or WeightsCorrupt."""
    subfolder = folder / name
    if not subfolder.is_dir():
        raise CheckpointMissing(f"{folder} has no component {name!r}")
    try:
        return CLIPTokenizer.from_pretrained(str(subfolder), local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsCorrupt(f"{subfolder} could not be loaded: {error}") from error


def _check_files(subfolder: Path) -> None:
    if not (subfolder / "config.json").is_file():
        raise CheckpointMissing(f"{subfolder} has no config.json")
    files = sorted(subfolder.glob("*.safetensors"))
    if not files:
        raise CheckpointMissing(f"{subfolder} has no .safetensors file; other formats are not read")
    for file in files:
        check_safetensors(file)


def _require_complete(subfolder: Path, report: Mapping[str, Any]) -> None:
    """Refuse a file whose tensors are not those of the configuration."""
    missing = sorted(report.get("missing_keys") or ())
    mismatched = list(report.get("mismatched_keys") or ())
    if missing or mismatched:
        first = (missing or mismatched)[0]
        raise WeightsCorrupt(
            f"{subfolder} lacks {len(missing)} tensors and has {len(mismatched)} of another shape; first: "
            f"{first}"
        )
