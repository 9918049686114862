"""A stand-in engine for load tests and fault drills: no torch, no weights, real PNG files.

Chosen by an explicit `runtime="fake"` and never by default. Images depend on prompt and seed alone, so a test
can tell them apart and reproduce them. Time passes as on a GPU: one pause of `fake_step_ms` a tick, shared by
all rows of the tick, and none per row.

Faults are asked for in the prompt: `fake_faults`. Operations are the Workshop's, with `fake_tools`.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from dataclasses import dataclass, field

from gpu_runtime.batching.admission import Rejected, admit
from gpu_runtime.batching.limits import Limits
from gpu_runtime.batching.pass_rules import require_between
from gpu_runtime.batching.queue_forecast import Demand, forecast
from gpu_runtime.config import EngineConfig
from gpu_runtime.errors import NumericFault, OutOfMemory, RuntimeFault, UnsupportedCombination
from gpu_runtime.fake_events import image_done, preview, timings
from gpu_runtime.fake_faults import SLOW_FACTOR, FaultCode, read_faults
from gpu_runtime.fake_images import FakePicture
from gpu_runtime.messages import (
    CheckpointRef,
    EngineInfo,
    Event,
    Forecast,
    ImageRequest,
    OnPixels,
    Progress,
    RequestCanceled,
    RequestDone,
    RequestFailed,
)
from gpu_runtime.passes import Source, passes_of
from gpu_runtime.telemetry import TickReport

SLOW_FALLBACK_MS = 100.0
"""What a slow step takes when `fake_step_ms` is 0."""


@dataclass(slots=True)
class _Held:
    request: ImageRequest
    submitted_at: float
    faults: tuple[FaultCode, ...]
    step: int = 0
    """Steps done over all passes, the same for all images."""
    admitted_at: float | None = None
    on_pixels: OnPixels | None = None
    on_between: OnPixels | None = None
    away: set[int] = field(default_factory=set)
    """Images that were handed out between two passes."""

    @property
    def is_between(self) -> bool:
        """Whether images are handed out after the step that was done last."""
        last = passes_of(self.request)[-1]
        return last.source is Source.RETURNED_IMAGE and self.step == self.steps - last.steps

    @property
    def steps(self) -> int:
        """Of one image, over all passes."""
        return sum(each.steps for each in passes_of(self.request))


@dataclass(slots=True)
class FakeEngine:
    """Implements `messages.ImageEngine`; the Workshop around it does the rest: `fake_tools`."""

    config: EngineConfig
    dice: random.Random = field(default_factory=random.SystemRandom)
    """Decides whether a fault with a probability strikes."""
    _held: dict[str, _Held] = field(default_factory=dict)
    _events: list[Event] = field(default_factory=list)
    _is_draining: bool = False

    def submit(
        self, request: ImageRequest, *, on_pixels: OnPixels | None = None, on_between: OnPixels | None = None
    ) -> None:
        """Take a request. Raises RuntimeFault when it can never run, or when the engine drains.

        With `on_pixels` it is handed a FakePicture for each image, and so is `on_between`.
        """
        if self._is_draining:
            raise RuntimeFault("the engine is draining and takes no new request")
        if request.request_id in self._held:
            raise UnsupportedCombination(f"request {request.request_id!r} is already held")
        self.require_admissible(request)
        require_between(request, on_between)
        # The caller may cancel and submit again before it fetched the events of the first time.
        self._events = [event for event in self._events if event.request_id != request.request_id]
        faults = read_faults(request.prompt, self.dice)
        held = _Held(request, time.monotonic(), faults, on_pixels=on_pixels, on_between=on_between)
        self._held[request.request_id] = held

    def resume(self, request_id: str, index: int, pixels: FakePicture) -> None:
        """Go on when all images of the request are back. Raises UnsupportedCombination for another size."""
        held = self._held.get(request_id)
        if held is None or held.request.hires is None:
            return
        wanted = held.request.hires.width, held.request.hires.height
        if (pixels.width, pixels.height) != wanted:
            raise UnsupportedCombination(
                f"{pixels.width} x {pixels.height} pixels came back, not {wanted[0]} x {wanted[1]}"
            )
        held.away.discard(index)

    def require_admissible(self, request: ImageRequest) -> None:
        """Raise UnsupportedCombination when the request can never run; its pictures are not looked at."""
        decision = admit(request, Limits())
        if isinstance(decision, Rejected):
            raise UnsupportedCombination(decision.reason)

    def step(self) -> list[Event]:
        """Run one step of as many requests as fit; with `fake_step_ms` 0, all of their steps."""
        batch = self._next_batch()
        if batch:
            runs_through = self.config.fake_step_ms == 0
            while batch:
                self._advance(batch)
                batch = [
                    held for held in batch if runs_through and self._is_unfinished(held) and not held.away
                ]
        events, self._events = self._events, []
        return events

    def cancel(self, request_id: str) -> None:
        """Stop a request before the next step. An unknown id is ignored."""
        if self._held.pop(request_id, None):
            self._events.append(RequestCanceled(request_id=request_id))

    def drain(self) -> None:
        """Take no further request; those held go on to their end."""
        self._is_draining = True

    def close(self) -> None:
        """Nothing to stop."""

    def has_work(self) -> bool:
        """Whether any request has not yet had its final event."""
        return bool(self._held or self._events)

    def free_rows(self) -> int:
        """How many more images could share the next step."""
        if self._is_draining or any(held.request.is_isolated for held in self._held.values()):
            return 0
        return max(0, self.config.max_rows - sum(len(h.request.seeds) for h in self._held.values()))

    def expected_step_s(self) -> float:
        """Upper estimate of the next tick in seconds; a slow fault exceeds it on purpose."""
        return self.config.fake_step_ms / 1000 * 1.5 + 0.05 if self.has_work() else 0.0

    def take_ticks(self) -> list[TickReport]:
        """Nothing: it loads, encodes and computes nothing that would be worth a report."""
        return []

    def forecast(self) -> list[Forecast]:
        """When the held requests will be done, the next one first."""
        row_s = (
            self.config.fake_step_ms / 1000 / max(1, sum(len(h.request.seeds) for h in self._held.values()))
        )
        return forecast(
            [
                Demand(
                    request_id=request_id,
                    account=held.request.account,
                    weight=held.request.weight,
                    priority=held.request.priority,
                    seconds=(held.steps - held.step) * len(held.request.seeds) * row_s,
                    alone_s=(held.steps - held.step) * self.config.fake_step_ms / 1000,
                )
                for request_id, held in self._held.items()
            ]
        )

    def warm(self, checkpoint: CheckpointRef) -> None:
        """Nothing: the fake has no weights."""

    def unload(self, digest: str | None = None) -> int:
        """Nothing: the fake has no weights."""
        return 0

    def info(self) -> EngineInfo:
        """Says openly that nothing here is real."""
        return EngineInfo(
            runtime="fake",
            device="fake",
            device_name="no device",
            dtype="none",
            reason="DARKROOM_RUNTIME=fake: images are coloured test cards, not generated.",
        )

    def check_invariants(self) -> None:
        """Raise AssertionError when a held request is past its last step."""
        for request_id, held in self._held.items():
            if not self._is_unfinished(held):
                raise AssertionError(f"{request_id}: held after its last step")

    def _next_batch(self) -> list[_Held]:
        """The oldest requests of the highest class that fit together, an isolated one alone, one at least."""
        batch: list[_Held] = []
        rows = 0
        present = [held for held in self._held.values() if not held.away]
        for held in sorted(present, key=lambda held: held.request.priority):
            rows += len(held.request.seeds)
            if batch and (rows > self.config.max_rows or held.request.is_isolated):
                break
            batch.append(held)
            if held.request.is_isolated:
                break
        return batch

    def _advance(self, batch: list[_Held]) -> None:
        """One tick: one pause for everybody, then each request's own outcome."""
        now = time.monotonic()
        for held in batch:
            held.admitted_at = held.admitted_at or now
            held.step += 1
        struck = [(held, kind) for held in batch for kind in _striking(held)]
        self._pause(is_slow=any(kind == "slow" for _, kind in struck))
        for held, kind in struck:
            self._strike(held, kind)
        for held in batch:
            if held.request.request_id in self._held:
                self._report(held)

    def _pause(self, *, is_slow: bool) -> None:
        pause_ms = self.config.fake_step_ms
        if is_slow:
            pause_ms = max(SLOW_FALLBACK_MS, pause_ms * SLOW_FACTOR)
        if pause_ms:
            time.sleep(pause_ms / 1000)

    def _strike(self, held: _Held, kind: str) -> None:
        if kind == "hang":
            threading.Event().wait()
        elif kind == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        elif kind == "oom":
            self._fail(held, OutOfMemory("out of memory, as the prompt asked for"))
        elif kind == "nan":
            self._fail(held, NumericFault("values that are not finite, as the prompt asked for"))

    def _fail(self, held: _Held, fault: RuntimeFault) -> None:
        if self._held.pop(held.request.request_id, None):
            self._events.append(RequestFailed(request_id=held.request.request_id, fault=fault))

    def _report(self, held: _Held) -> None:
        """Progress and previews; after the last step the images and the end, too."""
        request = held.request
        if self._is_unfinished(held):
            if self.config.fake_step_ms:
                self._events.append(_progress(held))
                if request.wants_previews:
                    self._events += [
                        preview(request, index, held.step) for index in range(len(request.seeds))
                    ]
            if held.is_between:
                self._hand_out(held)
            return
        self._events.append(_progress(held))
        for index in range(len(request.seeds)):
            self._deliver(held, index)
        del self._held[request.request_id]
        self._events.append(
            RequestDone(request_id=request.request_id, timings=timings(held.submitted_at, held.admitted_at))
        )

    def _hand_out(self, held: _Held) -> None:
        request = held.request
        assert held.on_between is not None
        held.away = set(range(len(request.seeds)))
        for index, seed in enumerate(request.seeds):
            picture = FakePicture(words=request.prompt, seed=seed, width=request.width, height=request.height)
            held.on_between(index, picture)

    def _deliver(self, held: _Held, index: int) -> None:
        if held.on_pixels is None:
            self._events.append(image_done(held.request, index))
            return
        request = held.request
        picture = FakePicture(
            words=request.prompt,
            seed=request.seeds[index],
            width=request.output_width,
            height=request.output_height,
        )
        held.on_pixels(index, picture)

    def _is_unfinished(self, held: _Held) -> bool:
        return held.request.request_id in self._held and held.step < held.steps


def _striking(held: _Held) -> list[str]:
    """Kinds of faults that strike at the step just begun; slowness goes on from there."""
    return [
        fault.kind
        for fault in held.faults
        if fault.step == held.step or (fault.kind == "slow" and held.step >= fault.step)
    ]


def _progress(held: _Held) -> Progress:
    images = len(held.request.seeds)
    return Progress(request_id=held.request.request_id, step=held.step * images, total=held.steps * images)
