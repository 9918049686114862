"""Every request for work that is held: how it goes from its pictures over its image to its files.

Runs slices when it is told to and hands image requests to the engine. Decides nothing about turns.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from gpu_runtime.batching.fair_shares import Share
from gpu_runtime.errors import RuntimeFault
from gpu_runtime.messages import (
    Event,
    ImageDone,
    ImageEngine,
    ImageInput,
    Preview,
    Progress,
    RequestCanceled,
    RequestDone,
    RequestFailed,
)
from gpu_runtime.work import RESULT, WorkRequest
from gpu_runtime.workshop.checking import with_pictures
from gpu_runtime.workshop.filing import MOST_WAITING, Filer
from gpu_runtime.workshop.held import Course, Filing, HeldWork, Moments, Stage
from gpu_runtime.workshop.progress import steps_of
from gpu_runtime.workshop.slices import Slicer
from gpu_runtime.workshop.tools import Tools

log = logging.getLogger(__name__)

MISSED_S = 0.001
"""What is left of a deadline that passed while pictures were prepared."""


class Works:
    """The requests of one Workshop. Times are monotonic seconds."""

    def __init__(self, engine: ImageEngine, tools: Tools, slicer: Slicer, clock: Callable[[], float]) -> None:
        self._engine = engine
        self._tools = tools
        self._slicer = slicer
        self._filer = Filer(tools)
        self._clock = clock
        self.held: dict[str, HeldWork] = {}
        """In the order in which they came."""
        self.events: list[Event] = []
        """Since they were last taken."""

    def add(self, request: WorkRequest) -> None:
        """Take a request that is sound. Raises RuntimeFault when the engine refuses it."""
        held = HeldWork(
            request=request,
            share=Share(request.priority, request.account),
            steps=steps_of(request),
            moments=Moments(self._clock()),
        )
        if request.before or request.image is None:
            held.courses.append(Course(operations=request.before, values={}, index=None))
        else:
            self._hand_over(held)
        self.held[request.request_id] = held

    def runnable(self) -> list[HeldWork]:
        """Requests with an operation to do, in the order of their coming."""
        return [held for held in self.held.values() if held.courses and len(held.filings) < MOST_WAITING]

    def advance(self, held: HeldWork) -> None:
        """Run one slice of a request's next operation. Raises DeviceLost only."""
        course = held.courses[0]
        if held.moments.begun_at is None:
            held.moments.begun_at = self._clock()
        fault = None if course.is_done else self._slicer.advance(held, course)
        if fault is None and course.is_done:
            held.courses.popleft()
            fault = self._end(held, course)
        if fault is None:
            self._report(held)
        else:
            self._fail(held, fault)

    def receive(self, event: Event) -> None:
        """What the engine says of a request; of one that it should not have any more it is dropped."""
        held = self.held.get(event.request_id)
        if held is None or held.stage is not Stage.IMAGE:
            return
        match event:
            case Progress():
                held.engine_share = max(held.engine_share, event.step / event.total)
                self._report(held)
            case RequestDone():
                held.moments.engine, held.moments.imaged_at = event.timings, self._clock()
                held.stage, held.engine_share = Stage.AFTER, 1.0
                self._report(held)
                self._end_if_done(held)
            case RequestFailed() | RequestCanceled():
                # Nothing to cancel in the engine, which has forgotten it.
                held.stage = Stage.AFTER
                self.forget(held.request_id)
                self.events.append(event)
            case Preview() | ImageDone():
                self.events.append(event)

    def collect(self, *, wait: bool) -> None:
        """Deliver files that are ready. With `wait`, blocks for a moment when none is. Raises DeviceLost."""
        filing = [held for held in self.held.values() if held.filings]
        if wait:
            self._filer.wait(each for held in filing for each in held.filings)
        for held in filing:
            ready = [each for each in held.filings if each.future.done()]
            held.filings = [each for each in held.filings if each not in ready]
            for each in ready:
                if held.request_id in self.held:
                    self._deliver(held, each)
            if ready and held.request_id in self.held:
                self._end_if_done(held)

    def cancel(self, request_id: str) -> bool:
        """End a request because nobody wants it any more; False for an unknown id."""
        is_known = self.forget(request_id)
        if is_known:
            self.events.append(RequestCanceled(request_id=request_id))
        return is_known

    def forget(self, request_id: str) -> bool:
        """Drop all that there is of a request, without an event; False for an unknown one."""
        held = self.held.pop(request_id, None)
        if held is None:
            return False
        if held.stage is Stage.IMAGE:
            self._engine.cancel(request_id)
        for filing in held.filings:
            filing.future.cancel()
        held.courses.clear()
        return True

    def close(self) -> None:
        """Drop all and stop the threads."""
        for request_id in list(self.held):
            self.forget(request_id)
        self._filer.close()

    def _end(self, held: HeldWork, course: Course) -> RuntimeFault | None:
        """The operations of a course are done. Returns why the request cannot go on."""
        now = self._clock()
        if course.is_between:
            return self._bring_back(held, course)
        if course.index is not None:
            held.images_done += 1
            held.moments.worked_at = now
            self._filer.file(held, course.index, course.values[RESULT], course.notes)
            return None
        held.shared.update(course.values)
        held.notes.update(course.notes)
        held.moments.prepared_at = now
        try:
            if held.request.image is None:
                self._begin_results(held)
            else:
                self._hand_over(held)
        except Exception as error:  # noqa: BLE001 - the loop's edge: this request fails, others go on
            return self._tools.as_fault(error, "handing pictures on")
        held.keep_for_after()
        return None

    def _hand_over(self, held: HeldWork) -> None:
        """Give the image request to the engine, with pictures in the place of names."""
        request, image = held.request, held.request.image
        if image is None:
            return
        prepared = with_pictures(
            replace(
                image,
                is_isolated=image.is_isolated or request.is_isolated,
                wants_previews=image.wants_previews or request.wants_previews,
                deadline_s=self._deadline_left_s(held, image.deadline_s),
            ),
            partial(self._as_input, held),
        )
        self._engine.submit(
            prepared,
            on_pixels=partial(self._take_pixels, held),
            on_between=partial(self._take_between, held) if request.between else None,
        )
        held.stage = Stage.IMAGE

    def _deadline_left_s(self, held: HeldWork, deadline_s: float | None) -> float | None:
        """From now, of one that counts from submit(); above 0, as the engine wants it."""
        if deadline_s is None:
            return None
        return max(deadline_s - (self._clock() - held.moments.submitted_at), MISSED_S)

    def _as_input(self, held: HeldWork, name: str) -> ImageInput:
        if name in held.shared:
            return self._tools.as_input(held.shared[name])
        return held.request.pictures[name]

    def _take_pixels(self, held: HeldWork, index: int, pixels: Any) -> None:
        """One image of the engine's."""
        if self.held.get(held.request_id) is held:
            held.images_out += 1
            self._begin_image(held, index, pixels)

    def _take_between(self, held: HeldWork, index: int, pixels: Any) -> None:
        """One image of the engine's first pass."""
        if self.held.get(held.request_id) is held:
            held.images_out += 1
            values = {RESULT: pixels}
            course = Course(operations=held.request.between, values=values, index=index, is_between=True)
            held.courses.append(course)

    def _bring_back(self, held: HeldWork, course: Course) -> RuntimeFault | None:
        """Have the engine go on with an image. Returns why it cannot."""
        assert course.index is not None
        try:
            self._engine.resume(held.request_id, course.index, course.values[RESULT])
        except RuntimeFault as fault:
            return fault.with_traceback(None)
        held.images_out -= 1
        held.images_returned += 1
        return None

    def _begin_results(self, held: HeldWork) -> None:
        """Deliver what there is by name: the request asks for no image of the engine's."""
        held.stage = Stage.AFTER
        for index, name in enumerate(held.request.results):
            self._begin_image(held, index, self._slicer.value(held, {}, name))
        self._end_if_done(held)

    def _begin_image(self, held: HeldWork, index: int, picture: Any) -> None:
        course = Course(operations=held.request.after, values={RESULT: picture}, index=index)
        if course.is_done:
            self._filer.file(held, index, picture, course.notes)
        else:
            held.courses.append(course)

    def _deliver(self, held: HeldWork, filing: Filing) -> None:
        error = filing.future.exception()
        if isinstance(error, Exception):
            self._fail(held, self._tools.as_fault(error, "encoding an image"))
            return
        encoded = filing.future.result()
        self.events.append(
            ImageDone(
                request_id=held.request_id,
                index=filing.index,
                seed=held.seed_of(filing.index),
                data=encoded.data,
                media_type=encoded.media_type,
                width=encoded.width,
                height=encoded.height,
                notes=filing.notes,
            )
        )

    def _end_if_done(self, held: HeldWork) -> None:
        if held.is_ended:
            self._report(held)
            del self.held[held.request_id]
            timings = held.timings(self._clock())
            self.events.append(RequestDone(request_id=held.request_id, timings=timings, notes=held.notes))

    def _report(self, held: HeldWork) -> None:
        if progress := held.take_progress():
            self.events.append(progress)

    def _fail(self, held: HeldWork, fault: RuntimeFault) -> None:
        if self.forget(held.request_id):
            log.warning("request %s failed: %s: %s", held.request_id, type(fault).__name__, fault)
            self.events.append(RequestFailed(request_id=held.request_id, fault=fault))
