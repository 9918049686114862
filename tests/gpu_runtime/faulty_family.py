"""A Stable Diffusion family that fails on request, for the tests of fault isolation."""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.errors import RuntimeFault
from gpu_runtime.families.family import Conditioning, ForwardInputs, TextEncoding
from gpu_runtime.families.sd15 import StableDiffusion15
from gpu_runtime.messages import CheckpointRef, ImageRequest
from gpu_runtime.weights.source import WeightsSource

TOO_BIG = 1e6
BROKEN = -1e6
HANGING = 2e6
STICKY = -2e6
"""Marks in a context tensor: they make the denoiser call fail that has the marked row in it."""

MARKS = {
    "poisoned": float("nan"),
    "too big": TOO_BIG,
    "broken": BROKEN,
    "hanging": HANGING,
    "sticky": STICKY,
}
"""By the words in a prompt that ask for them."""


@dataclass
class Faults:
    """What goes wrong; besides it, prompts with one of MARKS or "unreadable" in them."""

    capacity: int = 10**6
    """Forward rows that fit into memory at once."""
    decode_capacity: int = 10**6
    is_device_lost: bool = False
    loads: int = 0
    largest_call: int = 0

    def load(self, checkpoint: CheckpointRef, source: WeightsSource) -> FaultyFamily:
        """In the place of the family registry's loader."""
        self.loads += 1
        family = FaultyFamily(source)
        family.faults = self
        return family


class FaultyFamily(StableDiffusion15):
    faults: Faults

    def encode(self, request: ImageRequest, vae: Any = None) -> Conditioning:
        conditioning = super().encode(request, vae)
        if "unreadable" in request.prompt:
            raise KeyError("a token nobody knows")
        for word, mark in MARKS.items():
            if word in request.prompt:
                tokens = torch.full_like(conditioning.positive.tokens, mark)
                return replace(conditioning, positive=TextEncoding(tokens=tokens))
        return conditioning

    def forward(self, inputs: ForwardInputs, part: slice) -> Tensor:
        rows = part.stop - part.start
        context = inputs.context[part]
        if self.faults.is_device_lost or bool((context == STICKY).any()):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")
        if bool((context == HANGING).any()):
            threading.Event().wait()
        if rows > self.faults.capacity or bool((context == TOO_BIG).any()):
            raise torch.OutOfMemoryError("out of memory")
        if bool((context == BROKEN).any()):
            raise RuntimeFault("this row cannot be computed")
        self.faults.largest_call = max(self.faults.largest_call, rows)
        return super().forward(inputs, part)

    def decode(self, latents: Tensor, vae: Any = None) -> Tensor:
        if latents.shape[0] > self.faults.decode_capacity:
            raise torch.OutOfMemoryError("out of memory")
        return super().decode(latents, vae)
