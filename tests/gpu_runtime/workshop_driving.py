"""Workshops whose operations and engine are scripted, for tests of turns, faults and bookkeeping."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image

from gpu_runtime.config import EngineConfig
from gpu_runtime.fake import FakeEngine
from gpu_runtime.fake_tools import fake_tools
from gpu_runtime.messages import Event, ImageInput, ImageRequest, OnPixels, Progress
from gpu_runtime.operations.context import Context, Run
from gpu_runtime.telemetry import TickKind, TickReport
from gpu_runtime.work import Operation, WorkRequest
from gpu_runtime.workshop.tools import Tools
from gpu_runtime.workshop.workshop import Workshop
from tests.gpu_runtime.driving import Outcome, image_request


def picture_file(width: int = 24, height: int = 16, *, mode: str = "RGB", seed: int = 0) -> ImageInput:
    """A PNG of noise."""
    channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)
    buffer = BytesIO()
    Image.fromarray(noise.squeeze()).save(buffer, "PNG")
    return ImageInput(data=buffer.getvalue(), digest=f"noise-{width}-{height}-{mode}-{seed}")


def fit(source: str = "photo", result: str = "fitted", *, width: int = 32, height: int = 32) -> Operation:
    """An operation that makes a picture of this size."""
    return Operation(
        name="canvas.fit",
        inputs={"image": source},
        outputs={"image": result},
        settings={"width": width, "height": height},
    )


def upscale(factor: int = 2, *, source: str = "image") -> Operation:
    """An operation on results, or on another picture."""
    return Operation(
        name="upscale", inputs={"image": source}, outputs={"image": "image"}, settings={"factor": factor}
    )


def work_request(request_id: str, **changes: Any) -> WorkRequest:
    """A small valid request: one picture, nothing done with it; `changes` replace single fields."""
    fields: dict[str, Any] = {"account": "ada", "pictures": {"photo": picture_file()}}
    return WorkRequest(request_id=request_id, **{**fields, **changes})


def with_image(request_id: str, image_changes: dict[str, Any] | None = None, **changes: Any) -> WorkRequest:
    """The same with an image request."""
    return work_request(request_id, image=image_request(request_id, **(image_changes or {})), **changes)


@dataclass
class Watch:
    """A clock that only moves when somebody works."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class SteppingEngine(FakeEngine):
    """The fake engine with one step a tick, each of which takes `tick_s` of the watch."""

    config: EngineConfig = field(default_factory=lambda: EngineConfig(runtime="fake", fake_step_ms=1e-6))
    watch: Watch = field(default_factory=Watch)
    tick_s: float = 1.0
    load_s: float = 0.0
    """Of the first tick, beside its work."""
    received: list[ImageRequest] = field(default_factory=list)
    unloads: int = 0
    _reports: list[TickReport] = field(default_factory=list)

    def submit(
        self, request: ImageRequest, *, on_pixels: OnPixels | None = None, on_between: OnPixels | None = None
    ) -> None:
        super().submit(request, on_pixels=on_pixels, on_between=on_between)
        self.received.append(request)

    def step(self) -> list[Event]:
        if self._held:
            self.watch.now += self.tick_s + self.load_s
            self._reports = [TickReport(kind=TickKind.LOAD, seconds=self.load_s)] if self.load_s else []
            self.load_s = 0.0
        return super().step()

    def take_ticks(self) -> list[TickReport]:
        reports, self._reports = self._reports, []
        return reports

    def unload(self, digest: str | None = None) -> int:
        self.unloads += 1
        return 0


@dataclass
class Script:
    """What operations do: each of `slices` slices takes `slice_s` of the watch, in the order in `log`."""

    watch: Watch
    slices: int = 1
    slice_s: float = 1.0
    log: list[str] = field(default_factory=list)
    """The operation of each slice, in order."""
    given: Counter[object] = field(default_factory=Counter)
    """Slices by the operation's setting "width", by which tests tell operations apart."""
    contexts: list[Context] = field(default_factory=list)
    ending: Callable[[Context], None] = lambda context: None
    """Called at the end of each operation, before its results are put."""
    stand_in: Tools = field(default_factory=fake_tools)

    def tools(self) -> Tools:
        return replace(self.stand_in, run_of=self._run_of)

    def _run_of(self, name: str) -> Run:
        honest = self.stand_in.run_of(name)

        def run(context: Context) -> Iterator[float]:
            self.contexts.append(context)
            for number in range(self.slices):
                self.watch.now += self.slice_s
                self.log.append(name)
                self.given[context.settings.get("width")] += 1
                yield (number + 1) / self.slices
            self.ending(context)
            for _ in honest(context):
                pass

        return run


def scripted(**script: Any) -> tuple[Workshop, SteppingEngine, Script]:
    """A Workshop, its engine and what its operations do."""
    watch = Watch()
    engine, operations = SteppingEngine(watch=watch), Script(watch=watch, **script)
    return Workshop(engine, operations.tools(), clock=watch), engine, operations


def steps_of(outcome: Outcome, request_id: str) -> list[tuple[int, int]]:
    """What its progress said, in order."""
    return [
        (event.step, event.total)
        for event in outcome.events
        if isinstance(event, Progress) and event.request_id == request_id
    ]
