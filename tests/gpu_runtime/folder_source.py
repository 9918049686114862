"""A checkpoint's parts as the libraries load them: the reference for what the residency hands out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gpu_runtime.adapters.bank import AdapterBank
from gpu_runtime.devices import DevicePlan
from gpu_runtime.weights.loader import NETWORKS, component_classes, load_module
from gpu_runtime.weights.source import ResidentSource


class FolderSource(ResidentSource):
    """Loads every network by itself and keeps nothing."""

    def __init__(self, path: str, plan: DevicePlan) -> None:
        super().__init__(path, plan, ask_network=self._load, adapters=AdapterBank(0))

    def _load(self, folder: Path, class_name: str, dtype: torch.dtype) -> Any:
        return load_module(NETWORKS[class_name], folder, dtype=dtype, device=self.plan.device)


def load_network(
    folder: Path, name: str, *, dtype: torch.dtype = torch.float32, class_name: str | None = None
) -> Any:
    """One component on the CPU, loaded by its library; its class is the checkpoint's, or given."""
    network_class = NETWORKS[class_name or component_classes(folder)[name]]
    return load_module(network_class, folder / name, dtype=dtype, device=torch.device("cpu"))
