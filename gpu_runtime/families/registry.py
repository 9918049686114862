"""The families that share steps, by the name a checkpoint carries. Adding one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gpu_runtime.families.family import Family
from gpu_runtime.families.sd15 import StableDiffusion15
from gpu_runtime.messages import CheckpointRef
from gpu_runtime.weights.source import WeightsSource

LoadFamily = Callable[[CheckpointRef, WeightsSource], Family]
"""Takes the checkpoint and where its parts come from."""


def _load_sd15(checkpoint: CheckpointRef, source: WeightsSource) -> Family:
    return StableDiffusion15(source)


FAMILIES: Mapping[str, LoadFamily] = {"sd15": _load_sd15}
