"""How long the operations on pictures take, in milliseconds, and their longest piece between two yields.

    python -m tests.bench.bench_operations [--rounds 5] [--json FILE]

Photographs of 512, 1024 and 2048 pixels. Loading of weights and a first run are not counted. The longest
piece is how long another request on the device may have to wait for its next step; its processor time, of all
cores together, is what a busy machine leaves as it is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import chain
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
    "mask.fill, blur": lambda side: context_of(
        "mask.fill", {"image": portrait(side), "mask": marks(side)}, fill="blur"
    ),
    "mask.prepare, grown and soft": lambda side: context_of(
        "mask.prepare", {"mask": marks(side)}, grow=side // 50, blur=side // 50
    ),
    "safety.check, blurred": lambda side: context_of(
        "safety.check",
        {"image": portrait(side)},
        assets={"model": shipped("open-nsfw")},
        threshold=0.0,
        replacement="blur",
    ),
    "canvas.fit, pad": lambda side: context_of(
        "canvas.fit", {"image": portrait(side)}, width=side, height=side // 2, mode="pad"
    ),
    "canvas.expand": lambda side: context_of(
        "canvas.expand", {"image": portrait(side)}, left=side // 4, right=side // 4
    ),
}


TARGETS = {", longest piece": "<= 150"}
"""What `operations.context.Run` promises."""


def timed(context: Context) -> dict[str, float]:
    """Milliseconds of all of it, and of its longest piece: as they pass, and of the processor's cores."""
    pieces = []
    before = (time.perf_counter(), time.process_time())
    for _ in chain(run_of(context.operation)(context), [1.0]):
        now = (time.perf_counter(), time.process_time())
        pieces.append([(end - start) * 1000 for start, end in zip(before, now, strict=True)])
        before = now
    passed, worked = zip(*pieces, strict=True)
    return {"": sum(passed), ", longest piece": max(passed), ", longest piece, processor": max(worked)}


def main() -> None:
    """Print a table and the JSON line."""
    options = read_arguments(__doc__ or "", rounds=5)
    figures = []
    for name, make in CASES.items():
        for side in SIDES:
            timed(make(side))
            runs = [timed(make(side)) for _ in range(options.rounds)]
            figures += [
                Rounds(f"{name}, {side} px{part}", "ms", TARGETS.get(part, ""), [run[part] for run in runs])
                for part in runs[0]
            ]
    publish("operations", figures, settings={"rounds": options.rounds}, details={}, target=options.json)


if __name__ == "__main__":
    main()
