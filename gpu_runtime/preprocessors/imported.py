"""Networks of transformers in an entry's folder, and pictures as they want them. Local files only.

transformers' own image processors are not used: the fast ones need torchvision, which stays out, and what
they do is in the few numbers of `preprocessor_config.json`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import transformers
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor

from gpu_runtime.errors import CheckpointMissing, UnsupportedCombination, WeightsCorrupt

Pixels = NDArray[np.uint8]
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How a picture becomes a network's input."""

    height: int
    width: int
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    keeps_aspect: bool = False
    """Whether height and width name the shorter side of a picture of its own proportions."""
    multiple: int = 1

    def tensor(self, picture: Pixels, device: str) -> Tensor:
        """[1, 3, h, w] float32 for an RGB picture."""
        height, width = self._size(*picture.shape[:2])
        shrinks = height < picture.shape[0]
        resized = cv2.resize(
            picture, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        )
        values = (
            torch.from_numpy(np.ascontiguousarray(resized)).to(device).permute(2, 0, 1)[None].float() / 255
        )
        mean, std = (torch.tensor(each, device=device).view(1, 3, 1, 1) for each in (self.mean, self.std))
        return (values - mean) / std

    def _size(self, height: int, width: int) -> tuple[int, int]:
        if not self.keeps_aspect:
            return self.height, self.width
        scale = min(self.height, self.width) / min(height, width)
        rounded = [max(round(side * scale / self.multiple), 1) * self.multiple for side in (height, width)]
        return rounded[0], rounded[1]


@dataclass(slots=True, eq=False)
class Imported:
    """A network ready to run, and what its folder says of pictures."""

    network: Any
    """A module of transformers: its classes reach us untyped."""
    reading: Reading
    tokenizer: Any = None


def load_imported(folder: Path, device: str, *, classes: Sequence[str], purpose: str) -> Imported:
    """The network of a folder in transformers' layout, float32, in eval mode.

    Raises UnsupportedCombination when it is of none of `classes`, CheckpointMissing or WeightsCorrupt when
    files are missing or broken. `purpose` is in the messages.
    """
    config = _read_json(folder / "config.json", is_required=True)
    names = config.get("architectures") or ["none"]
    if names[0] not in classes:
        raise UnsupportedCombination(
            f"{purpose} needs a model of one of the classes {', '.join(classes)}; {folder.name} is {names[0]}"
        )
    try:
        network, loaded = getattr(transformers, names[0]).from_pretrained(
            str(folder),
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
        )
    except (OSError, ValueError, RuntimeError, KeyError, SafetensorError) as error:
        raise WeightsCorrupt(f"{folder} cannot be loaded as {names[0]}: {error}") from error
    if loaded["missing_keys"]:
        # transformers would fill them with chance.
        missing = ", ".join(sorted(loaded["missing_keys"])[:3])
        raise WeightsCorrupt(f"{folder} has not all weights of {names[0]}: {missing} ... are missing")
    network.requires_grad_(False)
    return Imported(network.float().eval().to(device), read_reading(folder, config))


def load_tokenizer(folder: Path) -> Any:
    """Of the same folder. Raises WeightsCorrupt without a usable one."""
    try:
        return transformers.AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError) as error:
        raise WeightsCorrupt(f"{folder} has no tokenizer that can be loaded: {error}") from error


def read_reading(folder: Path, config: dict[str, Any]) -> Reading:
    """From preprocessor_config.json; the network's own size and ImageNet's colours where it says nothing."""
    said = _read_json(folder / "preprocessor_config.json")
    vision = config.get("vision_config") or config.get("backbone_config") or config
    fallback = vision.get("image_size") or config.get("image_size") or 512
    size = said.get("size") or fallback
    if isinstance(size, dict):
        height = size.get("height") or size.get("shortest_edge") or fallback
        width = size.get("width") or size.get("shortest_edge") or fallback
    else:
        height = width = size
    return Reading(
        height=int(height),
        width=int(width),
        mean=tuple(said.get("image_mean") or IMAGENET_MEAN),
        std=tuple(said.get("image_std") or IMAGENET_STD),
        keeps_aspect=bool(said.get("keep_aspect_ratio", False)),
        multiple=int(said.get("ensure_multiple_of") or 1),
    )


def _read_json(file: Path, *, is_required: bool = False) -> dict[str, Any]:
    if not file.is_file():
        if is_required:
            raise CheckpointMissing(f"{file} is not there: import the model again")
        return {}
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise WeightsCorrupt(f"{file} is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise WeightsCorrupt(f"{file} holds no JSON object")
    return content
