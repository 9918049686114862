"""What a family asks for the parts of one checkpoint. The residency answers; families never open files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch

from gpu_runtime.devices import DevicePlan
from gpu_runtime.samplers import SchedulerConfig, read_scheduler_config
from gpu_runtime.weights.loader import (
    checkpoint_folder,
    component_classes,
    load_network,
    load_tokenizer,
    read_index,
)


class WeightsSource(Protocol):
    """The parts of one checkpoint. Networks may be shared with other checkpoints: never change them."""

    plan: DevicePlan
    prompt_cache_entries: int
    """Encoded prompts to keep, 0 for none."""

    def has(self, name: str) -> bool:
        """Whether the checkpoint has a component of this name."""

    def settings(self) -> Mapping[str, Any]:
        """The plain values of model_index.json, such as `force_zeros_for_empty_prompt`. Any: JSON."""

    def network(self, name: str, *, allowed: tuple[str, ...], dtype: torch.dtype | None = None) -> Any:
        """A network in eval mode on the device, in `dtype` or else the plan's. Any: untyped in diffusers.

        `allowed` are the class names the family can use. Raises CheckpointMissing, UnsupportedCombination
        or WeightsCorrupt.
        """

    def tokenizer(self, name: str = "tokenizer") -> Any:
        """A transformers tokenizer. Raises CheckpointMissing or WeightsCorrupt."""

    def scheduler_config(self) -> SchedulerConfig:
        """The checkpoint's noise-scheduler configuration. Raises CheckpointMissing or WeightsCorrupt."""


class FolderSource:
    """Loads every part straight from a folder in the diffusers layout and keeps nothing."""

    def __init__(self, path: str, plan: DevicePlan, *, prompt_cache_entries: int = 0) -> None:
        """Raises CheckpointMissing unless the folder holds a model_index.json."""
        self.plan = plan
        self.prompt_cache_entries = prompt_cache_entries
        self._folder = checkpoint_folder(path)

    def has(self, name: str) -> bool:
        return name in component_classes(self._folder)

    def settings(self) -> Mapping[str, Any]:
        return index_settings(self._folder)

    def network(self, name: str, *, allowed: tuple[str, ...], dtype: torch.dtype | None = None) -> Any:
        return load_network(
            self._folder, name, allowed=allowed, dtype=dtype or self.plan.dtype, device=self.plan.device
        )

    def tokenizer(self, name: str = "tokenizer") -> Any:
        return load_tokenizer(self._folder, name)

    def scheduler_config(self) -> SchedulerConfig:
        return read_scheduler_config(self._folder / "scheduler")


def index_settings(folder: Path) -> Mapping[str, Any]:
    """Entries of model_index.json that name no component."""
    return {name: value for name, value in read_index(folder).items() if not isinstance(value, list)}
