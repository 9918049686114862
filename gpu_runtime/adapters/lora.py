"""Low-rank adapters in memory."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedLora:
    """One adapter, ready to be added to the layers it was trained for."""

    name: str
    digest: str
    size_bytes: int
