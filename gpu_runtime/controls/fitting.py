"""Which ControlNets fit a denoiser. Reads configurations only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpu_runtime.errors import CheckpointMissing, UnsupportedCombination
from gpu_runtime.messages import ControlRef
from gpu_runtime.weights.family_facts import FAMILY_FACTS
from gpu_runtime.weights.loans import LENT_NETWORKS
from gpu_runtime.weights.modules import complete_settings
from gpu_runtime.weights.staging import read_config

PICTURE_CHANNELS = 3
"""Of the maps that requests bring."""


def control_config(ref: ControlRef, title: str, *, family: str) -> dict[str, Any]:
    """Its configuration with all defaults, `_class_name` among them. Any: JSON.

    Raises CheckpointMissing, WeightsCorrupt, or UnsupportedCombination for a class that is not the family's.
    """
    folder = Path(ref.path)
    if not folder.is_dir():
        raise CheckpointMissing(f"{title}: there is no ControlNet at {folder}")
    config = read_config(folder)
    class_name = str(config.get("_class_name", ""))
    allowed = FAMILY_FACTS[family].control_classes
    if class_name not in allowed:
        raise UnsupportedCombination(
            f"{title} is of class {class_name or 'unknown'}; family {family} takes {' or '.join(allowed)}"
        )
    return complete_settings(LENT_NETWORKS[class_name], config)


def require_alike(title: str, config: Mapping[str, Any], denoiser: Mapping[str, Any]) -> None:
    """Raise UnsupportedCombination unless the values of `denoiser` are the ControlNet's own too.

    What its results are added to must have their shapes, and it is given the denoiser's own inputs.
    """
    for name, ours in denoiser.items():
        theirs = config.get(name)
        if _plain(theirs) != _plain(ours):
            raise UnsupportedCombination(
                f"{title} was made for another family of checkpoints: its {name} is {theirs}, not {ours}"
            )


def require_picture_channels(title: str, channels: Any) -> None:
    """Raise UnsupportedCombination for a ControlNet that takes more or less than a picture. Any: JSON."""
    if channels != PICTURE_CHANNELS:
        raise UnsupportedCombination(
            f"{title} takes {channels} channels, a control image has {PICTURE_CHANNELS}"
        )


def require_mode(title: str, mode: int | None, modes: int | None) -> None:
    """Raise UnsupportedCombination unless the mode is one of `modes`, or absent where there are none."""
    if modes is None and mode is not None:
        raise UnsupportedCombination(f"{title} knows one kind of map and takes no mode")
    if modes is not None and (mode is None or not 0 <= mode < modes):
        raise UnsupportedCombination(f"{title} knows several kinds of map: its mode is 0 to {modes - 1}")


def _plain(value: Any) -> Any:
    """JSON has lists where classes have tuples."""
    return tuple(value) if isinstance(value, list) else value
