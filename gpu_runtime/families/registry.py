"""The families that share steps, by the name a checkpoint carries. Adding one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gpu_runtime.families.family import Family
from gpu_runtime.families.flux import Flux
from gpu_runtime.families.generic import GenericFamily
from gpu_runtime.families.sd3 import StableDiffusion3
from gpu_runtime.families.sd15 import StableDiffusion15
from gpu_runtime.families.sdxl import StableDiffusionXL
from gpu_runtime.messages import CheckpointRef
from gpu_runtime.weights.source import WeightsSource

LoadFamily = Callable[[CheckpointRef, WeightsSource], Family]
"""Takes the checkpoint and where its parts come from."""


def _load_sd15(checkpoint: CheckpointRef, source: WeightsSource) -> Family:
    return StableDiffusion15(source)


def _load_sdxl(checkpoint: CheckpointRef, source: WeightsSource) -> Family:
    return StableDiffusionXL(source)


def _load_sd3(checkpoint: CheckpointRef, source: WeightsSource) -> Family:
    return StableDiffusion3(source)


def _load_flux(checkpoint: CheckpointRef, source: WeightsSource) -> Family:
    return Flux(source)


def _load_generic(checkpoint: CheckpointRef, source: WeightsSource) -> Family:
    return GenericFamily(source)


FAMILIES: Mapping[str, LoadFamily] = {
    "sd15": _load_sd15,
    "sd2": _load_sd15,
    "sdxl": _load_sdxl,
    "sd3": _load_sd3,
    "flux": _load_flux,
    "generic": _load_generic,
}
