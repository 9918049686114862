"""What lies on the device beside the weights only because it saves time, and goes before any of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Spare(Protocol):
    """One kind of it."""

    @property
    def size_bytes(self) -> int:
        """Bytes on the device now."""

    def drop(self) -> int:
        """Give all of it up; who used it goes on without. Returns the bytes freed, 0 if there was none."""


class Spares:
    """Several kinds as one. Implements `Spare`."""

    def __init__(self, parts: Sequence[Spare]) -> None:
        self._parts = parts

    @property
    def size_bytes(self) -> int:
        """Of all of them."""
        return sum(part.size_bytes for part in self._parts)

    def drop(self) -> int:
        """All of them."""
        return sum(part.drop() for part in self._parts)
