"""Noise levels and timesteps on which our own algorithms run, read off diffusers' Euler scheduler."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Where an algorithm evaluates the denoiser, and how to read its predictions."""

    sigmas: tuple[float, ...]
    """One more than steps, descending; the last one is where the latents end, 0 unless somebody goes on."""
    times: tuple[float, ...]
    """The timestep of each level but the last."""
    start_scale: float
    """What noise of variance 1 is multiplied with to begin from nothing else."""
    log_table: NDArray[np.float64]
    """log(sigma) of all training timesteps, ascending."""
    prediction_type: str
    """"epsilon", "v_prediction" or "sample"."""
    is_continuous: bool = False
    """Whether the denoiser takes log(sigma)/4 for a timestep."""

    @property
    def steps(self) -> int:
        """Number of steps between the levels."""
        return len(self.sigmas) - 1

    @property
    def lowest(self) -> float:
        """Where algorithms that cannot step to zero end."""
        return self.sigmas[-1] or min(float(np.exp(self.log_table[0])), self.sigmas[-2])

    def time_of(self, sigma: float) -> float:
        """The timestep at which training had this level; between two, by interpolation in log(sigma)."""
        if sigma in self.sigmas[:-1]:
            return self.times[self.sigmas.index(sigma)]
        if self.is_continuous:
            return float(np.log(sigma)) / 4
        return float(np.interp(np.log(sigma), self.log_table, np.arange(len(self.log_table))))

    def part(self, begin: int, end: int) -> Grid:
        """Steps `begin` to `end`, `end` not among them."""
        return replace(self, sigmas=self.sigmas[begin : end + 1], times=self.times[begin:end])

    def denoised(self, prediction: Tensor, latents: Tensor, sigma: float) -> Tensor:
        """What the denoiser takes the clean latents for, from its prediction at this level."""
        if self.prediction_type == "epsilon":
            return latents - sigma * prediction
        if self.prediction_type == "v_prediction":
            return latents / (sigma**2 + 1) - prediction * (sigma / (sigma**2 + 1) ** 0.5)
        return prediction


def grid_of(scheduler: Any) -> Grid:
    """The grid of an EulerDiscreteScheduler with its timesteps set. Any: untyped in diffusers."""
    kept = scheduler.alphas_cumprod.to(torch.float64)
    kind = str(scheduler.config.prediction_type)
    return Grid(
        sigmas=tuple(scheduler.sigmas.tolist()),
        times=tuple(scheduler.timesteps.tolist()),
        start_scale=float(scheduler.init_noise_sigma),
        log_table=np.asarray(torch.log((1 - kept) / kept) / 2),
        prediction_type=kind,
        is_continuous=kind == "v_prediction" and scheduler.config.timestep_type == "continuous",
    )
