"""An image that is stepped by a noise scheduler with the interface of diffusers' classes."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.sampling.plans import Numbers, Plan
from gpu_runtime.sampling.prepared import Prepared
from gpu_runtime.sampling.row_sampler import RowSampler
from gpu_runtime.sampling.window import Window


class SchedulerSampler(RowSampler):
    """A noise scheduler of its own and a position in it. Raises what the scheduler's class raises."""

    def __init__(
        self,
        prepared: Prepared,
        window: Window,
        *,
        seed: int,
        device: torch.device,
    ) -> None:
        """Begins where `window` does."""
        super().__init__(seed=seed, device=device)
        # Any: untyped in diffusers. deepcopy, since steps write into it.
        self._scheduler: Any = copy.deepcopy(prepared.scheduler)
        scheduler = self._scheduler
        if hasattr(scheduler, "set_begin_index"):
            # Otherwise the first step is searched by timestep, which fails where rounding made two equal.
            scheduler.set_begin_index(window.begin)
        self._window = window
        self._plan = prepared.plan
        self._foresight = prepared.foresight
        # Python numbers, so that a turn moves the timesteps of all its rows to the device as one tensor.
        self._timestep_values = prepared.times
        self._extra = _step_arguments(scheduler, self._generator)
        self._position = window.begin

    @property
    def is_done(self) -> bool:
        """Whether the latents are final."""
        return self._position == self._window.end

    @property
    def steps_done(self) -> int:
        """Steps in the user's count."""
        calls = self._window.end - self._window.begin
        return (self._position - self._window.begin) * self._window.steps // calls

    @property
    def steps_total(self) -> int:
        """Steps in the user's count that are done altogether."""
        return self._window.steps

    @property
    def place(self) -> tuple[int, int]:
        """How many denoiser calls are made, and of how many."""
        return self._position - self._window.begin, self._window.end - self._window.begin

    @property
    def timestep(self) -> float:
        """The timestep of the next denoiser call."""
        return self._timestep_values[self._position]

    def pure(self, noise: Tensor) -> Tensor:
        """Latents that are nothing but this noise."""
        # Rectified-flow classes have no such attribute: their first noise level is pure noise of variance 1.
        return noise * getattr(self._scheduler, "init_noise_sigma", 1.0)

    def scale(self, latents: Tensor) -> Tensor:
        """The denoiser's input for these latents."""
        if not hasattr(self._scheduler, "scale_model_input"):
            return latents
        scaled: Tensor = self._scheduler.scale_model_input(latents, self._scheduler.timesteps[self._position])
        return scaled

    def denoised(self, prediction: Tensor, latents: Tensor) -> Tensor | None:
        """What the denoiser takes the clean latents for; None where its prediction does not say."""
        return self._foresight.denoised(prediction, self.scale(latents), self.timestep)

    def advance(self, prediction: Tensor, latents: Tensor) -> Tensor:
        """The latents one call later."""
        timestep = self._scheduler.timesteps[self._position]
        moved: Tensor = self._scheduler.step(prediction, timestep, latents, **self._extra, return_dict=False)[
            0
        ]
        self._position += 1
        return moved

    @property
    def plan(self) -> Plan | None:
        """How to step it together with others; None if only `advance` can."""
        return self._plan

    @property
    def numbers(self) -> Numbers:
        """What the plan's rule takes for the next call."""
        assert self._plan is not None
        return self._plan.numbers_of(self._position, is_first=self._position == self._window.begin)

    @property
    def remembered(self) -> Tensor | None:
        """What the plan's rule wants to see of the last call; None before the first one."""
        last: Tensor | None = self._scheduler.model_outputs[-1]
        return last

    def moved(self, remembered: Tensor | None) -> None:
        """Note that the next call was done by the plan: the scheduler is where `advance` would have it."""
        self._position += 1
        if hasattr(self._scheduler, "set_begin_index"):
            self._scheduler._step_index = self._position
        if remembered is not None:
            outputs = self._scheduler.model_outputs
            outputs[:] = [*outputs[1:], remembered]
            self._scheduler.lower_order_nums = min(self._scheduler.lower_order_nums + 1, len(outputs))

    def _noised(self, latents: Tensor, noise: Tensor) -> Tensor:
        timestep = self._scheduler.timesteps[self._position : self._position + 1]
        noised: Tensor
        if hasattr(self._scheduler, "scale_noise"):
            noised = self._scheduler.scale_noise(latents, timestep, noise)
        else:
            noised = self._scheduler.add_noise(latents, noise, timestep)
        return noised


def _step_arguments(
    scheduler: Any, generator: torch.Generator
) -> dict[str, object]:  # untyped diffusers class
    """What a pipeline passes to `step` besides the tensors, for those schedulers that accept it."""
    accepted = inspect.signature(scheduler.step).parameters
    offered: dict[str, object] = {"eta": 0.0, "generator": generator}
    return {name: value for name, value in offered.items() if name in accepted}
