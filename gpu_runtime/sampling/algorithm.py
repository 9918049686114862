"""Samplers of our own: each is a Python generator that asks for one denoiser call after the other.

So an algorithm reads as in its paper, whatever the number of calls of a step, and can pause at each of them.
It sees the denoised latents D(x; sigma) of Karras et al. 2022, arXiv:2206.00364, at any level it asks for.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from gpu_runtime.sampling.grid import Grid
from gpu_runtime.sampling.row_sampler import RowSampler


@dataclass(frozen=True, slots=True)
class Call:
    """What an algorithm asks for: the denoised latents at a noise level."""

    sigma: float
    latents: Tensor | None
    """float32 [1, C, h, w]; None in the first call, for those that the image begins with."""
    steps_done: int
    """Of the grid's."""


Asking: TypeAlias = Generator[Call, tuple[Tensor, Tensor], Tensor]
"""Yields calls, gets (latents, denoised) for each and returns the final latents.

The latents that come back are those of the call, or what a mask made of them.
"""

Draw: TypeAlias = Callable[[Tensor], Tensor]
"""New noise of variance 1 in the shape of these latents, from the image's own generator."""

Algorithm: TypeAlias = Callable[[Grid, Draw], Asking]


class AlgorithmSampler(RowSampler):
    """One image on its way through an algorithm."""

    def __init__(self, algorithm: Algorithm, grid: Grid, *, seed: int, device: torch.device) -> None:
        """Begins at the grid's first level."""
        super().__init__(seed=seed, device=device)
        self._grid = grid
        # Not by a method of this object: both would hold each other, and a canceled image its tensors.
        self._asking = algorithm(grid, partial(_noise_like, self._generator))
        self._call: Call | None = next(self._asking)

    @property
    def is_done(self) -> bool:
        """Whether the latents are final."""
        return self._call is None

    @property
    def steps_done(self) -> int:
        """Steps in the user's count."""
        return self._grid.steps if self._call is None else self._call.steps_done

    @property
    def steps_total(self) -> int:
        """Steps in the user's count that are done altogether."""
        return self._grid.steps

    @property
    def timestep(self) -> float:
        """The timestep of the next denoiser call."""
        return self._grid.time_of(self._next.sigma)

    def pure(self, noise: Tensor) -> Tensor:
        """Latents that are nothing but this noise."""
        return noise * self._grid.start_scale

    def scale(self, latents: Tensor) -> Tensor:
        """The denoiser's input for these latents."""
        return latents / (self._next.sigma**2 + 1) ** 0.5

    def denoised(self, prediction: Tensor, latents: Tensor) -> Tensor:
        """What the denoiser takes the clean latents for."""
        return self._grid.denoised(prediction, latents, self._next.sigma)

    def advance(self, prediction: Tensor, latents: Tensor) -> Tensor:
        """The latents one call later."""
        denoised = self.denoised(prediction, latents)
        try:
            self._call = self._asking.send((latents, denoised))
        except StopIteration as finished:
            self._call = None
            final: Tensor = finished.value
            return final
        assert self._call.latents is not None
        return self._call.latents

    def _noised(self, latents: Tensor, noise: Tensor) -> Tensor:
        return latents + noise * self._next.sigma

    @property
    def _next(self) -> Call:
        assert self._call is not None
        return self._call


def _noise_like(generator: torch.Generator, latents: Tensor) -> Tensor:
    """As `RowSampler.draw_noise`, in the shape of these latents."""
    drawn: Tensor = randn_tensor(
        latents.shape, generator=generator, device=latents.device, dtype=torch.float32
    )
    return drawn
