"""How long the operations on pictures take, in milliseconds, and their longest piece between two yields.

    python -m tests.bench.bench_operations [--rounds 5] [--json FILE]

Photographs of 512, 1024 and 2048 pixels. Loading of weights and a first run are not counted. The longest
piece is how long another request on the device may have to wait for its next step.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
from skimage import data

from gpu_runtime.images import resize
from gpu_runtime.operations.context import Context
from gpu_runtime.operations.registry import run_of
from tests.bench.reporting import Rounds, publish, read_arguments
from tests.gpu_runtime.operations.running import context_of, shipped

SIDES = (512, 1024, 2048)


def portrait(side: int) -> np.ndarray:
    return resize(data.astronaut(), width=side, height=side)


def marks(side: int) -> np.ndarray:
    """A disc of an eighth of the side."""
    mask = np.zeros((side, side), np.uint8)
    cv2.circle(mask, (side * 3 // 4, side // 4), side // 8, 255, -1)
    return mask


def background(side: int, **settings: Any) -> Context:
    assets = {"model": shipped("mediapipe-selfie-segmentation")}
    return context_of("background.remove", {"image": portrait(side)}, assets=assets, **settings)


CASES: Mapping[str, Callable[[int], Context]] = {
    "background.remove": background,
    "background.remove, matting": lambda side: background(side, alpha_matting=True),
    "mask.erase": lambda side: context_of("mask.erase", {"image": portrait(side), "mask": marks(side)}),
    "mask.paste, poisson": lambda side: context_of(
        "mask.paste",
        {"image": portrait(side)[:, ::-1].copy(), "original": portrait(side), "mask": marks(side)},
        blend="poisson",
    ),
    "canvas.expand": lambda side: context_of(
        "canvas.expand", {"image": portrait(side)}, left=side // 4, right=side // 4
    ),
}


def timed(context: Context) -> tuple[float, float]:
    """Milliseconds of all of it, and of the longest piece."""
    started = last = time.perf_counter()
    longest = 0.0
    for _ in run_of(context.operation)(context):
        now = time.perf_counter()
        last, longest = now, max(longest, now - last)
    ended = time.perf_counter()
    return (ended - started) * 1000, max(longest, ended - last) * 1000


def main() -> None:
    """Print a table and the JSON line."""
    options = read_arguments(__doc__ or "", rounds=5)
    figures = []
    for name, make in CASES.items():
        for side in SIDES:
            timed(make(side))
            whole, piece = (
                Rounds(f"{name}, {side} px", "ms"),
                Rounds(f"{name}, {side} px, longest piece", "ms"),
            )
            for _ in range(options.rounds):
                total, longest = timed(make(side))
                whole.values.append(total)
                piece.values.append(longest)
            figures += [whole, piece]
    publish("operations", figures, settings={"rounds": options.rounds}, details={}, target=options.json)


if __name__ == "__main__":
    main()
