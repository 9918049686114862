"""The Workshop: operations on pictures around an engine, and the engine's ticks between them.

    operations before -> image request in the engine -> operations after, for each image -> files

Operations may come between two passes of an image as well: the engine goes on with what they bring back. One
`step()` is either a tick of the engine or one slice of one operation: what it does between two of its yields.
A plain ImageRequest goes to the engine as it is.

    checking.py       what is refused at submit()
    alternation.py    the engine or an operation: half of the time each while both have work
    queue.py          whose operation
    works.py          a request on its way from pictures to files: held.py, slices.py, filing.py
    weights_shelf.py  weights of operations

A fault fails the request whose operation it is; only DeviceLost leaves `step()`. Single-threaded: call every
method from one thread. No torch here: `tools` has it, or the stand-in's tools have something else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from gpu_runtime.errors import RuntimeFault, UnsupportedCombination
from gpu_runtime.messages import (
    CheckpointRef,
    EngineInfo,
    Event,
    Forecast,
    ImageEngine,
    ImageRequest,
    Priority,
    RequestCanceled,
    RequestDone,
    RequestFailed,
)
from gpu_runtime.telemetry import TickKind, TickLog, TickReport
from gpu_runtime.work import WorkRequest
from gpu_runtime.workshop.alternation import Alternation, Side
from gpu_runtime.workshop.checking import made_names, require_sound
from gpu_runtime.workshop.estimates import OperationTimes
from gpu_runtime.workshop.forecasting import forecasts
from gpu_runtime.workshop.held import HeldWork, Stage
from gpu_runtime.workshop.queue import OperationQueue
from gpu_runtime.workshop.slices import Slicer
from gpu_runtime.workshop.tools import Tools
from gpu_runtime.workshop.weights_shelf import WeightsShelf
from gpu_runtime.workshop.works import Works


class Workshop:
    """Implements `messages.EngineProtocol`."""

    def __init__(
        self,
        engine: ImageEngine,
        tools: Tools,
        *,
        shelf: WeightsShelf | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`shelf` is one that the engine knows of; without it the Workshop has one of its own."""
        self._engine = engine
        self._clock = clock
        self._shelf = shelf or WeightsShelf(tools.size_bytes, clock)
        self._works = Works(engine, tools, Slicer(tools, self._shelf, engine.unload), clock)
        self._plain: dict[str, Priority] = {}
        """Image requests that came without operations and are with the engine."""
        self._alternation = Alternation()
        self._queue = OperationQueue()
        self._times = OperationTimes()
        self._ticks = TickLog()
        self._is_draining = False
        self._is_engine_draining = False

    def submit(self, request: ImageRequest | WorkRequest) -> None:
        """Take a request. Raises RuntimeFault when it can never run, or when the Workshop drains."""
        if self._is_draining:
            raise RuntimeFault("the engine is draining and takes no new request")
        if request.request_id in self._plain or request.request_id in self._works.held:
            raise UnsupportedCombination(f"request {request.request_id!r} is already held")
        self._forget_events(request.request_id)
        if isinstance(request, WorkRequest):
            require_sound(request)
            if request.image is not None:
                self._engine.require_admissible(request.image)
            self._works.add(request)
        else:
            self._submit_plain(request)

    def step(self) -> list[Event]:
        """Run one tick of the engine or one slice of an operation; return what happened since the last call.

        Raises DeviceLost when only a new process helps.
        """
        if not self.has_work():
            return []
        runnable = self._works.runnable()
        side = self._alternation.choose(self._engine_class(), _highest_class(runnable))
        if side is Side.OPERATIONS:
            self._slice(self._queue.choose(runnable))
        elif side is Side.ENGINE or self._engine.has_work():
            self._tick()
        self._works.collect(wait=side is None and not self._works.events)
        self._drain_engine_if_due()
        events, self._works.events = self._works.events, []
        return events

    def cancel(self, request_id: str) -> None:
        """Stop a request before the next slice or step. An unknown id is ignored."""
        if not self._works.cancel(request_id):
            self._engine.cancel(request_id)

    def drain(self) -> None:
        """Take no further request and warm nothing more; requests held go on to their end."""
        self._is_draining = True
        self._drain_engine_if_due()

    def close(self) -> None:
        """Stop the threads and drop what is held. Cannot be used afterwards."""
        self._works.close()
        self._engine.close()

    def has_work(self) -> bool:
        """Whether a request has not had its final event, or the engine has something else to do."""
        return bool(self._works.held or self._works.events) or self._engine.has_work()

    def free_rows(self) -> int:
        """How many more images to claim; a request with operations to do counts as one."""
        works = self._works.held.values()
        if self._is_draining or any(held.request.is_isolated for held in works):
            return 0
        return max(0, self._engine.free_rows() - sum(held.stage is not Stage.IMAGE for held in works))

    def expected_step_s(self) -> float:
        """Upper estimate of the next `step()` in seconds, whichever kind it is; 0 without work."""
        slices = [self._slice_s(held) for held in self._works.runnable()]
        return max([self._engine.expected_step_s(), *slices])

    def take_ticks(self) -> list[TickReport]:
        """What was done since the last call, part by part; only the latest few thousand are kept."""
        return self._ticks.take()

    def forecast(self) -> list[Forecast]:
        """When the held requests will be done, the next one first."""
        return forecasts(self._engine.forecast(), self._works.held.values(), self._times)

    def warm(self, checkpoint: CheckpointRef) -> None:
        """Make a checkpoint resident when there is nothing else to do; failures are logged, not raised."""
        if not self._is_draining:
            self._engine.warm(checkpoint)

    def unload(self, digest: str | None = None) -> int:
        """Forget the weights of a checkpoint or an operation, or with None all that no held request needs."""
        return self._engine.unload(digest) + self._shelf.unload(digest)

    def info(self) -> EngineInfo:
        """Device, dtype and residency now, with the weights of operations."""
        info = self._engine.info()
        return replace(
            info,
            held=(*self._shelf.held(), *info.held),
            weights_bytes=info.weights_bytes + self._shelf.size_bytes,
        )

    def _submit_plain(self, request: ImageRequest) -> None:
        if names := made_names(request):
            raise UnsupportedCombination(f"nothing makes the picture {names[0]!r} of this image request")
        self._engine.submit(request)
        self._plain[request.request_id] = request.priority

    def _engine_class(self) -> Priority | None:
        """The highest class of the requests that the engine has."""
        imaging = [held for held in self._works.held.values() if held.is_with_engine]
        return min([*self._plain.values(), *(held.request.priority for held in imaging)], default=None)

    def _tick(self) -> None:
        started = self._clock()
        events = self._engine.step()
        seconds = self._clock() - started
        reports = self._engine.take_ticks()
        for report in reports:
            self._ticks.add(report)
        load_s = sum(report.seconds for report in reports if report.kind is TickKind.LOAD)
        self._alternation.charge(Side.ENGINE, max(0.0, seconds - load_s))
        for event in events:
            if event.request_id not in self._plain:
                self._works.receive(event)
                continue
            if isinstance(event, RequestDone | RequestFailed | RequestCanceled):
                del self._plain[event.request_id]
            self._works.events.append(event)

    def _slice(self, held: HeldWork) -> None:
        """One slice of a request's next operation, and what it took noted where it counts."""
        course = held.courses[0]
        name, position = "" if course.is_done else course.operation.name, course.position
        started = self._clock()
        self._works.advance(held)
        load_s = self._shelf.take_load_s()
        seconds = max(0.0, self._clock() - started - load_s)
        self._alternation.charge(Side.OPERATIONS, seconds)
        self._queue.charge(held, seconds)
        course.operation_s += seconds
        if name:
            self._times.record_slice(name, seconds)
        if course.position > position:
            self._times.record_whole(name, course.operation_s)
            course.operation_s = 0.0
        if load_s:
            self._ticks.add(TickReport(kind=TickKind.LOAD, seconds=load_s))
        self._ticks.add(TickReport(kind=TickKind.OPERATION, seconds=seconds, rows=1))

    def _slice_s(self, held: HeldWork) -> float:
        """Upper estimate of its next slice in seconds."""
        course = held.courses[0]
        if course.is_done:
            return 0.0
        assets = course.operation.assets.values()
        is_loaded = all(self._shelf.has(asset.digest) for asset in assets)
        return self._times.slice_s(course.operation.name, is_loaded=is_loaded)

    def _forget_events(self, request_id: str) -> None:
        """The caller may cancel and submit again before it fetched the events of the first time."""
        self._works.events = [event for event in self._works.events if event.request_id != request_id]

    def _drain_engine_if_due(self) -> None:
        """The engine takes what is still being prepared, and drains after that."""
        if not self._is_draining or self._is_engine_draining:
            return
        works = self._works.held.values()
        if not any(held.stage is Stage.BEFORE and held.request.image for held in works):
            self._engine.drain()
            self._is_engine_draining = True


def _highest_class(works: list[HeldWork]) -> Priority | None:
    return min((held.request.priority for held in works), default=None)
