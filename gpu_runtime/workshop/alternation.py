"""Whose turn it is on the device: the engine's, with its steps, or that of operations on pictures.

While both have work of the same class, each gets half of the time, whatever a tick or a slice takes: an
upscale to 8K slows the steps of its neighbours by half at most. Virtual times as in `batching.fair_shares`.
Plain Python; durations are handed in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from gpu_runtime.messages import Priority

LOWER_CLASS_COST = 24.0
"""What a second costs the side whose work is of a lower class: it gets 4 % of the time beside the other, as
the step batcher gives to background work."""

MOST_OWED_S = 10.0
"""How far one side may fall behind: after one long call of the engine (a first one compiles for a minute) the
other must not have the device to itself for as long."""


class Side(StrEnum):
    """Who takes the next turn."""

    ENGINE = "engine"
    OPERATIONS = "operations"


@dataclass(slots=True)
class Alternation:
    """Decides, and remembers what each side was given."""

    _given_s: dict[Side, float] = field(default_factory=lambda: dict.fromkeys(Side, 0.0))
    _waiting: dict[Side, Priority] = field(default_factory=dict)
    """Sides that had work at the last decision, and the highest class of it."""

    def choose(self, engine: Priority | None, operations: Priority | None) -> Side | None:
        """The side that is behind; the arguments are the highest class of each one's work, None without."""
        classes = {Side.ENGINE: engine, Side.OPERATIONS: operations}
        waiting = {side: highest for side, highest in classes.items() if highest is not None}
        for side in waiting.keys() - self._waiting.keys():
            self._enter(side)
        self._waiting = waiting
        return min(waiting, key=lambda side: self._given_s[side], default=None)

    def charge(self, side: Side, seconds: float) -> None:
        """Note what a turn took, without the loading of weights, which serves later turns as well."""
        own, other = self._waiting.get(side), self._waiting.get(_other(side))
        is_lower = own is not None and other is not None and own > other
        self._given_s[side] += seconds * (LOWER_CLASS_COST if is_lower else 1.0)
        least = self._given_s[side] - MOST_OWED_S
        self._given_s[_other(side)] = max(self._given_s[_other(side)], least)

    def _enter(self, side: Side) -> None:
        """Idleness earns no credit."""
        self._given_s[side] = max(self._given_s[side], self._given_s[_other(side)])


def _other(side: Side) -> Side:
    return Side.OPERATIONS if side is Side.ENGINE else Side.ENGINE
