"""Denoiser calls for the rows of a turn: smaller when memory is short, repeated to find whose fault it was.

Knows which calls fit and how long they take, nothing about queues and events.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.batching.step_batcher import RowId
from gpu_runtime.denoising import Prediction, predict
from gpu_runtime.device_faults import as_fault
from gpu_runtime.errors import NumericFault, OutOfMemory, RuntimeFault
from gpu_runtime.estimates import Estimates
from gpu_runtime.families.family import Family, Row
from gpu_runtime.held import HeldRequest
from gpu_runtime.weights.device_memory import PeakMeter
from gpu_runtime.weights.residency import Residency

log = logging.getLogger(__name__)

SHRUNK_TURNS = 200
"""Turns for which a call stays small after it ran out of memory; then the full size is tried again."""

UNLIMITED_ROWS = 2**31


@dataclass(frozen=True, slots=True)
class Member:
    """One row of the current turn."""

    held: HeldRequest
    index: int
    row: Row

    @property
    def row_id(self) -> RowId:
        """The row's name in the batcher."""
        return RowId(self.held.request.request_id, self.index)


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What a turn's calls gave for one row."""

    member: Member
    started: float
    """Monotonic seconds at which its call began."""
    outcome: Tensor | RuntimeFault
    """The prediction, float32 [1, C, h, w], on the device."""


class DenoiserCalls:
    """Makes the calls of one engine."""

    def __init__(self, residency: Residency, estimates: Estimates, meter: PeakMeter) -> None:
        self._residency = residency
        self._estimates = estimates
        self._meter = meter
        self._turns = 0
        self._shrunk: dict[BatchKey, tuple[int, int]] = {}
        """Forward rows that fit, and the turn until which that holds."""

    def row_limit(self, key: BatchKey) -> int:
        """Most forward rows that fit into memory at this key."""
        rows, until = self._shrunk.get(key, (UNLIMITED_ROWS, 0))
        return rows if self._turns < until else UNLIMITED_ROWS

    def turn(self, key: BatchKey, family: Family, members: Sequence[Member]) -> list[Called]:
        """One call for all members. Raises DeviceLost only.

        If it fails, their requests are called one by one, and a request that fails then has one entry.
        """
        self._turns += 1
        return self._call(key, family, members)

    def _call(self, key: BatchKey, family: Family, members: Sequence[Member]) -> list[Called]:
        started = time.monotonic()
        try:
            prediction = self._predict(key, family, [member.row for member in members])
        except Exception as error:  # noqa: BLE001 - the loop's edge: find whose fault it is
            fault = as_fault(error, "denoising")
        else:
            self._learn(key, prediction)
            return [
                Called(member=member, started=started, outcome=_outcome(prediction, position))
                for position, member in enumerate(members)
            ]
        return self._blame(fault, key, family, members)

    def _predict(self, key: BatchKey, family: Family, rows: Sequence[Row]) -> Prediction:
        """One denoiser call; if a row does not fit even alone, once more without other weights beside it."""
        with self._meter.measure(key, "denoising", len(rows)):
            prediction = predict(family, rows)
        if prediction.misfits and self._residency.evict_others(key.checkpoint):
            prediction = predict(family, rows)
        return prediction

    def _learn(self, key: BatchKey, prediction: Prediction) -> None:
        """Remember how long the call took, or how much of it fits into memory."""
        if prediction.fitting_rows == prediction.forward_rows:
            if not prediction.repeats_steps:
                self._estimates.record_call(key, prediction.forward_rows, prediction.seconds)
            return
        log.warning("out of memory: calls of %s shrink to %d forward rows", key, prediction.fitting_rows)
        # Keys of isolated requests never come again.
        self._shrunk = {known: limit for known, limit in self._shrunk.items() if self._turns < limit[1]}
        self._shrunk[key] = (prediction.fitting_rows, self._turns + SHRUNK_TURNS)

    def _blame(
        self, fault: RuntimeFault, key: BatchKey, family: Family, members: Sequence[Member]
    ) -> list[Called]:
        """The fault of a lone request; of several, repeat the call for each alone to see which one it was."""
        by_request: dict[str, list[Member]] = {}
        for member in members:
            by_request.setdefault(member.row_id.request_id, []).append(member)
        if len(by_request) == 1:
            return [Called(member=members[0], started=time.monotonic(), outcome=fault)]
        log.warning("a shared call failed, repeating it for each of %d requests: %s", len(by_request), fault)
        return [called for own in by_request.values() for called in self._call(key, family, own)]


def _outcome(prediction: Prediction, position: int) -> Tensor | RuntimeFault:
    if position in prediction.misfits:
        return OutOfMemory("out of memory while denoising a single image")
    if not prediction.finite[position]:
        return NumericFault("the prediction has values that are not finite")
    return prediction.combined[position : position + 1]
