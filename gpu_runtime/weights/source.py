"""What a family asks for the parts of one checkpoint. The residency answers; families never open files."""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import torch

from gpu_runtime.adapters.bank import AdapterBank
from gpu_runtime.devices import DevicePlan
from gpu_runtime.prompts.cache import PromptCache
from gpu_runtime.samplers import SchedulerConfig, read_scheduler_config
from gpu_runtime.weights.checkpoint_files import Stamp, component_stamp
from gpu_runtime.weights.loader import (
    TOKENIZERS,
    checkpoint_folder,
    component_classes,
    component_folder,
    read_index,
    read_tokenizer,
)
from gpu_runtime.weights.loans import Lend, Loan, lend_nothing


class WeightsSource(Protocol):
    """The parts of one checkpoint. Networks may be shared with other checkpoints: never change them."""

    plan: DevicePlan
    prompts: PromptCache
    """Encoded prompts, shared by all checkpoints of an engine."""
    folder: Path
    """The checkpoint's folder, for families that load whole pipelines and know their parts themselves."""
    adapters: AdapterBank
    """LoRAs and embeddings, shared by all checkpoints of an engine."""

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

    def identity(self, *names: str) -> Hashable:
        """Equal where these components are the same in another checkpoint: their folders and files."""

    def scheduler_config(self) -> SchedulerConfig:
        """The checkpoint's noise-scheduler configuration. Raises CheckpointMissing or WeightsCorrupt."""

    def lend(self, loans: Collection[Loan]) -> Mapping[Loan, Any]:
        """Networks beside the checkpoint's own for one turn, all at once. Raises as `loans.Lend`."""


class ResidentSource:
    """Asks the residency for the networks, so that they are shared and accounted for."""

    def __init__(
        self,
        path: str,
        plan: DevicePlan,
        *,
        ask_network: Callable[[Path, str, torch.dtype], Any],
        adapters: AdapterBank,
        prompts: PromptCache | None = None,
        lend: Lend = lend_nothing,
    ) -> None:
        """`ask_network` takes a component's folder, its class name and a dtype. No `prompts` keeps none.

        Raises CheckpointMissing unless the folder holds a model_index.json.
        """
        self.plan = plan
        self.prompts = prompts or PromptCache(0)
        self.adapters = adapters
        self.folder = checkpoint_folder(path)
        self._ask_network = ask_network
        self._lend = lend

    def has(self, name: str) -> bool:
        return name in component_classes(self.folder)

    def settings(self) -> Mapping[str, Any]:
        return index_settings(self.folder)

    def network(self, name: str, *, allowed: tuple[str, ...], dtype: torch.dtype | None = None) -> Any:
        class_name, folder = component_folder(self.folder, name, allowed=allowed)
        return self._ask_network(folder, class_name, dtype or self.plan.dtype)

    def tokenizer(self, name: str = "tokenizer") -> Any:
        class_name, folder = component_folder(self.folder, name, allowed=tuple(TOKENIZERS))
        real = folder.resolve()
        return shared_tokenizer(class_name, real, component_stamp(real))

    def identity(self, *names: str) -> Hashable:
        folders = [(self.folder / name).resolve() for name in names]
        return tuple((folder, component_stamp(folder)) for folder in folders)

    def scheduler_config(self) -> SchedulerConfig:
        return read_scheduler_config(self.folder / "scheduler")

    def lend(self, loans: Collection[Loan]) -> Mapping[Loan, Any]:
        return self._lend(loans)


@lru_cache(maxsize=32)
def shared_tokenizer(class_name: str, folder: Path, stamp: Stamp) -> Any:
    """The tokenizer of a component's real folder, read once: it takes longer than swapping the weights.

    `stamp` is that of the files now, so that others in their place are read again.

    Callers must not change it. Raises WeightsCorrupt.
    """
    return read_tokenizer(class_name, folder)


def index_settings(folder: Path) -> Mapping[str, Any]:
    """Entries of model_index.json that name no component."""
    return {name: value for name, value in read_index(folder).items() if not isinstance(value, list)}
