"""What compiled code, graphs, fp8 and reuse of features gain over the same calls without, and what changes.

Compiled: turns before and after the background has done its work, which is waited for. The fast tier: whole
images, against the same seeds of the standard tier, whose latents are the reference of the relative
difference. With random weights that difference says little about quality: networks that were trained change
less from step to step.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.execution.codes import State
from gpu_runtime.execution.graphs import CALLS_BEFORE, CHECKED_REPLAYS
from gpu_runtime.messages import Tier
from tests.bench.gpu.bench import Bench, compiler_of, loaded, run, wait_until_ready
from tests.bench.gpu.checkpoints import families
from tests.bench.gpu.figures import Figure
from tests.bench.gpu.turns import rows_of, turn

SECTION = "shortcuts"

IMAGES = (1, 4)


def measure_compiled(bench: Bench, name: str, within_s: float) -> Iterator[Figure]:
    """Turns of one model with its regions compiled, against the same uncompiled."""
    request = bench.request(name, "compiled")
    with bench.engine(compile="regional") as engine, torch.inference_mode():
        family = loaded(engine, request.checkpoint)
        compiler = compiler_of(engine)
        for images in IMAGES:
            rows = rows_of(family, request, images)
            before_s = bench.clock.seconds(lambda rows=rows: turn(family, rows))
            if compiler is None:
                return
            began = time.monotonic()
            if not wait_until_ready(compiler, within_s):
                yield _figure(
                    f"{name}: codes not ready after {within_s:.0f} s", compiler.count(State.WAITING), ""
                )
                return
            yield _figure(f"{name}, {images} images: compiled in", time.monotonic() - began, "s")
            after_s = bench.clock.median_s(lambda rows=rows: turn(family, rows), within_s=bench.seconds(1.0))
            yield _figure(f"{name}, {images} images: compiled turn", after_s * 1e3, "ms")
            yield _figure(
                f"{name}, {images} images: first uncompiled turn over it", before_s / after_s, "times"
            )


def measure_graphs(bench: Bench, name: str) -> Iterator[Figure]:
    """Turns of one model replayed as CUDA graphs, against the same launched one kernel after the other."""
    request = bench.request(name, "graphs")
    taken: dict[str, list[float]] = {}
    for mode in ("off", "auto"):
        with bench.engine(compile="off", cuda_graphs=mode) as engine, torch.inference_mode():
            family = loaded(engine, request.checkpoint)
            for images in IMAGES:
                rows = rows_of(family, request, images)
                for _ in range(CALLS_BEFORE + CHECKED_REPLAYS):
                    turn(family, rows)
                seconds = bench.clock.median_s(
                    lambda family=family, rows=rows: turn(family, rows), within_s=bench.seconds(1.0)
                )
                taken.setdefault(mode, []).append(seconds)
    for images, launched_s, replayed_s in zip(IMAGES, taken["off"], taken["auto"], strict=True):
        yield _figure(f"{name}, {images} images: turn without graphs", launched_s * 1e3, "ms")
        yield _figure(f"{name}, {images} images: turn with graphs", replayed_s * 1e3, "ms")
        yield _figure(f"{name}, {images} images: without over with graphs", launched_s / replayed_s, "times")


def measure_fast(bench: Bench, name: str, **settings: Any) -> Iterator[Figure]:
    """One image of the fast tier against one of the standard tier; `settings` say what is fast about it."""
    latents: dict[str, Tensor] = {}
    label = ", ".join(f"{setting} {value}" for setting, value in settings.items())
    values = {field: getattr(bench.config, field) for field in EngineConfig.__dataclass_fields__}
    bench.shared.unload()
    engine = Engine(
        EngineConfig(**values | {"compile": "off"} | settings),
        families=families(is_tiny=bench.is_tiny),
        observe_latents=lambda request_id, index, final: latents.__setitem__(request_id, final.clone()),
    )
    taken = {}
    for tier in (Tier.STANDARD, Tier.FAST):
        request = bench.request(name, tier.value, tier=tier, prompt="a red apple", seeds=(7,))
        run(engine, [request])
        taken[tier] = bench.clock.median_s(
            lambda request=request: run(engine, [request]), most=3, within_s=bench.seconds(5.0), warm=0
        )
    engine.close()
    engine.unload()
    standard, fast = latents["standard"], latents["fast"]
    change = float((fast - standard).norm() / standard.norm())
    yield _figure(f"{name}, {label}: standard over fast", taken[Tier.STANDARD] / taken[Tier.FAST], "times")
    yield _figure(f"{name}, {label}: relative difference of the latents", change, "")


def _figure(name: str, value: float, unit: str) -> Figure:
    return Figure(section=SECTION, name=name, value=value, unit=unit)
