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

import torch
from torch import Tensor

from gpu_runtime.batching.admission import Limits, Rejected, admit
from gpu_runtime.batching.batch_key import BatchKey, batch_key
from gpu_runtime.batching.step_batcher import Device, StepBatcher, Turn
from gpu_runtime.beginning import begin_row
from gpu_runtime.calls import DenoiserCalls, Member
from gpu_runtime.config import EngineConfig
from gpu_runtime.device_faults import as_fault
from gpu_runtime.devices import choose_device
from gpu_runtime.errors import RuntimeFault, UnsupportedCombination
from gpu_runtime.estimates import Estimates
from gpu_runtime.families.family import Family
from gpu_runtime.families.registry import FAMILIES, LoadFamily
from gpu_runtime.finishing import Denoised, Finished, Finisher
from gpu_runtime.forecast import expected_step_s, repeated_turns
from gpu_runtime.held import HeldRequest
from gpu_runtime.invariants import check_places
from gpu_runtime.messages import (
    CheckpointRef,
    EngineInfo,
    Event,
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

SHARE_OF_ONE_REQUEST = 4
"""A request counts for at most max_rows / 4 in `free_rows`: its further rows give way to others."""

ObserveLatents = Callable[[str, int, Tensor], None]
"""Called with request id, image index and final latents (float32 [1, C, h, w]), once an image."""


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
        self._warming = Warming(self._residency, clock)
        self._finisher = Finisher()
        self._held: dict[str, HeldRequest] = {}
        self._events: list[Event] = []
        self._estimates = Estimates()
        self._calls = DenoiserCalls(self._residency, self._estimates, self._meter)
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
        return expected_step_s(
            self._estimates,
            waiting=self._batcher.keys(),
            finisher=self._finisher,
            held=self._held.values(),
            resident=self._residency.digests(),
            max_rows=self._config.max_rows,
            is_warming=bool(self._warming),
        )

    def warm(self, checkpoint: CheckpointRef) -> None:
        """Make a checkpoint resident when there is nothing else to do and room for it.

        Failures are logged, not raised, and not repeated for a while.
        """
        if not self._is_draining:
            self._warming.add(checkpoint)

    def unload(self, digest: str | None = None) -> int:
        """Forget the weights of one checkpoint, or with None all that no held request needs.

        What a held request needs stays. Returns the bytes freed, on the device and of staged copies.
        """
        self._warming.forget_failures(digest)
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
        resident = self._residency.digests()
        held = self._held.values()
        repeated = max((repeated_turns(held, digest) for digest in resident), default=0)
        return Device(
            resident=resident,
            call_cost=self._estimates.call_cost,
            row_limit=self._calls.row_limit,
            patience=self._estimates.patience(self._residency.last_load_s, repeated),
        )

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
                begun = begin_row(held, row.index, family, self._residency, self._estimates)
                members.append(Member(held, row.index, begun))
            except Exception as error:  # noqa: BLE001 - the loop's edge: this request fails, others go on
                self._fail(held, as_fault(error, "preparing a request"))
        return [member for member in members if self._is_held(member.held)]

    def _compute(self, key: BatchKey, family: Family, members: Sequence[Member]) -> None:
        """One denoiser call for all, then one sampler step for each row by itself."""
        for called in self._calls.turn(key, family, members):
            if not self._is_held(called.member.held):
                continue
            if isinstance(called.outcome, RuntimeFault):
                self._fail(called.member.held, called.outcome)
            else:
                self._advance(called.member, called.outcome, called.started)

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
            self._finisher.decode(family, vae, make_room=lambda: self._residency.evict_others(*due.weights))
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
        index = finished.row.index
        held.delivered.add(index)
        self._events.append(held.image_done(index, finished.data))
        if len(held.delivered) == held.images:
            request_id = held.request.request_id
            del self._held[request_id]
            self._events.append(RequestDone(request_id=request_id, timings=held.timings(time.monotonic())))

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
