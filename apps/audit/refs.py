"""Who did something, and to what: as ids and as text, so that an audit line outlives its rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

JsonValue: TypeAlias = "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ref:
    """An actor or a subject of an audit event."""

    kind: str
    """Singular noun, e.g. `account`, `api_key`, `job`."""
    id: int | str | None
    """Primary key or public id; None for what has no row."""
    label: str
    """What a reader recognises it by; never a secret."""


SYSTEM = Ref(kind="system", id=None, label="darkroom")
"""The appliance itself: housekeeping, workers, commands at the terminal."""
