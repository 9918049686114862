"""Seeds of the parts of a tiny pipeline, and networks whose numbers come from nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

SPREAD = 0.05
"""Standard deviation for weights that the library starts at zero: no layer of a tiny network is dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """Seeds of one pipeline."""

    denoiser: int
    shared: int
    """Of text encoders and autoencoder: what fine-tunes of one base have in common."""


def seeded(build: Callable[[], Any], seed: int) -> Any:
    """A network of diffusers or transformers (untyped, hence Any) in eval mode, float32, on the CPU.

    Its numbers depend on its configuration and the seed alone; torch's global generator stays untouched.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = build()
        _revive(network)
    return network.eval().requires_grad_(False)


def _revive(network: nn.Module) -> None:
    """Random numbers for every matrix that is all zeros, so that each layer changes the image."""
    for parameter in network.parameters():
        if parameter.ndim > 1 and not bool(parameter.any()):
            nn.init.normal_(parameter, std=SPREAD)
