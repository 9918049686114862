"""Turns of steps: who shares the next denoiser call, what they need for it, what becomes of them afterwards.

Knows the order in which things happen in a turn and whose fault a failure is. How they are done is elsewhere.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import Tensor

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.batching.step_batcher import StepBatcher
from gpu_runtime.batching.turns import Device, Turn
from gpu_runtime.beginning import Beginner
from gpu_runtime.calls import DenoiserCalls, Member
from gpu_runtime.device_faults import as_fault
from gpu_runtime.errors import RuntimeFault
from gpu_runtime.estimates import Estimates
from gpu_runtime.families.family import Family
from gpu_runtime.feature_cache.memory import FeatureMemory
from gpu_runtime.forecast import repeated_turns
from gpu_runtime.messages import CheckpointRef
from gpu_runtime.previews import Previews
from gpu_runtime.register import Register
from gpu_runtime.stepping import advance
from gpu_runtime.telemetry import TickKind, TickLog, TickReport
from gpu_runtime.weights.residency import Residency
from gpu_runtime.weights.side_by_side import SideBySide


class StepTurns:
    """Takes the turns of one engine."""

    def __init__(
        self,
        *,
        register: Register,
        batcher: StepBatcher,
        residency: Residency,
        side_by_side: SideBySide,
        estimates: Estimates,
        calls: DenoiserCalls,
        beginner: Beginner,
        previews: Previews,
        features: FeatureMemory,
        ticks: TickLog,
    ) -> None:
        self._register = register
        self._batcher = batcher
        self._residency = residency
        self._side_by_side = side_by_side
        self._estimates = estimates
        self._calls = calls
        self._beginner = beginner
        self._previews = previews
        self._features = features
        self._ticks = ticks

    def take(self, *, before_load: Callable[[], None]) -> None:
        """One turn, if anybody waits for one. Raises DeviceLost only.

        `before_load` is called before another checkpoint is loaded, which may need the room of those here.
        """
        turn = self._batcher.plan(self._device())
        if turn is None:
            return
        self._register.admit(turn.rows)
        if turn.key.checkpoint not in self._residency.digests():
            before_load()
        family = self._family_of(turn)
        if family is None:
            return
        members = self._begun(turn, family)
        if members:
            self._compute(turn.key, family, members)
        requests = {member.held.request_id: member.held for member in members}
        self._register.report_progress(requests.values())

    def _device(self) -> Device:
        resident = self._residency.digests()
        held = self._register.held.values()
        repeated = max((repeated_turns(held, digest) for digest in resident), default=0)
        load_s = max(self._residency.last_load_s or 0.0, self._residency.last_lend_s or 0.0)
        return Device(
            resident=resident,
            is_lent=self._side_by_side.is_lent,
            fits=self._side_by_side.fits,
            call_cost=self._estimates.call_cost,
            row_limit=self._calls.row_limit,
            best_rows=self._estimates.best_rows,
            patience=self._estimates.patience(load_s, repeated),
            now=time.monotonic(),
        )

    def _family_of(self, turn: Turn) -> Family | None:
        """The turn's loaded checkpoint; on failure its requests fail and None is returned."""
        checkpoint = self._checkpoint_of(turn)
        started = time.monotonic()
        was_resident = checkpoint.digest in self._residency.digests()
        try:
            family = self._residency.get(checkpoint)
        except Exception as error:  # noqa: BLE001 - the loop's edge: these requests fail, others go on
            fault = as_fault(error, f"loading checkpoint {checkpoint.name}")
            for request_id in dict.fromkeys(row.request_id for row in turn.rows):
                self._register.fail(self._register.held[request_id], fault)
            return None
        if not was_resident:
            self._note_load(checkpoint, started, time.monotonic())
        return family

    def _checkpoint_of(self, turn: Turn) -> CheckpointRef:
        first = turn.rows[0]
        return self._register.held[first.request_id].pass_of(first.index).request.checkpoint

    def _note_load(self, checkpoint: CheckpointRef, started: float, ended: float) -> None:
        for held in self._register.held.values():
            if held.awaits_steps_of(checkpoint.digest):
                held.spent.load_s += ended - max(started, held.spent.submitted_at)
        self._ticks.add(TickReport(kind=TickKind.LOAD, seconds=ended - started))

    def _begun(self, turn: Turn, family: Family) -> list[Member]:
        """The turn's rows, encoded and begun where they are new; requests that cannot begin fail."""
        members = []
        for row in turn.rows:
            held = self._register.held.get(row.request_id)
            if held is None:
                continue
            try:
                self._beginner.encode(held, row.stage, family)
                shape = held.conditioning[row.stage].shape
                if shape != turn.key.shape:
                    self._register.rekey(held, row.stage, replace(turn.key, shape=shape))
                    continue
                members.append(Member(held, row.index, self._beginner.begin(held, row.index, family)))
            except Exception as error:  # noqa: BLE001 - the loop's edge: this request fails, others go on
                self._register.fail(held, as_fault(error, "preparing a request"))
        return [member for member in members if self._register.is_held(member.held)]

    def _compute(self, key: BatchKey, family: Family, members: Sequence[Member]) -> None:
        """The denoiser for all, then one sampler step for each row."""
        waits = self._register.oldest_waits()
        # Now, and not after the turn, when some of them are in their next pass.
        tflop = sum(member.held.pass_of(member.index).row_cost for member in members)
        started = time.monotonic()
        done = self._calls.turn(key, family, members)
        for called in done.called:
            if isinstance(called.outcome, RuntimeFault) and self._register.is_held(called.member.held):
                self._register.fail(called.member.held, called.outcome)
        predicted = [
            (called.member, called.outcome)
            for called in done.called
            if isinstance(called.outcome, Tensor) and self._register.is_held(called.member.held)
        ]
        self._previews.before_step(predicted, family)
        self._advance(predicted, started)
        self._previews.after_turn(family)
        own_rows = sum(member.forward_rows for member in members)
        self._ticks.add(
            TickReport(
                kind=TickKind.STEPS,
                seconds=time.monotonic() - started,
                rows=len(members),
                forward_rows=own_rows,
                padded_rows=max(0, done.computed_rows - own_rows),
                tflop=tflop,
                feature_bytes=self._features.size_bytes,
                oldest_wait_s=waits,
            )
        )

    def _advance(self, predicted: Sequence[tuple[Member, Tensor]], started: float) -> None:
        """One sampler step for each row; those that are done go on to their next pass or are decoded."""
        rows = [member.row for member, _ in predicted]
        results = advance(rows, [prediction for _, prediction in predicted])
        for (member, _), result in zip(predicted, results, strict=True):
            if not self._register.is_held(member.held):
                continue
            if isinstance(result, Exception):
                sampler = member.held.request.sampler.value
                self._register.fail(member.held, as_fault(result, f"stepping sampler {sampler}"))
                continue
            member.row.latents = result
            member.held.spent.note_step(started, time.monotonic())
            if member.row.sampler.is_done:
                self._retire(member, result)

    def _retire(self, member: Member, latents: Tensor) -> None:
        try:
            self._register.retire(member.held, member.index, latents)
        except Exception as error:  # noqa: BLE001 - the loop's edge: this request fails, others go on
            self._register.fail(member.held, as_fault(error, "handing an image on"))
