"""What the denoiser takes the clean latents for, read off one prediction, whichever class steps them.

What reaches the network has variance 1 for every noise scheduler: classes whose latents grow with the noise
scale them down first. So one formula a kind of prediction serves them all, at the level that training had at
the timestep.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

FLOW, EDM, SAMPLE, VELOCITY = "flow", "edm", "sample", "v_prediction"
"""Kinds of prediction that are no noise. EDM: preconditioned as Karras et al. 2022, arXiv:2206.00364."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Foresight:
    """How to read the predictions of one checkpoint."""

    kind: str
    """As above; anything else is noise."""
    log_levels: NDArray[np.float64]
    """log(sigma) of all training timesteps, ascending; empty where the timestep says the level itself."""
    is_velocity: bool = False
    """With EDM: which sign the network's part has."""
    data_deviation: float = 0.5
    """With EDM."""

    def denoised(self, prediction: Tensor, scaled: Tensor, timestep: float) -> Tensor | None:
        """The clean latents, float32 [1, C, h, w], that the guided prediction at this timestep stands for.

        `scaled` is what the network was given. None where the prediction says nothing of them: that of the
        noise in what is nothing but noise.
        """
        if self.kind == SAMPLE:
            return prediction
        if self.kind == FLOW:
            return scaled - timestep / 1000 * prediction
        sigma = self._level(timestep)
        if self.kind == EDM:
            return self._preconditioned(prediction, scaled, sigma)
        if math.isinf(sigma):
            # Schedules that were stretched to end in pure noise: the signal's part is 0 and the noise's 1.
            return -prediction if self.kind == VELOCITY else None
        signal = (1 + sigma**2) ** -0.5
        noise = sigma * signal
        if self.kind == VELOCITY:
            return signal * scaled - noise * prediction
        return (scaled - noise * prediction) / signal

    def _level(self, timestep: float) -> float:
        if not len(self.log_levels):
            return math.exp(4 * timestep)
        return math.exp(np.interp(timestep, np.arange(len(self.log_levels)), self.log_levels))

    def _preconditioned(self, prediction: Tensor, scaled: Tensor, sigma: float) -> Tensor:
        deviation = self.data_deviation
        whole = (sigma**2 + deviation**2) ** 0.5
        # `scaled` is the latents over `whole`.
        skipped, own = scaled * (deviation**2 / whole), prediction * (sigma * deviation / whole)
        return skipped - own if self.is_velocity else skipped + own


def foresight_of(scheduler: Any) -> Foresight:
    """For one of diffusers' noise schedulers, untyped."""
    config = scheduler.config
    name, kind = type(scheduler).__name__, str(config.get("prediction_type", ""))
    is_velocity = kind == VELOCITY
    if name.startswith("FlowMatch") or kind == "flow_prediction":
        return Foresight(kind=FLOW, log_levels=_NO_LEVELS)
    if name.startswith("EDM"):
        deviation = float(config.sigma_data)
        return Foresight(kind=EDM, log_levels=_NO_LEVELS, is_velocity=is_velocity, data_deviation=deviation)
    is_continuous = is_velocity and config.get("timestep_type") == "continuous"
    kept = scheduler.alphas_cumprod.to("cpu", torch.float64)
    levels = np.asarray(torch.log((1 - kept) / kept) / 2)
    return Foresight(kind=kind, log_levels=_NO_LEVELS if is_continuous else levels)


_NO_LEVELS = np.zeros(0)
