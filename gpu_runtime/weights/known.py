"""What the residency remembers about one checkpoint, or about one network beside checkpoints."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

from gpu_runtime.families.family import Family
from gpu_runtime.messages import CheckpointRef


@dataclass(slots=True, kw_only=True)
class Known:
    """A checkpoint that was used since it was last cold; or an autoencoder in place of a checkpoint's own, a
    ControlNet, an IP-adapter, an encoder of pictures."""

    digest: str
    used_at: float
    ref: CheckpointRef | None = None
    """None for all but checkpoints."""
    parts: tuple[Hashable, ...] = ()
    """Keys of what it brings to the device."""
    is_complete: bool = False
    """Whether `parts` is everything: false after a load that failed."""
    family: Family | None = None
    """None while a part is missing from the device, and for all but checkpoints."""
    built: Any = None
    """What was made from a file that is no component; None while it is not on the device."""

    @property
    def is_usable(self) -> bool:
        """Whether its parts on the device serve it: a checkpoint that lost one needs the others no longer."""
        return self.family is not None or self.ref is None

    @property
    def is_pinned(self) -> bool:
        """Whether its parts must stay."""
        return self.family is not None and self.ref is not None and self.ref.is_pinned
