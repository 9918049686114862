"""What a request carries of its adapters once they are loaded. Knows nothing about file formats."""

from __future__ import annotations

from dataclasses import dataclass

from gpu_runtime.adapters.lora import LoadedLora


@dataclass(frozen=True, slots=True)
class LoraUse:
    """One loaded adapter at one strength."""

    lora: LoadedLora
    scale: float
