"""Whole images, from the request to the PNG, against diffusers' pipeline around the same networks.

Both take turns in every round, with the same steps and sizes and new prompts, in the plan's dtype; the
pipeline ends with a Pillow image, the engine with a PNG file. One request at a time, then several at once.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import torch

from gpu_runtime.messages import ImageRequest
from tests.bench.gpu.bench import Bench, compiler_of, loaded, run, wait_until_ready
from tests.bench.gpu.checkpoints import MODELS, plain_pipeline
from tests.bench.gpu.figures import Figure, percentile

SECTION = "images"

TOGETHER = 8
"""Requests at once."""

MOST_ROUNDS = 20


def measure(bench: Bench, name: str, seconds: float) -> Iterator[Figure]:
    """One model. About `seconds` go into rounds of one image each."""
    model = MODELS[name]
    checkpoint = bench.checkpoints.get(name)
    title = f"{name}-{bench.steps(name)} at {bench.side(name)}"
    engine = bench.shared
    run(engine, [bench.request(name, "warm")])
    # Compiled engines: figures of a mixture would be figures of nothing.
    if (compiler := compiler_of(engine)) is not None:
        wait_until_ready(compiler, seconds)
    pipeline = plain_pipeline(loaded(engine, checkpoint), checkpoint, bench.plan.dtype)
    plain(pipeline, bench.request(name, "warm"))
    ours: list[float] = []
    theirs: list[float] = []
    until = time.monotonic() + seconds
    while len(ours) < 3 or (len(ours) < MOST_ROUNDS and time.monotonic() < until):
        request = bench.request(name, f"alone {len(ours)}")
        ours.append(bench.clock.seconds(lambda request=request: run(engine, [request])))
        theirs.append(bench.clock.seconds(lambda request=request: plain(pipeline, request)))
        if bench.is_tiny and len(ours) == 1:
            break
    for side, values in (("engine", ours), ("diffusers", theirs)):
        target = model.target_s if side == "engine" and not bench.is_tiny else ""
        yield _figure(f"{title}: {side}, p50", percentile(values, 50), "s", target)
        yield _figure(f"{title}: {side}, p95", percentile(values, 95), "s")
    count = 2 if bench.is_tiny else TOGETHER
    many = [bench.request(name, f"together {number}") for number in range(count)]
    together_s = bench.clock.seconds(lambda: run(engine, many))
    yield _figure(f"{title}: engine, {count} at once", count / together_s, "images/s")
    gain = count / together_s * percentile(theirs, 50)
    yield _figure(f"{title}: gain of {count} at once over diffusers", gain, "times")


def plain(pipeline: Any, request: ImageRequest) -> Any:
    """The request through diffusers' pipeline: a Pillow image. Any: untyped there."""
    arguments: dict[str, Any] = {"negative_prompt": request.negative_prompt}
    if request.checkpoint.family == "flux":
        arguments = {"max_sequence_length": 512 if request.guidance_scale > 0 else 256}
    with torch.inference_mode():
        return pipeline(
            prompt=request.prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(request.seeds[0]),
            **arguments,
        ).images[0]


def _figure(name: str, value: float, unit: str, target: str = "") -> Figure:
    return Figure(section=SECTION, name=name, value=value, unit=unit, target=target)
