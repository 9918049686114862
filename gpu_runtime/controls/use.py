"""What a request carries of its ControlNets. Knows nothing about families and rows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gpu_runtime.families.pictures import Posterior, sampled
from gpu_runtime.messages import ControlBalance
from gpu_runtime.weights.loans import NetworkLoan

JOINING = frozenset({"ControlNetUnionModel"})
"""Classes of networks that read all pictures of a row at once, each with its mode."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlUse:
    """One ControlNet with its picture, prepared once for all images of a request."""

    loan: NetworkLoan
    picture: Tensor | Posterior
    """What the network takes, in its dtype, on the device: pixels [1, 3, H, W] or latents [1, C, h, w]. A
    posterior is drawn from for each image by itself (`drawn`)."""
    scale: float
    start: float = 0.0
    """Share of the denoiser calls after which it begins to act."""
    end: float = 1.0
    """Share of the denoiser calls after which it acts no longer."""
    mode: int | None = None
    """Which kind of map, for networks that know several."""
    balance: ControlBalance = ControlBalance.BALANCED

    @property
    def fades(self) -> bool:
        """Whether it acts the less the further out a block of the UNet lies."""
        return self.balance is not ControlBalance.BALANCED

    @property
    def is_for_all_rows(self) -> bool:
        """Whether it acts on rows without the prompt, too."""
        return self.balance is not ControlBalance.CONTROL

    @property
    def is_joined(self) -> bool:
        """Whether its network reads it together with the row's others of the same `reading`."""
        return self.loan.class_name in JOINING

    @property
    def reading(self) -> Hashable:
        """Equal for those that a joining network reads together: one result fades for all of them or none."""
        return self.loan, self.balance

    @property
    def shown(self) -> Tensor:
        """The picture as a tensor. Raises ValueError before it was drawn."""
        if isinstance(self.picture, Posterior):
            raise ValueError("the control picture was not drawn for this image")
        return self.picture

    def acts_at(self, call: int, calls: int) -> bool:
        """Whether it acts at denoiser call `call`, from 0, of `calls`.

        Source: `controlnet_keep` of diffusers' pipelines.
        """
        return call / calls >= self.start and (call + 1) / calls <= self.end


def acting(uses: Sequence[ControlUse], call: int, calls: int) -> tuple[ControlUse, ...]:
    """Those that count at this call.

    A network that joins several pictures gets all of them while one acts, the others at scale 0.
    """
    now = {place for place, use in enumerate(uses) if use.acts_at(call, calls)}
    joining = {uses[place].reading for place in now if uses[place].is_joined}
    return tuple(
        use if place in now else replace(use, scale=0.0)
        for place, use in enumerate(uses)
        if place in now or use.reading in joining
    )


def drawn(uses: Sequence[ControlUse], generator: torch.Generator) -> tuple[ControlUse, ...]:
    """The same for one image, whose generator gives what is left to chance, in the order of the uses."""
    return tuple(
        replace(use, picture=sampled(use.picture, generator).to(use.loan.dtype))
        if isinstance(use.picture, Posterior)
        else use
        for use in uses
    )
