"""A family that does next to no arithmetic, for tests of what the engine does around it.

Prompts ask for FAULTS; and a prompt of several words has a shape of its own, as long prompts have.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.errors import RuntimeFault
from gpu_runtime.families.family import WHOLE, Conditioning, ForwardInputs, Row, Start, TextEncoding
from gpu_runtime.messages import CheckpointRef, ImageRequest
from gpu_runtime.weights.source import WeightsSource

FACTOR = 8

SOUND = "sound"

FAULTS = ("too big", "poisoned", "broken", "unreadable", "stuck sampler")

MARKS = (SOUND, *FAULTS)
"""By the number that stands for each in a context tensor."""


@dataclass
class LightSampler:
    """Counts."""

    steps: int
    fault: str = SOUND
    calls_done: int = 0

    @property
    def is_done(self) -> bool:
        return self.calls_done >= self.steps

    @property
    def steps_done(self) -> int:
        return self.calls_done

    @property
    def place(self) -> tuple[int, int]:
        return self.calls_done, self.steps

    @property
    def timestep(self) -> float:
        return float(self.steps - self.calls_done)

    def scale(self, latents: Tensor) -> Tensor:
        return latents

    def advance(self, prediction: Tensor, latents: Tensor) -> Tensor:
        if self.fault == "stuck sampler":
            raise ValueError("this sampler does not step")
        self.calls_done += 1
        return latents + prediction


class LightFamily:
    """Latents of 4 channels, whose value tells the seed."""

    @property
    def vae(self) -> Any:
        return self

    def encode(self, request: ImageRequest, vae: Any = None) -> Conditioning:
        fault = next((each for each in FAULTS if each in request.prompt), SOUND)
        if fault == "unreadable":
            raise KeyError("a token nobody knows")
        words = len(request.prompt.split())
        text = TextEncoding(tokens=torch.zeros(1, 1, 1))
        return Conditioning(
            positive=text,
            negative=text if request.guidance_scale > 1 else None,
            guidance_scale=request.guidance_scale,
            shape=(words,) if words > 3 else (),
            pictures=fault,
        )

    def begin(
        self, request: ImageRequest, index: int, conditioning: Conditioning, start: Start = WHOLE
    ) -> Row:
        height, width = request.height // FACTOR, request.width // FACTOR
        latents = torch.full((1, 4, height, width), request.seeds[index] / 100)
        if start.latents is not None:
            assert start.latents.shape == latents.shape, "latents of another size were handed over"
        if start.pixels is not None:
            assert start.pixels.shape == (1, 3, request.height, request.width), "pixels of another size"
        done = int(request.steps * (start.begin_at or 0.0))
        steps = max(1, int(request.steps * (start.end_at or 1.0)) - done)
        sampler = LightSampler(steps, conditioning.pictures)
        return Row(conditioning=conditioning, sampler=sampler, latents=latents)

    def rows(self, rows: Sequence[Row]) -> ForwardInputs:
        guided = tuple(i for i, row in enumerate(rows) if row.conditioning.negative is not None)
        latents = torch.cat([row.latents for row in rows])
        own = [MARKS.index(row.conditioning.pictures) for row in rows]
        marks = torch.tensor([*own, *(own[i] for i in guided)])
        return ForwardInputs(
            latents=torch.cat([latents, latents[list(guided)]]),
            timesteps=torch.zeros(len(marks)),
            context=marks[:, None, None].float(),
            guided=guided,
            guidance=torch.ones(len(guided), 1, 1, 1),
        )

    def forward(self, inputs: ForwardInputs, part: slice) -> Tensor:
        struck = {MARKS[int(mark)] for mark in inputs.context[part].flatten().tolist()}
        if "too big" in struck:
            raise torch.OutOfMemoryError("out of memory")
        if "broken" in struck:
            raise RuntimeFault("this row cannot be computed")
        is_poisoned = inputs.context[part] == MARKS.index("poisoned")
        return torch.where(is_poisoned[..., None], torch.nan, torch.zeros_like(inputs.latents[part]))

    def combine(self, prediction: Tensor, inputs: ForwardInputs) -> Tensor:
        images = prediction.shape[0] - len(inputs.guided)
        combined = prediction[:images].clone()
        combined[list(inputs.guided)] += prediction[images:]
        return combined

    def decode(self, latents: Tensor, vae: Any = None) -> Tensor:
        return latents[:, :3].repeat_interleave(FACTOR, 2).repeat_interleave(FACTOR, 3)


def load(checkpoint: CheckpointRef, source: WeightsSource) -> LightFamily:
    """In the place of a family registry's loader."""
    return LightFamily()
