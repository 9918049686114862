"""What the residency remembers about one checkpoint or autoencoder."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from gpu_runtime.families.family import Family
from gpu_runtime.messages import CheckpointRef


@dataclass(slots=True, kw_only=True)
class Known:
    """A checkpoint that was used since it was last cold; or an autoencoder in place of a checkpoint's own."""

    digest: str
    used_at: float
    ref: CheckpointRef | None = None
    """None for an autoencoder."""
    parts: tuple[Hashable, ...] = ()
    """Keys of what it brings to the device."""
    is_complete: bool = False
    """Whether `parts` is everything: false after a load that failed."""
    family: Family | None = None
    """None while a part is missing from the device, and for an autoencoder."""

    @property
    def is_usable(self) -> bool:
        """Whether its parts on the device serve it: a checkpoint that lost one needs the others no longer."""
        return self.family is not None or self.ref is None

    @property
    def is_pinned(self) -> bool:
        """Whether its parts must stay."""
        return self.family is not None and self.ref is not None and self.ref.is_pinned
