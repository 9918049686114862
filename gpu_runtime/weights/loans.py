"""What a family borrows for one turn: networks beside those of its checkpoint, such as ControlNets.

The residency lends them: they are loaded when they are needed, shared by digest, counted against the budget
and evicted like a checkpoint's own. So nobody keeps what was lent beyond the turn; a loan itself is a few
words that a request carries, with which the same is asked for again at every turn.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import torch
from diffusers import ControlNetModel, ControlNetUnionModel, FluxControlNetModel, SD3ControlNetModel
from transformers import CLIPVisionModelWithProjection, SiglipVisionModel

LENT_NETWORKS: Mapping[str, Any] = {
    "CLIPVisionModelWithProjection": CLIPVisionModelWithProjection,
    "ControlNetModel": ControlNetModel,
    "ControlNetUnionModel": ControlNetUnionModel,
    "FluxControlNetModel": FluxControlNetModel,
    "SD3ControlNetModel": SD3ControlNetModel,
    "SiglipVisionModel": SiglipVisionModel,
}
"""By class name. A closed list, like `loader.NETWORKS`; Any: the libraries have no usable annotations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkLoan:
    """A component: a folder with config.json and safetensors."""

    digest: str
    """Of the request's reference: what held requests need is known by it."""
    folder: Path
    class_name: str
    """One of LENT_NETWORKS."""
    dtype: torch.dtype


@dataclass(frozen=True, slots=True, kw_only=True)
class FileLoan:
    """Networks made from one safetensors file, such as an IP-adapter."""

    digest: str
    file: Path
    dtype: torch.dtype
    build: Callable[[], Any] = field(compare=False)
    """Reads the file and returns the networks on the device. Any: that is the borrower's business."""

    @property
    def key(self) -> Hashable:
        """Under which the residency holds it."""
        return (self.digest, str(self.file), self.dtype)


Loan: TypeAlias = NetworkLoan | FileLoan

Lend: TypeAlias = Callable[[Collection[Loan]], Mapping[Loan, Any]]
"""Lends networks for one turn, all at once so that none pushes another out. Any: untyped in the libraries.

Raises CheckpointMissing, WeightsCorrupt, or OutOfMemory when they do not fit beside the checkpoint.
"""


def lend_nothing(loans: Collection[Loan]) -> Mapping[Loan, Any]:
    """For checkpoints that are used without a residency. Raises ValueError for any loan."""
    if loans:
        raise ValueError("nothing is lent without a residency")
    return {}
