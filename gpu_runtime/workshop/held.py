"""What the Workshop remembers of a request between its submit() and its final event."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from gpu_runtime.batching.fair_shares import Share
from gpu_runtime.messages import Progress, Timings
from gpu_runtime.operations.context import Context
from gpu_runtime.work import Operation, WorkRequest
from gpu_runtime.workshop.progress import Steps, steps_of_operations
from gpu_runtime.workshop.tools import Encoded


class Stage(Enum):
    """How far a request is."""

    BEFORE = auto()
    """Its pictures are prepared."""
    IMAGE = auto()
    """The engine has it; operations on images that are done already run meanwhile."""
    AFTER = auto()
    """What is left are operations on images, and files."""


@dataclass(slots=True)
class Running:
    """An operation between its first slice and its last."""

    context: Context
    slices: Iterator[float]


@dataclass(slots=True, kw_only=True)
class Course:
    """Operations that are done one after another on the same values."""

    operations: tuple[Operation, ...]
    values: dict[str, Any]
    """Pictures and other values by their names in the request."""
    index: int | None
    """Of the image that it ends in; None for what comes before the image."""
    is_between: bool = False
    """Whether the engine goes on with the image afterwards."""
    position: int = 0
    """How many of the operations are done."""
    share: float = 0.0
    """Of the operation at `position`, what is done of it, 0 to 1."""
    running: Running | None = None
    operation_s: float = 0.0
    """What the slices of the operation at `position` took, loading left out."""
    is_second_try: bool = False
    """Of the operation at `position`: the first ran out of memory."""
    notes: dict[str, Any] = field(default_factory=dict)

    @property
    def operation(self) -> Operation:
        """The next one, or the one that runs."""
        return self.operations[self.position]

    @property
    def is_done(self) -> bool:
        """Whether no operation is left."""
        return self.position == len(self.operations)

    @property
    def steps_done(self) -> float:
        """Of the steps that its operations count as."""
        done = steps_of_operations(self.operations[: self.position])
        return done if self.is_done else done + self.share * steps_of_operations([self.operation])


@dataclass(slots=True)
class Filing:
    """An image that is being encoded."""

    index: int
    notes: Mapping[str, Any]
    future: Future[Encoded]


@dataclass(slots=True)
class Moments:
    """When things happened to a request, in monotonic seconds; None until then."""

    submitted_at: float
    begun_at: float | None = None
    """First slice of an operation, or the hand-over to the engine."""
    prepared_at: float | None = None
    """End of the operations before the image."""
    imaged_at: float | None = None
    """The engine's final event."""
    worked_at: float | None = None
    """End of the latest operation on an image."""
    engine: Timings | None = None


@dataclass(slots=True, kw_only=True)
class HeldWork:
    """One request."""

    request: WorkRequest
    share: Share
    steps: Steps
    moments: Moments
    stage: Stage = Stage.BEFORE
    courses: deque[Course] = field(default_factory=deque)
    """With operations to do, in the order in which they came; one at a time."""
    shared: dict[str, Any] = field(default_factory=dict)
    """What operations before the image left, by name."""
    decoded: dict[str, Any] = field(default_factory=dict)
    """Those of the pictures that the request brings which an operation has read, by name."""
    notes: dict[str, Any] = field(default_factory=dict)
    filings: list[Filing] = field(default_factory=list)
    engine_share: float = 0.0
    """Of the image request, what the engine has done, 0 to 1."""
    images_out: int = 0
    """Images that the engine does not have now: handed out between two passes, or for good."""
    images_returned: int = 0
    """Of how many images the operations between two passes are done."""
    images_done: int = 0
    """Of how many images the operations are done."""
    reported_steps: int = 0
    last_slice: int = 0
    """Number of the slice that it was last given."""

    @property
    def request_id(self) -> str:
        """The request's name."""
        return self.request.request_id

    @property
    def is_with_engine(self) -> bool:
        """Whether the engine has something to do for it."""
        return self.stage is Stage.IMAGE and self.images_out < self.steps.images

    @property
    def is_ended(self) -> bool:
        """Whether every image is delivered."""
        return self.stage is Stage.AFTER and not self.courses and not self.filings

    def seed_of(self, index: int) -> int:
        """Of an image: the engine's, or where it makes none, that of the operations' chance."""
        image = self.request.image
        return image.seeds[index] if image else self.request.seed + index

    def keep_for_after(self) -> None:
        """Let go of pictures that no operation after the image reads: the engine may take long."""
        later = (*self.request.between, *self.request.after)
        needed = {name for operation in later for name in operation.inputs.values()}
        for values in (self.shared, self.decoded):
            for name in values.keys() - needed:
                del values[name]

    def take_progress(self) -> Progress | None:
        """What to report, when more steps are done than were reported."""
        done = self.steps.total if self.is_ended else self._steps_done()
        if done <= self.reported_steps:
            return None
        self.reported_steps = done
        return Progress(request_id=self.request_id, step=done, total=self.steps.total)

    def _steps_done(self) -> int:
        open_steps = sum(course.steps_done for course in self.courses)
        if self.stage is Stage.BEFORE:
            return self.steps.done(before=open_steps, engine_share=0.0, after=0.0)
        between = self.images_returned * self.steps.between
        after = self.images_done * self.steps.after + between + open_steps
        return self.steps.done(before=self.steps.before, engine_share=self.engine_share, after=after)

    def timings(self, now: float) -> Timings:
        """For the final event at `now`: parts that follow each other and add up to the whole at most."""
        moments, engine = self.moments, self.moments.engine
        begun = moments.submitted_at if moments.begun_at is None else moments.begun_at
        prepared = begun if moments.prepared_at is None else moments.prepared_at
        imaged = prepared if moments.imaged_at is None else moments.imaged_at
        worked = imaged if moments.worked_at is None else max(imaged, moments.worked_at)
        return Timings(
            queued_s=begun - moments.submitted_at + (engine.queued_s if engine else 0.0),
            load_s=engine.load_s if engine else 0.0,
            encode_s=engine.encode_s if engine else 0.0,
            denoise_s=engine.denoise_s if engine else 0.0,
            decode_s=engine.decode_s if engine else 0.0,
            encode_image_s=now - worked + (engine.encode_image_s if engine else 0.0),
            total_s=now - moments.submitted_at,
            before_s=prepared - begun,
            after_s=worked - imaged,
        )
