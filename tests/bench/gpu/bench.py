"""What the sections of the suite share: the device, its engine, and ways to make and run requests."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from gpu_runtime.config import EngineConfig
from gpu_runtime.devices import DevicePlan, choose_device
from gpu_runtime.engine import Engine
from gpu_runtime.execution.regions import RegionCompiler, State
from gpu_runtime.families.family import Family
from gpu_runtime.messages import CheckpointRef, ImageDone, ImageRequest, RequestDone, RequestFailed, Sampler
from tests.bench.gpu.checkpoints import MODELS, Checkpoints, families
from tests.bench.gpu.figures import Clock

PROMPT = "a photograph of an old lighthouse on a cliff above the sea, in the light of the evening, number"

TINY_SIDE = 64
TINY_STEPS = 2


@dataclass(frozen=True, slots=True)
class Bench:
    """One run of the suite."""

    config: EngineConfig
    plan: DevicePlan
    checkpoints: Checkpoints
    clock: Clock
    is_tiny: bool
    shared: Engine
    """For all sections that need no settings of their own: what is staged and loaded stays."""

    @classmethod
    def of(cls, config: EngineConfig, checkpoints: Checkpoints, *, is_tiny: bool) -> Bench:
        """On the device that the configuration names."""
        plan = choose_device(config)
        shared = Engine(config, families=families(is_tiny=is_tiny))
        return cls(config, plan, checkpoints, Clock(plan.device), is_tiny, shared)

    def sides(self) -> tuple[int, ...]:
        """Pixels a side at which turns are measured."""
        return (TINY_SIDE,) if self.is_tiny else (512, 1024)

    def side(self, name: str) -> int:
        """Pixels a side of a model's images."""
        return TINY_SIDE if self.is_tiny else MODELS[name].side

    def steps(self, name: str) -> int:
        """Steps of a model's images."""
        return TINY_STEPS if self.is_tiny else MODELS[name].steps

    def seconds(self, full: float) -> float:
        """How long something may be repeated: `full`, or much less where everything is tiny."""
        return 0.05 if self.is_tiny else full

    @contextmanager
    def engine(self, **settings: Any) -> Iterator[Engine]:
        """An engine with the given settings over the suite's, and the device to itself."""
        self.shared.unload()
        values = {name: getattr(self.config, name) for name in EngineConfig.__dataclass_fields__}
        engine = Engine(EngineConfig(**values | settings), families=families(is_tiny=self.is_tiny))
        try:
            yield engine
        finally:
            engine.close()
            engine.unload()
            del engine
            gc.collect()
            if self.plan.device.type == "cuda":
                torch.cuda.empty_cache()

    def request(self, name: str, request_id: str, *, number: int = 0, **changes: Any) -> ImageRequest:
        """One image of a model; requests of different ids have different prompts."""
        model, side = MODELS[name], self.side(name)
        fields: dict[str, Any] = {
            "prompt": f"{PROMPT} {request_id}",
            "negative_prompt": "blurry",
            "width": side,
            "height": side,
            "output_width": changes.get("width", side),
            "output_height": changes.get("height", side),
            "steps": self.steps(name),
            "guidance_scale": model.guidance,
            "seeds": (sum(request_id.encode()),),
            "sampler": Sampler.EULER,
            "account": request_id,
        }
        checkpoint = self.checkpoints.get(name, number)
        return ImageRequest(request_id=request_id, checkpoint=checkpoint, **fields | changes)


def loaded(engine: Engine, checkpoint: CheckpointRef) -> Family:
    """The engine's own family object, on the device."""
    with torch.inference_mode():
        return engine._residency.get(checkpoint)


def run(engine: Engine, requests: Sequence[ImageRequest]) -> dict[str, bytes]:
    """Submit together and step to the end. The first image of each; raises RuntimeError if one fails."""
    for request in requests:
        engine.submit(request)
    images: dict[str, bytes] = {}
    while engine.has_work():
        for event in engine.step():
            if isinstance(event, ImageDone) and event.index == 0:
                images[event.request_id] = event.data
            elif isinstance(event, RequestFailed):
                raise RuntimeError(f"{event.request_id}: {event.fault}")
    return images


def run_arriving(engine: Engine, requests: Sequence[ImageRequest], at_s: Sequence[float]) -> list[float]:
    """Submit each request at its time and step to the end: seconds from that time to the image.

    `at_s` ascends. Raises RuntimeError if a request fails.
    """
    due = {request.request_id: at for request, at in zip(requests, at_s, strict=True)}
    waiting = list(zip(at_s, requests, strict=True))
    taken: dict[str, float] = {}
    began = time.monotonic()
    while waiting or engine.has_work():
        now = time.monotonic() - began
        while waiting and waiting[0][0] <= now:
            engine.submit(waiting.pop(0)[1])
        if not engine.has_work():
            time.sleep(max(0.0, waiting[0][0] - now))
            continue
        for event in engine.step():
            if isinstance(event, RequestDone):
                taken[event.request_id] = time.monotonic() - began - due[event.request_id]
            elif isinstance(event, RequestFailed):
                raise RuntimeError(f"{event.request_id}: {event.fault}")
    return [taken[request.request_id] for request in requests]


def compiler_of(engine: Engine) -> RegionCompiler | None:
    """What compiles for an engine: the bench waits for it, which nobody else does."""
    prepare = engine._residency._weights._pool._prepare
    return None if prepare is None else prepare.__self__.regions  # type: ignore[attr-defined]  # an Execution's


def wait_until_ready(compiler: RegionCompiler, within_s: float) -> bool:
    """Whether all that was ordered was compiled within the time."""
    until = time.monotonic() + within_s
    while compiler.count(State.WAITING) and time.monotonic() < until:
        time.sleep(0.05)
    return compiler.count(State.WAITING) == 0
