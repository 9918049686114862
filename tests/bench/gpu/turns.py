"""How long a denoiser call takes with more and more rows, and what share of the roof that is.

A turn is gather, forward and guidance of families as the engine calls them; samplers, the batcher and
decoding are not in it. b* is the fewest images at which at least 90 % of the best rate is reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from gpu_runtime.engine import Engine
from gpu_runtime.families.family import Family, Row
from gpu_runtime.messages import ImageRequest
from tests.bench.gpu.bench import Bench, loaded
from tests.bench.gpu.figures import Figure
from tests.bench.gpu.roofs import matmul_tflops

SECTION = "turns"

ROWS = (1, 2, 4, 8, 16)

GOOD_SHARE = 0.9
"""Of the best rate that b* must reach."""


def measure(bench: Bench, name: str, *, label: str = "", **settings: str) -> Iterator[Figure]:
    """Turns of one model at each size. `settings` of the engine; `label` says which they are."""
    roof = matmul_tflops(bench, bench.plan.dtype)
    with bench.engine(**settings) if settings else nullcontext(bench.shared) as engine:
        for side in bench.sides():
            title = f"{name} {side}{label}"
            request = bench.request(name, f"turns {side}", width=side, height=side)
            yield from _of_size(bench, engine, request, title, roof)


def rows_of(family: Family, request: ImageRequest, count: int) -> list[Row]:
    """Begun rows of one request with that many images."""
    many = replace(request, seeds=tuple(range(count)))
    conditioning = family.encode(many)
    return [family.begin(many, index, conditioning) for index in range(count)]


def turn(family: Family, rows: list[Row]) -> Tensor:
    """One call for these rows, as the engine makes it."""
    inputs = family.rows(rows)
    prediction = family.forward(inputs, slice(0, inputs.latents.shape[0]))
    return family.combine(prediction, inputs)


def _of_size(
    bench: Bench, engine: Engine, request: ImageRequest, title: str, roof: float
) -> Iterator[Figure]:
    family = loaded(engine, request.checkpoint)
    rates: dict[int, float] = {}
    with torch.inference_mode():
        flops = _flops(family, rows_of(family, request, 1))
        for count in ROWS:
            rows = rows_of(family, request, count)
            try:
                seconds = bench.clock.median_s(
                    lambda rows=rows: turn(family, rows), most=8, within_s=bench.seconds(1.0)
                )
            except torch.OutOfMemoryError:
                break
            yield Figure(section=SECTION, name=f"{title}: {count} images", value=seconds * 1e3, unit="ms")
            rates[count] = count / seconds
            if bench.is_tiny and count == 2:
                break
    best = max(rates.values())
    good = min(count for count, rate in rates.items() if rate >= GOOD_SHARE * best)
    yield Figure(section=SECTION, name=f"{title}: b*", value=good, unit="images")
    yield Figure(section=SECTION, name=f"{title}: best rate", value=best, unit="images/s")
    share = 100 * best * flops / 1e12 / roof
    yield Figure(section=SECTION, name=f"{title}: MFU at the best rate", value=share, unit="%")


def _flops(family: Family, rows: list[Row]) -> float:
    """Multiplications and additions of one turn: products, convolutions and attention."""
    with FlopCounterMode(display=False) as counter:
        turn(family, rows)
    return float(counter.get_total_flops())
