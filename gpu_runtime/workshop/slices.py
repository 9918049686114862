"""One slice of an operation: begun, gone on with, ended; tried a second time for lack of memory."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gpu_runtime.errors import RuntimeFault
from gpu_runtime.operations.context import Context
from gpu_runtime.operations.registry import ENTRIES, Retry
from gpu_runtime.work import Operation
from gpu_runtime.workshop.held import Course, HeldWork, Running
from gpu_runtime.workshop.tools import Tools
from gpu_runtime.workshop.weights_shelf import WeightsShelf

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Slicer:
    """Runs operations, a slice at a time."""

    tools: Tools
    shelf: WeightsShelf
    make_room: Callable[[], object]
    """Drops weights that nobody needs now, for an operation that ran out of memory."""

    def advance(self, held: HeldWork, course: Course) -> RuntimeFault | None:
        """Run the next slice of a course's operation; at its end the course is one operation further.

        Returns why the operation failed for good. It is not raised: a traceback would keep the request's
        pictures alive for as long as somebody has the fault. Raises DeviceLost.
        """
        try:
            with self.tools.guard():
                self._go_on(held, course)
            return None
        except Exception as error:  # noqa: BLE001 - the loop's edge: this request fails, others go on
            course.running = None
            if not (self.tools.is_lack_of_memory(error) and _may_try_again(course)):
                return self.tools.as_fault(error, f"running operation {course.operation.name}")
            lack = str(error)
        # Outside the handler: the traceback would keep the failed operation's arrays alive.
        log.warning("operation %s ran out of memory and is tried again: %s", course.operation.name, lack)
        self._begin_again(course)
        return None

    def value(self, held: HeldWork, values: Mapping[str, Any], name: str) -> Any:
        """What goes by a name in a request: in `values`, or for all of the request.

        What the request brings is decoded when it is first used. Raises PictureUnusable for damage.
        """
        for known in (values, held.shared, held.decoded):
            if name in known:
                return known[name]
        held.decoded[name] = self.tools.read(held.request.pictures[name], name)
        return held.decoded[name]

    def _go_on(self, held: HeldWork, course: Course) -> None:
        if course.running is None:
            context = self._context(held, course)
            course.running = Running(context, self.tools.run_of(course.operation.name)(context))
        running = course.running
        try:
            share = next(running.slices)
        except StopIteration:
            _finish(course, running.context)
        else:
            course.share = min(max(share, course.share), 1.0)

    def _begin_again(self, course: Course) -> None:
        course.is_second_try = True
        self.shelf.unload()
        self.make_room()
        self.tools.release_memory()

    def _context(self, held: HeldWork, course: Course) -> Context:
        operation = course.operation
        retry = ENTRIES[operation.name].retry if course.is_second_try else Retry.NONE
        return Context(
            operation=operation.name,
            inputs={own: self.value(held, course.values, name) for own, name in operation.inputs.items()},
            settings=operation.settings,
            assets=operation.assets,
            device="cpu" if retry is Retry.CPU else self.tools.device,
            rng=_generator(held, course),
            loader=self.shelf,
            is_cramped=retry is Retry.SMALLER,
        )


def _finish(course: Course, context: Context) -> None:
    operation = course.operation
    for output, name in operation.outputs.items():
        if output not in context.outputs:
            raise RuntimeFault(f"operation {operation.name} ended without its result {output!r}")
        course.values[name] = context.outputs[output]
    course.notes.update(context.notes)
    course.running = None
    course.position += 1
    course.share = 0.0
    course.is_second_try = False


def _may_try_again(course: Course) -> bool:
    return not course.is_second_try and ENTRIES[course.operation.name].retry is not Retry.NONE


def _generator(held: HeldWork, course: Course) -> np.random.Generator:
    """Chance depends on the seed, on the operation and on its place, on nothing else."""
    part = 0 if course.index is None else 2 if course.is_between else 1
    seed = held.seed_of(course.index or 0)
    return np.random.default_rng([seed, part, course.position, _number_of(course.operation)])


def _number_of(operation: Operation) -> int:
    return int.from_bytes(hashlib.sha256(operation.name.encode()).digest()[:4])
