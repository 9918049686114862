"""From a request's ControlNets to what its images carry; families say what fits and what is seen."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor

from gpu_runtime.controls.fitting import control_config
from gpu_runtime.controls.use import ControlUse
from gpu_runtime.families.pictures import Posterior
from gpu_runtime.messages import ControlRef, ImageInput, ImageRequest
from gpu_runtime.weights.loans import Lend, NetworkLoan

Config: TypeAlias = Mapping[str, Any]
"""A ControlNet's configuration with all defaults. Any: JSON."""

RequireFitting: TypeAlias = Callable[[str, ControlRef, Config], None]
"""Takes a title for faults, the reference and its configuration; raises UnsupportedCombination."""

See: TypeAlias = Callable[[ImageInput, str, Config], Tensor | Posterior]
"""Takes a picture, its name for faults and the configuration; returns what `ControlUse.picture` is."""


def prepare(
    request: ImageRequest, dtype: torch.dtype, lend: Lend, *, require_fitting: RequireFitting, see: See
) -> tuple[ControlUse, ...]:
    """The request's ControlNets with their pictures.

    Raises CheckpointMissing, WeightsCorrupt, UnsupportedCombination, and as `Lend`.
    """
    uses = []
    for number, ref in enumerate(request.controls, start=1):
        title = f"control {number} ({ref.name})"
        config = control_config(ref, title, family=request.checkpoint.family)
        require_fitting(title, ref, config)
        loan = NetworkLoan(
            digest=ref.digest, folder=Path(ref.path), class_name=config["_class_name"], dtype=dtype
        )
        picture = see(ref.image, f"control image {number}", config)
        use = ControlUse(
            loan=loan,
            picture=picture,
            scale=ref.scale,
            start=ref.start,
            end=ref.end,
            mode=ref.mode,
            balance=ref.balance,
        )
        uses.append(use)
    # Now, so that a damaged one is the fault of this request alone and loading counts as its preparation.
    lend(dict.fromkeys(use.loan for use in uses))
    return tuple(uses)
