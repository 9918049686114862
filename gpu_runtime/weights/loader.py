"""Reads the components of a checkpoint folder in the diffusers layout. Never touches the network.

Only safetensors is read. A file that lacks a tensor is an error here, where diffusers and transformers would
warn and fill in random numbers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    AutoencoderTiny,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    UNet2DConditionModel,
)
from diffusers.utils import logging as diffusers_logging
from huggingface_hub.errors import StrictDataclassError
from transformers import (
    CLIPTextModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    T5EncoderModel,
    T5Tokenizer,
)
from transformers.utils import logging as transformers_logging

from gpu_runtime.errors import CheckpointMissing, UnsupportedCombination, WeightsCorrupt
from gpu_runtime.weights.modules import is_transformers
from gpu_runtime.weights.network_config import ADAPTER_CONFIG, own_settings
from gpu_runtime.weights.safetensors_header import check_safetensors
from gpu_runtime.weights.staging import WEIGHT_NAMES, read_config, shards_of

# Any: the classes come from libraries without usable annotations.
NETWORKS: Mapping[str, Any] = {
    "AutoencoderKL": AutoencoderKL,
    "AutoencoderTiny": AutoencoderTiny,
    "CLIPTextModel": CLIPTextModel,
    "CLIPTextModelWithProjection": CLIPTextModelWithProjection,
    "FluxTransformer2DModel": FluxTransformer2DModel,
    "SD3Transformer2DModel": SD3Transformer2DModel,
    "T5EncoderModel": T5EncoderModel,
    "UNet2DConditionModel": UNet2DConditionModel,
}

TOKENIZERS: Mapping[str, Any] = {
    "CLIPTokenizer": CLIPTokenizer,
    "CLIPTokenizerFast": CLIPTokenizer,
    "T5Tokenizer": T5Tokenizer,
    "T5TokenizerFast": T5Tokenizer,
}
"""By the class that model_index.json names. A closed list: no code comes with a checkpoint."""

_DISTRIBUTED = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")
"""transformers reads files of such names in another way, without any of the checks here."""


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


def component_entries(index: Mapping[str, Any]) -> dict[str, tuple[str | None, str | None]]:
    """Library and class of each component that model_index.json names, None for one that was left out.

    Lists of other things are settings of the pipeline.
    """
    return {
        name: (entry[0], entry[1])
        for name, entry in index.items()
        if isinstance(entry, list)
        and len(entry) == 2
        and not name.startswith("_")
        and all(item is None or isinstance(item, str) for item in entry)
    }


def component_classes(folder: Path) -> dict[str, str]:
    """Class name of each component, from model_index.json."""
    entries = component_entries(read_index(folder))
    return {name: class_name for name, (_, class_name) in entries.items() if class_name}


def component_folder(folder: Path, name: str, *, allowed: tuple[str, ...]) -> tuple[str, Path]:
    """Class name and folder of one component.

    Raises CheckpointMissing when it is not there, UnsupportedCombination when it is none of `allowed`.
    """
    class_name = component_classes(folder).get(name)
    subfolder = folder / name
    if class_name is None or not subfolder.is_dir():
        raise CheckpointMissing(f"{folder} has no component {name!r}")
    if class_name not in allowed:
        raise UnsupportedCombination(f"{subfolder} is a {class_name}; this family takes {', '.join(allowed)}")
    return class_name, subfolder


def load_module(network_class: Any, folder: Path, *, dtype: torch.dtype, device: torch.device) -> Any:
    """A component of this class in eval mode on the device.

    Raises CheckpointMissing, WeightsCorrupt or UnsupportedCombination.
    """
    _check_files(folder)
    # A worker's log is no terminal; both libraries draw a bar for every network otherwise.
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    try:
        with _own_config(network_class, folder) as config:
            network, report = network_class.from_pretrained(
                str(folder),
                torch_dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
                **config,
            )
    except ImportError as error:
        raise UnsupportedCombination(f"{folder} needs a package that is not installed: {error}") from error
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, StrictDataclassError) as error:
        if isinstance(error, torch.OutOfMemoryError):
            raise
        raise WeightsCorrupt(f"{folder} could not be loaded: {error}") from error
    _require_complete(folder, report)
    network.requires_grad_(False)
    return network.eval().to(device)


def read_tokenizer(class_name: str, folder: Path) -> Any:
    """The tokenizer of a component's folder. Raises WeightsCorrupt."""
    try:
        return TOKENIZERS[class_name].from_pretrained(str(folder), local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsCorrupt(f"{folder} could not be loaded: {error}") from error


@contextmanager
def _own_config(network_class: Any, folder: Path) -> Iterator[dict[str, str]]:
    """What to pass to `from_pretrained` so that a configuration decides nothing but the architecture.

    Raises UnsupportedCombination for a quantised network.
    """
    config = read_config(folder)
    own = own_settings(str(folder), config)
    if own == config or not is_transformers(network_class):
        # diffusers ignores what its classes have no use for.
        yield {}
        return
    with TemporaryDirectory() as name:
        (Path(name) / "config.json").write_text(json.dumps(own), encoding="utf-8")
        yield {"config": name}


def _check_files(subfolder: Path) -> None:
    if not (subfolder / "config.json").is_file():
        raise CheckpointMissing(f"{subfolder} has no config.json")
    if (subfolder / ADAPTER_CONFIG).exists():
        raise UnsupportedCombination(f"{subfolder} has an adapter beside its weights, which is not supported")
    for name in WEIGHT_NAMES:
        if (subfolder / f"{name}.index.json").is_file():
            shards_of(subfolder / f"{name}.index.json")
    files = sorted(subfolder.glob("*.safetensors"))
    if not files:
        raise CheckpointMissing(f"{subfolder} has no .safetensors file; other formats are not read")
    for file in files:
        if _DISTRIBUTED.fullmatch(file.name):
            raise UnsupportedCombination(
                f"{subfolder} holds a distributed checkpoint, which is not supported"
            )
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
