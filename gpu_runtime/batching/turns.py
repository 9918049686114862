"""What the step batcher is told about the device, and what it answers: the rows of one turn."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from gpu_runtime.batching.batch_key import BatchKey

HYSTERESIS_TURNS = 16
"""Turns that requests with resident weights may take before one that needs a load, if loading is quick."""

UNLIMITED_ROWS = 2**31


@dataclass(frozen=True, slots=True)
class RowId:
    """One image of one request, in one of its passes."""

    request_id: str
    index: int
    stage: int = 0
    """Number of the pass: 0 for the first, 1 for the refiner or the larger size after it."""


@dataclass(frozen=True, slots=True)
class ExtraNetwork:
    """A network that rows need on the device beside their checkpoint: a ControlNet, an IP-adapter."""

    digest: str
    path: str
    """Absolute path of its folder or file; from it comes its size before it was ever loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """What the next denoiser call computes."""

    key: BatchKey
    rows: tuple[RowId, ...]
    """At least one, no duplicates, all of requests with this key."""


def _unlimited(_key: BatchKey) -> int:
    return UNLIMITED_ROWS


def _nothing_is_lent(_network: ExtraNetwork) -> bool:
    return False


def _all_fit(_checkpoints: Collection[str], _networks: Collection[ExtraNetwork]) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What the batcher has to know about the device to plan a turn."""

    resident: Collection[str]
    """Digests of the checkpoints that need no loading."""
    call_cost: Callable[[BatchKey, int], float]
    """Predicted duration of a call of so many forward rows: seconds where deadlines are to be kept."""
    row_limit: Callable[[BatchKey], int]
    """Most forward rows that fit into memory at this key."""
    best_rows: Callable[[BatchKey], int] = _unlimited
    """b*: forward rows beyond which a call takes proportionally longer, so that sharing gains nothing."""
    is_lent: Callable[[ExtraNetwork], bool] = _nothing_is_lent
    """Whether a network needs no loading."""
    fits: Callable[[Collection[str], Collection[ExtraNetwork]], bool] = _all_fit
    """Whether resident checkpoints, by digest, and these networks can be there all at once."""
    patience: int = HYSTERESIS_TURNS
    """Turns that requests with resident weights may take before one that needs a load."""
    now: float = 0.0
    """Seconds of the clock by which deadlines were given."""

    def most_rows(self, key: BatchKey) -> int:
        """Most forward rows of a turn at this key."""
        return min(self.row_limit(key), self.best_rows(key))


@dataclass(slots=True)
class Room:
    """What is left of a turn's two limits."""

    rows: int
    """Images."""
    forward_rows: int
    """Of the whole turn."""
    taken: int = 0
    """Forward rows taken so far."""

    def fits(self, forward_rows: int) -> bool:
        """Whether one more row may come. The first always fits: a smaller turn does not exist."""
        return not self.taken or (self.rows > 0 and self.taken + forward_rows <= self.forward_rows)

    def take(self, forward_rows: int) -> bool:
        """Make room for one row, or refuse it and all that follow."""
        if not self.fits(forward_rows):
            self.rows = 0
            return False
        self.rows -= 1
        self.taken += forward_rows
        return True
