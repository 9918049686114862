"""How long one sampler step of many images takes, together and one by one.

    python -m tests.bench.bench_stepping [--rounds 30] [--side 64] [--device cpu]

Each round steps fresh rows of one sampler through a schedule of 20 steps, without the denoiser's part: the
prediction is the same tensor each time. Medians of milliseconds a turn; the last line is JSON. `ratio` is how
many times longer the rows take one by one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence

import torch
from diffusers import EulerDiscreteScheduler
from torch import Tensor

from gpu_runtime.families.family import Conditioning, Row, TextEncoding
from gpu_runtime.flow_samplers import FlowSamplerFactory
from gpu_runtime.messages import Sampler
from gpu_runtime.samplers import SamplerFactory
from gpu_runtime.sampling.row_sampler import RowSampler
from gpu_runtime.stepping import advance

STEPS = 20
ROWS = (8, 32)
SAMPLERS = ("euler", "euler_a", "ddim", "dpmpp_2m", "flow_euler")


def rows_of(name: str, count: int, device: torch.device, side: int) -> list[Row]:
    """New rows of one sampler, with seeds of their own."""
    make: Callable[[int], RowSampler]
    if name == "flow_euler":
        config = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
        flow = FlowSamplerFactory(config, device, starts_even=True)
        make = lambda seed: flow.make(Sampler.EULER, steps=STEPS, seed=seed, image_tokens=1024)  # noqa: E731
    else:
        schedule = EulerDiscreteScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
        noise = SamplerFactory(schedule.config, device)
        make = lambda seed: noise.make(Sampler(name), steps=STEPS, seed=seed)  # noqa: E731
    conditioning = Conditioning(
        positive=TextEncoding(tokens=torch.zeros(1, 1, 1)), negative=None, guidance_scale=1.0
    )
    rows = []
    for seed in range(count):
        sampler = make(seed)
        latents = sampler.initial_latents((4, side, side))
        rows.append(Row(conditioning=conditioning, sampler=sampler, latents=latents))
    return rows


def one_by_one(rows: Sequence[Row], predictions: Sequence[Tensor]) -> list[Tensor | Exception]:
    """What `advance` is compared with."""
    return [row.sampler.advance(each, row.latents) for row, each in zip(rows, predictions, strict=True)]


def milliseconds_a_turn(
    way: Callable[[Sequence[Row], Sequence[Tensor]], list[Tensor | Exception]],
    rows: Sequence[Row],
    device: torch.device,
) -> float:
    """Median over the schedule, the device's work included."""
    predictions = [torch.zeros_like(row.latents) for row in rows]
    seconds = []
    for _ in range(STEPS):
        for row in rows:
            row.sampler.scale(row.latents)
        _wait(device)
        started = time.perf_counter()
        moved = way(rows, predictions)
        _wait(device)
        seconds.append(time.perf_counter() - started)
        for row, latents in zip(rows, moved, strict=True):
            assert isinstance(latents, Tensor)
            row.latents = latents
    return statistics.median(seconds) * 1000


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def main() -> None:
    """Print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--side", type=int, default=64, help="of the latents")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    device = torch.device(options.device)
    results = []
    for name in SAMPLERS:
        for count in ROWS:
            together, apart = (
                statistics.median(
                    milliseconds_a_turn(way, rows_of(name, count, device, options.side), device)
                    for _ in range(options.rounds)
                )
                for way in (advance, one_by_one)
            )
            result = {
                "sampler": name,
                "rows": count,
                "together_ms": round(together, 3),
                "one_by_one_ms": round(apart, 3),
                "ratio": round(apart / together, 2),
            }
            results.append(result)
            print(f"{name:12} {count:3} rows  {together:8.3f} ms  {apart:8.3f} ms  {apart / together:5.2f}x")
    print(json.dumps({"device": str(device), "side": options.side, "steps": STEPS, "results": results}))


if __name__ == "__main__":
    main()
