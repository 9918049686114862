"""The engine: many requests, one denoiser call at a time.

One `step()` is either a turn of steps or a decode of finished latents; the two alternate while there is both.
A turn is: plan who shares the call, load and begin what is new, gather the rows, one denoiser call, guidance,
one sampler step for each row by itself, retire what is done. Rows of a turn may be at different steps, with
different prompts, seeds, guidance, samplers and step counts.

Faults stay with the request that caused them wherever the cause can be told: prompts, samplers and decoding
by themselves, NaN by row, lack of memory by halving the call down to the row that does not fit, and anything
else by repeating the call for each request alone. Only DeviceLost leaves `step()`.

Single-threaded: call every method from one thread. Knows nothing about jobs, accounts' plans or HTTP.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gpu_runtime.batching.admission import Limits, Rejected, admit
from gpu_runtime.batching.batch_key import BatchKey, batch_key
from gpu_runtime.batching.step_batcher import Device, RowId, StepBatcher, Turn
from gpu_runtime.config import EngineConfig
from gpu_runtime.denoising import Prediction, predict
from gpu_runtime.device_faults import as_fault
from gpu_runtime.devices import choose_device
from gpu_runtime.errors import NumericFault, OutOfMemory, RuntimeFault, UnsupportedCombination
from gpu_runtime.estimates import UNMEASURED_LOAD_S, Estimates
from gpu_runtime.families.family import Family, Row
from gpu_runtime.families.registry import FAMILIES, LoadFamily
from gpu_runtime.finishing import Denoised, Finished, Finisher
from gpu_runtime.held import HeldRequest
from gpu_runtime.images import PNG_MEDIA_TYPE
from gpu_runtime.invariants import check_places
from gpu_runtime.messages import (
    CheckpointRef,
    EngineInfo,
    Event,
    ImageDone,
    ImageRequest,
    RequestCanceled,
    RequestDone,
    RequestFailed,
)
from gpu_runtime.samplers import MAX_STEPS
from gpu_runtime.weights.assembly import GENERIC, open_residency
from gpu_runtime.weights.budget import ActivationPeaks
from gpu_runtime.weights.device_memory import PeakMeter
from gpu_runtime.weights.warming import Warming

log = logging.getLogger(__name__)

SHRUNK_TURNS = 200
"""Turns for which a call stays small after it ran out of memory; then the full size is tried again."""

SHARE_OF_ONE_REQUEST = 4
"""A request counts for at most max_rows / 4 in `free_rows`: its further rows give way to others."""

UNLIMITED_ROWS = 2**31

ObserveLatents = Callable[[str, int, Tensor], None]
"""Called with request id, image index and final latents (float32 [1, C, h, w]), once an image."""


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


class Engine:
    """Implements `messages.EngineProtocol` with torch."""

    def __init__(
        self,
        config: EngineConfig,
        *,
        families: Mapping[str, LoadFamily] = FAMILIES,
        observe_latents: ObserveLatents | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Raises UnsupportedCombination when the configured device is not available."""
        self._config = config
        self._plan = choose_device(config)
        self._observe_latents = observe_latents
        known_families = None if GENERIC in families else frozenset(families)
        self._limits = Limits(families=known_families, max_steps=MAX_STEPS)
        self._batcher = StepBatcher(config.max_rows)
        peaks = ActivationPeaks()
        self._meter = PeakMeter(self._plan.device, peaks, clock)
        self._residency = open_residency(
            config, self._plan, families=families, peaks=peaks, wanted=self._wanted, clock=clock
        )
        self._warming = Warming(self._residency)
        self._finisher = Finisher()
        self._held: dict[str, HeldRequest] = {}
        self._events: list[Event] = []
        self._estimates = Estimates()
        self._shrunk: dict[BatchKey, tuple[int, int]] = {}
        """Forward rows that fit, and the turn until which that holds."""
        self._turns = 0
        self._decoded_last = False
        self._is_draining = False

    def submit(self, request: ImageRequest) -> None:
        """Take a request. Raises RuntimeFault when it can never run, or when the engine drains."""
        if self._is_draining:
            raise RuntimeFault("the engine is draining and takes no new request")
        if request.request_id in self._held:
            raise UnsupportedCombination(f"request {request.request_id!r} is already held")
        decision = admit(request, self._limits)
        if isinstance(decision, Rejected):
            raise UnsupportedCombination(decision.reason)
        # The caller may cancel and submit again before it fetched the events of the first time.
        self._events = [event for event in self._events if event.request_id != request.request_id]
        held = HeldRequest(request=request, key=batch_key(request), submitted_at=time.monotonic())
        self._batcher.add(
            request.request_id,
            account=request.account,
            weight=request.weight,
            key=held.key,
            images=held.images,
            row_cost=float(request.width * request.height * held.forward_rows),
            forward_rows=held.forward_rows,
        )
        self._held[request.request_id] = held

    def step(self) -> list[Event]:
        """Run one turn of steps or one decode, and return what happened since the last call.

        With neither to do, warms one checkpoint. Unloads what has been idle for too long either way.

        Raises DeviceLost when only a new process helps.
        """
        if not self.has_work():
            return []
        with torch.inference_mode():
            if self._is_decode_due():
                self._decode()
            elif self._batcher.rows():
                self._take_turn()
            elif self._warming and not self._held:
                self._warming.serve()
        self._collect()
        self._residency.unload_idle()
        if self._config.check_invariants:
            self.check_invariants()
        events, self._events = self._events, []
        return events

    def cancel(self, request_id: str) -> None:
        """Stop a request before the next step. An unknown id is ignored."""
        if self._forget(request_id):
            self._events.append(RequestCanceled(request_id=request_id))

    def drain(self) -> None:
        """Take no further request and warm nothing more; requests held go on to their end."""
        self._is_draining = True
        self._warming.clear()

    def close(self) -> None:
        """Stop the threads and drop what is held. The engine cannot be used afterwards."""
        for request_id in list(self._held):
            self._forget(request_id)
        self._finisher.close()

    def has_work(self) -> bool:
        """Whether a request has not had its final event, or a checkpoint is to be warmed or unloaded."""
        return bool(self._held or self._events or self._warming) or self._residency.is_unload_due()

    def free_rows(self) -> int:
        """How many more images to claim; many-image requests count in part, since their rows give way."""
        if self._is_draining or any(held.request.is_isolated for held in self._held.values()):
            return 0
        share = max(1, self._config.max_rows // SHARE_OF_ONE_REQUEST)
        taken = sum(min(share, len(rows)) for rows in self._batcher.rows().values())
        return max(0, self._config.max_rows - taken)

    def expected_step_s(self) -> float:
        """Upper estimate of the next `step()` in seconds, whichever kind it is; 0 without work."""
        resident = self._residency.digests()
        estimates = [
            self._estimates.turn_s(
                key,
                rows=rows,
                new_requests=self._count_new(key),
                is_resident=key.checkpoint in resident,
            )
            for key, rows in self._batcher.keys().items()
        ]
        due = self._finisher.next_decode()
        if due is not None:
            is_resident = due.checkpoint.digest in resident
            decode_s = self._estimates.decode_s(due.key, images=due.images, is_resident=is_resident)
            # All of them at once when a turn has to load: see _decode_resident.
            is_loading = any(key.checkpoint not in resident for key, _ in self._batcher.keys().items())
            estimates.append(decode_s)
            estimates = [
                each + self._finisher.decodes_waiting() * decode_s * is_loading for each in estimates
            ]
        if self._warming:
            estimates.append(UNMEASURED_LOAD_S)
        return max(estimates, default=0.0)

    def warm(self, checkpoint: CheckpointRef) -> None:
        """Make a checkpoint resident when there is nothing else to do; failures are logged, not raised."""
        if not self._is_draining:
            self._warming.add(checkpoint)

    def unload(self, digest: str | None = None) -> int:
        """Forget the weights of one checkpoint, or with None all that no held request needs.

        What a held request needs stays. Returns the bytes freed, on the device and of staged copies.
        """
        return self._residency.unload(digest, keep=self._wanted())

    def info(self) -> EngineInfo:
        """Device, dtype and residency now."""
        return EngineInfo(
            runtime="torch",
            device=str(self._plan.device),
            device_name=self._plan.device_name,
            dtype=self._plan.dtype_name,
            reason=self._plan.reason,
            resident=self._residency.names(),
            held=self._residency.held(),
            weights_bytes=self._residency.size_bytes,
            weights_budget_bytes=self._residency.budget_bytes,
        )

    def check_invariants(self) -> None:
        """Raise AssertionError unless every image is in exactly one place."""
        check_places(self._held, self._batcher.rows(), self._finisher.rows())

    def _wanted(self) -> frozenset[str]:
        """Digests of all weights that held requests need."""
        requests = [held.request for held in self._held.values()]
        vaes = [request.vae.digest for request in requests if request.vae]
        return frozenset([*(request.checkpoint.digest for request in requests), *vaes])

    def _is_decode_due(self) -> bool:
        """Decodes alternate with turns, so neither finished nor running images wait for all of the others."""
        if self._finisher.next_decode() is None:
            return False
        return not self._decoded_last or not self._batcher.rows()

    def _take_turn(self) -> None:
        self._decoded_last = False
        turn = self._batcher.plan(self._device())
        if turn is None:
            return
        self._turns += 1
        self._admit(turn)
        if turn.key.checkpoint not in self._residency.digests():
            self._decode_resident()
        family = self._family_of(turn)
        if family is None:
            return
        members = self._begin(turn, family)
        if members:
            self._compute(turn.key, family, members)
        for held in {id(member.held): member.held for member in members}.values():
            if self._is_held(held):
                self._events.append(held.progress())

    def _admit(self, turn: Turn) -> None:
        """Note when a request got its first row; loading its weights counts as its own time from then on."""
        admitted_at = time.monotonic()
        for row in turn.rows:
            held = self._held[row.request_id]
            held.admitted_at = held.admitted_at or admitted_at

    def _device(self) -> Device:
        return Device(
            resident=self._residency.digests(),
            call_cost=self._estimates.call_cost,
            row_limit=self._row_limit,
            patience=self._estimates.patience(self._residency.last_load_s),
        )

    def _row_limit(self, key: BatchKey) -> int:
        rows, until = self._shrunk.get(key, (UNLIMITED_ROWS, 0))
        return rows if self._turns < until else UNLIMITED_ROWS

    def _family_of(self, turn: Turn) -> Family | None:
        """The turn's loaded checkpoint; on failure its requests fail and None is returned."""
        members = list(dict.fromkeys(row.request_id for row in turn.rows))
        checkpoint = self._held[members[0]].request.checkpoint
        started = time.monotonic()
        was_resident = checkpoint.digest in self._residency.digests()
        try:
            family = self._residency.get(checkpoint)
        except Exception as error:  # noqa: BLE001 - the loop's edge: these requests fail, others go on
            fault = as_fault(error, f"loading checkpoint {checkpoint.name}")
            for request_id in members:
                self._fail(self._held[request_id], fault)
            return None
        if not was_resident:
            for held in self._held.values():
                if held.key.checkpoint == checkpoint.digest and not held.denoised:
                    held.load_s += time.monotonic() - max(started, held.submitted_at)
        return family

    def _begin(self, turn: Turn, family: Family) -> list[Member]:
        """The turn's rows, encoded and begun where they are new; requests that cannot begin fail."""
        members = []
        for row in turn.rows:
            held = self._held.get(row.request_id)
            if held is None:
                continue
            try:
                members.append(Member(held, row.index, self._begin_row(held, row.index, family)))
            except Exception as error:  # noqa: BLE001 - the loop's edge: this request fails, others go on
                self._fail(held, as_fault(error, "preparing a request"))
        return [member for member in members if self._is_held(member.held)]

    def _begin_row(self, held: HeldRequest, index: int, family: Family) -> Row:
        if held.conditioning is None:
            if held.request.vae:
                # Now, and not after all of the steps.
                self._residency.require_vae(held.request.vae, held.request.checkpoint)
            started = time.monotonic()
            held.conditioning = family.encode(held.request)
            held.encode_s = time.monotonic() - started
            self._estimates.record_encode(held.key, held.encode_s)
        if index not in held.rows:
            held.rows[index] = family.begin(held.request, index, held.conditioning)
        return held.rows[index]

    def _compute(self, key: BatchKey, family: Family, members: Sequence[Member]) -> None:
        """One denoiser call for all, then one sampler step for each row by itself."""
        started = time.monotonic()
        try:
            prediction = self._predict(key, family, [member.row for member in members])
        except Exception as error:  # noqa: BLE001 - the loop's edge: find whose fault it is
            self._blame(as_fault(error, "denoising"), key, family, members)
            return
        self._learn(key, prediction)
        for position, member in enumerate(members):
            if not self._is_held(member.held):
                continue
            if position in prediction.misfits:
                self._fail(member.held, OutOfMemory("out of memory while denoising a single image"))
            elif not prediction.finite[position]:
                self._fail(member.held, NumericFault("the prediction has values that are not finite"))
            else:
                self._advance(member, prediction.combined[position : position + 1], started)

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
            self._estimates.record_call(key, prediction.forward_rows, prediction.seconds)
            return
        log.warning("out of memory: calls of %s shrink to %d forward rows", key, prediction.fitting_rows)
        self._shrunk[key] = (prediction.fitting_rows, self._turns + SHRUNK_TURNS)

    def _blame(self, fault: RuntimeFault, key: BatchKey, family: Family, members: Sequence[Member]) -> None:
        """Fail a lone request; of several, repeat the call for each alone to see which one it was."""
        by_request: dict[str, list[Member]] = {}
        for member in members:
            by_request.setdefault(member.row_id.request_id, []).append(member)
        if len(by_request) == 1:
            self._fail(members[0].held, fault)
            return
        log.warning("a shared call failed, repeating it for each of %d requests: %s", len(by_request), fault)
        for own in by_request.values():
            self._compute(key, family, own)

    def _advance(self, member: Member, prediction: Tensor, started: float) -> None:
        """One sampler step; hand over to the finisher after the last."""
        held, row = member.held, member.row
        try:
            row.latents = row.sampler.advance(prediction, row.latents)
        except Exception as error:  # noqa: BLE001 - the loop's edge: this request fails, others go on
            self._fail(held, as_fault(error, f"stepping sampler {held.request.sampler.value}"))
            return
        held.first_step_at = started if held.first_step_at is None else held.first_step_at
        held.last_step_at = time.monotonic()
        if row.sampler.is_done:
            self._retire(member)

    def _retire(self, member: Member) -> None:
        held = member.held
        self._batcher.retire(member.row_id)
        del held.rows[member.index]
        held.denoised.add(member.index)
        if self._observe_latents:
            self._observe_latents(held.request.request_id, member.index, member.row.latents)
        self._finisher.put(
            Denoised(row=member.row_id, request=held.request, key=held.key, latents=member.row.latents)
        )

    def _decode(self) -> None:
        self._decoded_last = True
        due = self._finisher.next_decode()
        if due is None:
            return
        try:
            family = self._residency.get(due.checkpoint)
            vae = self._residency.vae(due.vae, due.checkpoint) if due.vae else None
        except Exception as error:  # noqa: BLE001 - the loop's edge: these images fail, others go on
            self._finisher.fail_next_decode(as_fault(error, f"loading checkpoint {due.checkpoint.name}"))
            return
        started = time.monotonic()
        with self._meter.measure(due.key, "decoding", due.images):
            self._finisher.decode(family, vae)
        self._estimates.record_decode(due.key, due.images, time.monotonic() - started)

    def _decode_resident(self) -> None:
        """Decode what can be before another checkpoint is loaded, which may need the room of this one."""
        while (due := self._finisher.next_decode()) and due.checkpoint.digest in self._residency.digests():
            self._decode()

    def _collect(self) -> None:
        """Turn finished images into events; wait for one only when there is nothing else to do."""
        is_idle = not self._batcher.rows() and self._finisher.next_decode() is None
        for finished in self._finisher.collect(wait=is_idle and not self._events):
            held = self._held.get(finished.row.request_id)
            if held is None:
                continue
            if finished.fault:
                self._fail(held, finished.fault)
            else:
                self._deliver(held, finished)

    def _deliver(self, held: HeldRequest, finished: Finished) -> None:
        request, index = held.request, finished.row.index
        held.delivered.add(index)
        self._events.append(
            ImageDone(
                request_id=request.request_id,
                index=index,
                seed=request.seeds[index],
                data=finished.data,
                media_type=PNG_MEDIA_TYPE,
                width=request.output_width,
                height=request.output_height,
            )
        )
        if len(held.delivered) == held.images:
            del self._held[request.request_id]
            timings = held.timings(time.monotonic())
            self._events.append(RequestDone(request_id=request.request_id, timings=timings))

    def _fail(self, held: HeldRequest, fault: RuntimeFault) -> None:
        """End a request with a fault. Images already handed out stay handed out."""
        request_id = held.request.request_id
        if self._forget(request_id):
            log.warning("request %s failed: %s: %s", request_id, type(fault).__name__, fault)
            self._events.append(RequestFailed(request_id=request_id, fault=fault))

    def _forget(self, request_id: str) -> bool:
        held = self._held.pop(request_id, None)
        for row in held.rows.values() if held else ():
            if row.release:
                row.release()
        self._batcher.remove(request_id)
        self._finisher.forget(request_id)
        return held is not None

    def _is_held(self, held: HeldRequest) -> bool:
        return self._held.get(held.request.request_id) is held

    def _count_new(self, key: BatchKey) -> int:
        """Requests of this key whose prompts the next turn may have to encode first."""
        new = sum(held.conditioning is None for held in self._held.values() if held.key == key)
        return min(new, self._config.max_rows)
