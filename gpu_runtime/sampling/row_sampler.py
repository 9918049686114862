"""The sampler state of one image: generator and position; what the two ways to step have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from gpu_runtime.sampling.variations import NoiseVariation


class RowSampler(ABC):
    """Where one image is on its way from noise."""

    def __init__(self, *, seed: int, device: torch.device) -> None:
        self._generator = torch.Generator("cpu").manual_seed(seed)
        self._device = device
        self.variation: NoiseVariation | None = None
        """What becomes of the noise that the image begins with."""

    @property
    @abstractmethod
    def is_done(self) -> bool:
        """Whether the latents are final."""

    @property
    @abstractmethod
    def steps_done(self) -> int:
        """Steps in the user's count, 0 to `steps_total`: samplers of order 2 make two calls a step."""

    @property
    @abstractmethod
    def steps_total(self) -> int:
        """Steps in the user's count that are done altogether: less than asked for to change an image."""

    @property
    def place(self) -> tuple[int, int]:
        """How many denoiser calls are made, and of how many; steps where those are not known beforehand."""
        return self.steps_done, self.steps_total

    @property
    @abstractmethod
    def timestep(self) -> float:
        """The timestep of the next denoiser call, on the training scale (0 to 1000)."""

    @abstractmethod
    def pure(self, noise: Tensor) -> Tensor:
        """Latents that are nothing but this noise, at the whole schedule's first noise level."""

    @abstractmethod
    def scale(self, latents: Tensor) -> Tensor:
        """The denoiser's input for these latents; shape, dtype and device stay."""

    @abstractmethod
    def denoised(self, prediction: Tensor, latents: Tensor) -> Tensor | None:
        """What the denoiser takes the clean latents for: takes what `advance` takes, and moves nothing.

        None where the prediction does not say.
        """

    @abstractmethod
    def advance(self, prediction: Tensor, latents: Tensor) -> Tensor:
        """The latents one call later.

        Takes the guided prediction and the unscaled latents, both float32 [1, C, h, w] on the device.
        """

    @abstractmethod
    def _noised(self, latents: Tensor, noise: Tensor) -> Tensor:
        """Clean latents at the noise level of the next call."""

    @property
    def generator(self) -> torch.Generator:
        """The image's own, on the CPU: every draw for this image comes from it, in the pipelines' order."""
        return self._generator

    def draw_noise(self, shape: tuple[int, ...]) -> Tensor:
        """Noise of variance 1: float32, [1, *shape], on the device."""
        drawn: Tensor = randn_tensor(
            (1, *shape), generator=self._generator, device=self._device, dtype=torch.float32
        )
        return drawn

    def first_noise(self, shape: tuple[int, ...]) -> Tensor:
        """The noise that the image begins with: as `draw_noise`, and then varied as was asked."""
        drawn = self.draw_noise(shape)
        return drawn if self.variation is None else self.variation.of(drawn)

    def initial_latents(self, shape: tuple[int, ...]) -> Tensor:
        """Pure noise, newly drawn: float32, [1, *shape], on the device."""
        return self.pure(self.first_noise(shape))

    def add_noise(self, latents: Tensor, noise: Tensor) -> Tensor:
        """Clean latents at the noise level of the first call, float32. To be asked before the first step."""
        return self._noised(latents, noise)

    def noised_at_next(self, latents: Tensor, noise: Tensor) -> Tensor:
        """Clean latents at the noise level of the next call; after the last one, as they are.

        For masks: what is kept is put back at the level that the rest has.
        """
        return latents if self.is_done else self._noised(latents, noise)
