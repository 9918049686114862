"""Denoiser calls for the rows of a turn: smaller when memory is short, repeated to find whose fault it was.

Knows which calls fit and how long they take, nothing about queues and events.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.batching.turns import RowId
from gpu_runtime.denoising import Prediction, predict
from gpu_runtime.device_faults import as_fault, call_with_room
from gpu_runtime.errors import NumericFault, OutOfMemory, RuntimeFault
from gpu_runtime.estimates import Estimates
from gpu_runtime.exact import divided, filled
from gpu_runtime.families.family import Family, Row
from gpu_runtime.held import HeldRequest
from gpu_runtime.messages import Tier
from gpu_runtime.weights.device_memory import PeakMeter
from gpu_runtime.weights.family_facts import STEP_BATCHED
from gpu_runtime.weights.residency import Residency

log = logging.getLogger(__name__)

SHRUNK_TURNS = 200
"""Turns for which a call stays small after it ran out of memory, and rows remember nothing of their steps;
then both are tried again."""

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
        return self.held.row_id(self.index)

    @property
    def forward_rows(self) -> int:
        """Denoiser rows that it brings to a call."""
        return 1 if self.row.conditioning.negative is None else 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """What a turn's calls gave for one row."""

    member: Member
    outcome: Tensor | RuntimeFault
    """The prediction, float32 [1, C, h, w], on the device."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnCalls:
    """What all of a turn's calls gave."""

    called: list[Called]
    computed_rows: int
    """Forward rows of the calls that succeeded, those among them that are for nobody."""


class DenoiserCalls:
    """Makes the calls of one engine."""

    def __init__(
        self,
        residency: Residency,
        estimates: Estimates,
        meter: PeakMeter,
        *,
        exact_rows: int,
        reuse_threshold: float = 0.0,
    ) -> None:
        """`exact_rows` and `reuse_threshold` as in `EngineConfig`."""
        self._residency = residency
        self._estimates = estimates
        self._meter = meter
        self._exact_rows = exact_rows
        self._reuse_threshold = reuse_threshold
        self._forgetful_until = 0
        """The turn until which rows remember nothing, because memory ran out."""
        self._turns = 0
        self._computed_rows = 0
        """Forward rows of this turn's calls so far."""
        self._shrunk: dict[BatchKey, tuple[int, int]] = {}
        """Forward rows that fit, and the turn until which that holds."""

    def row_limit(self, key: BatchKey) -> int:
        """Most forward rows that fit into memory at this key."""
        rows, until = self._shrunk.get(key, (UNLIMITED_ROWS, 0))
        return rows if self._turns < until else UNLIMITED_ROWS

    def turn(self, key: BatchKey, family: Family, members: Sequence[Member]) -> TurnCalls:
        """One call for all members, or several of a fixed size in the exact tier. Raises DeviceLost only.

        If one fails, its requests are called one by one, and a request that fails then has one entry.
        """
        self._turns += 1
        self._computed_rows = 0
        together: list[Sequence[Member]] = [members]
        if _is_exact(key):
            calls = divided([member.row for member in members], self._exact_rows)
            together = [[members[position] for position in call] for call in calls]
        called = [each for own in together for each in self._call(key, family, own)]
        return TurnCalls(called=called, computed_rows=self._computed_rows)

    def _call(self, key: BatchKey, family: Family, members: Sequence[Member]) -> list[Called]:
        try:
            prediction = self._predict(key, family, [member.row for member in members])
        except Exception as error:  # noqa: BLE001 - the loop's edge: find whose fault it is
            fault = as_fault(error, "denoising")
        else:
            self._computed_rows += prediction.forward_rows
            if prediction.features:
                prediction.features.commit([member.row for member in members])
            self._learn(key, prediction)
            return [
                Called(member=member, outcome=_outcome(prediction, position))
                # Repetitions that fill up a call come after the members.
                for position, member in enumerate(members)
            ]
        return self._blame(fault, key, family, members)

    def _predict(self, key: BatchKey, family: Family, rows: Sequence[Row]) -> Prediction:
        """One denoiser call; if a row does not fit even alone, once more without other weights beside it."""
        if _is_exact(key):
            return self._predict_exactly(key, family, rows)
        with self._meter.measure(key, "denoising", len(rows)):
            prediction = self._predict_divisibly(key, family, rows)
        if prediction.misfits and self._residency.evict_others(*_weights_of(key, rows)):
            prediction = self._predict_divisibly(key, family, rows)
        return prediction

    def _predict_divisibly(self, key: BatchKey, family: Family, rows: Sequence[Row]) -> Prediction:
        """One call, in parts if memory demands it. What rows remember is given up before it is divided."""
        is_forgetful = self._turns < self._forgetful_until
        return predict(
            family,
            rows,
            tier=key.tier,
            is_seamless=key.is_seamless,
            reuse_threshold=0.0 if is_forgetful else self._reuse_threshold,
            spare=self._spare,
        )

    def _spare(self) -> int:
        # At once it would be there again, and memory run out at every other step.
        self._forgetful_until = self._turns + SHRUNK_TURNS
        return self._residency.give_up_spare()

    def _predict_exactly(self, key: BatchKey, family: Family, rows: Sequence[Row]) -> Prediction:
        """One call of the fixed size; it is never made smaller, which would change the bytes."""
        full = filled(rows, self._exact_rows)
        with self._meter.measure(key, "denoising", len(full)):
            return call_with_room(
                lambda: predict(family, full, tier=key.tier, is_seamless=key.is_seamless, is_divisible=False),
                lambda: self._residency.make_room(*_weights_of(key, rows)),
            )

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
            return [Called(member=members[0], outcome=fault)]
        log.warning("a shared call failed, repeating it for each of %d requests: %s", len(by_request), fault)
        return [called for own in by_request.values() for called in self._call(key, family, own)]


def _is_exact(key: BatchKey) -> bool:
    """Whether calls have a fixed size. Families that share no calls are exact without."""
    return key.tier is Tier.EXACT and key.family in STEP_BATCHED


def _weights_of(key: BatchKey, rows: Sequence[Row]) -> set[str]:
    """Digests of what a call of these rows needs: the checkpoint's, and those of what is lent for it.

    Not the rest of their passes' weights: encoders of pictures have done their work, and other autoencoders
    are yet to.
    """
    lent = {use.loan.digest for row in rows for use in row.conditioning.controls}
    lent |= {use.conditional.loan.digest for row in rows for use in row.conditioning.prompts_of_pictures}
    return {key.checkpoint, *lent}


def _outcome(prediction: Prediction, position: int) -> Tensor | RuntimeFault:
    if position in prediction.misfits:
        return OutOfMemory("out of memory while denoising a single image")
    if not prediction.finite[position]:
        return NumericFault("the prediction has values that are not finite")
    return prediction.combined[position : position + 1]
