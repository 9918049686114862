"""What a request carries of its IP-adapters. Knows nothing about families and rows."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from gpu_runtime.weights.loans import FileLoan


@dataclass(frozen=True, slots=True)
class PicturePrompt:
    """One IP-adapter in one forward row."""

    loan: FileLoan
    tokens: Tensor
    """[1, tokens, width], the denoiser's dtype, on the device: what is attended to, of all pictures together.
    For Stable Diffusion 3 what its encoder saw, which the adapter reads anew at each timestep."""
    scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IpAdapterUse:
    """One IP-adapter with its pictures, prepared once for all images of a request."""

    conditional: PicturePrompt
    unconditional: PicturePrompt | None
    """The same adapter with what stands for no picture; None for requests without unconditional rows."""
