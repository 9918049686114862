"""Whether an autoencoder may stand in for a checkpoint's own. Reads configurations only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpu_runtime.errors import CheckpointMissing, UnsupportedCombination
from gpu_runtime.weights.staging import read_config

INTERCHANGEABLE = frozenset({"AutoencoderKL", "AutoencoderTiny"})
"""Classes that read each other's latents: the tiny ones are distilled from the others."""


def require_fitting(override: Path, own: Path) -> str:
    """Class name of the override. Raises UnsupportedCombination unless it decodes the same kind of latents.

    Both are folders with a config.json; a missing or damaged one raises CheckpointMissing or WeightsCorrupt.
    """
    if not override.is_dir():
        raise CheckpointMissing(f"there is no autoencoder at {override}")
    theirs, ours = read_config(override), read_config(own)
    class_name, own_class = (str(config.get("_class_name", "")) for config in (theirs, ours))
    if class_name != own_class and not {class_name, own_class} <= INTERCHANGEABLE:
        raise UnsupportedCombination(
            f"the autoencoder is a {class_name or 'network of unknown class'}, the checkpoint's a {own_class}"
        )
    for what, measure in (("latent channels", _latent_channels), ("pixels a latent", _factor)):
        if measure(theirs) != measure(ours):
            raise UnsupportedCombination(
                f"the autoencoder has {measure(theirs)} {what}, the checkpoint's has {measure(ours)}"
            )
    return class_name


def _latent_channels(config: Mapping[str, Any]) -> int:
    # 4 is the default of both classes, which normalised configurations leave out.
    return int(config.get("latent_channels", 4))


def _factor(config: Mapping[str, Any]) -> int:
    """Side of the square of pixels that one latent stands for."""
    default = (64, 64, 64, 64) if config.get("_class_name") == "AutoencoderTiny" else (64,)
    blocks = config.get(
        "block_out_channels" if "block_out_channels" in config else "decoder_block_out_channels"
    )
    return int(2 ** (len(blocks or default) - 1))
