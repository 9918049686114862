"""Low-rank adapters in memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gpu_runtime.adapters.deltas import Delta
from gpu_runtime.adapters.plan_shelf import PlanShelf

LayerDeltas = Mapping[str, tuple[Delta, ...]]
"""What is added to the output of each layer, by module path; several deltas of a layer are summed."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedLora:
    """One adapter on the device, in the networks' dtype, fitted to the layers it was trained for."""

    name: str
    digest: str
    size_bytes: int
    layers: Mapping[str, LayerDeltas]
    """By component: "unet", "transformer", "text_encoder", "text_encoder_2"…; only those it changes."""
    key: str
    """Equal for equal deltas: the file's digest with the architecture they were fitted to."""
    shelf: PlanShelf
    """Where plans that use this adapter are kept."""
