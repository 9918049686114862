"""The families that share steps, by the name a checkpoint carries. Adding one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gpu_runtime.devices import DevicePlan
from gpu_runtime.families.family import Family
from gpu_runtime.families.sd15 import StableDiffusion15
from gpu_runtime.messages import CheckpointRef

LoadFamily = Callable[[CheckpointRef, DevicePlan, int], Family]
"""Takes the checkpoint, where to put it, and how many encoded prompts to keep."""


def _load_sd15(checkpoint: CheckpointRef, plan: DevicePlan, prompt_cache_entries: int) -> Family:
    return StableDiffusion15.load(checkpoint.path, plan, prompt_cache_entries=prompt_cache_entries)


FAMILIES: Mapping[str, LoadFamily] = {"sd15": _load_sd15}
