"""How long an enlargement takes a megapixel, beside Pillow's Lanczos, and whether memory stays flat.

    python -m tests.bench.bench_upscale [--model NAME] [--device cpu] [--sides 512 1024] [--rounds 1]

Photographs of 512 and 1024 pixels a side, four times as large (2048 and 4096). Each run is a process of its
own, so that its peak is its own: what it holds beyond its start, less the canvas, is what tiles cost, and
should be the same for both sizes (the figure "flat"). Loading and a warm-up of one tile are not counted. On a
device, the peak of its memory is given too. `--json FILE` keeps the document.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from skimage import data

from gpu_runtime.images import resize
from gpu_runtime.operations.upscale import build
from gpu_runtime.postprocess.enlarging import NetworkRun, Tiling, enlarge
from gpu_runtime.utility.shipped import SHIPPED
from tests.bench.reporting import Rounds, publish

FACTOR = 4
SIDES = (512, 1024)
MIB = 2**20


def photograph(side: int) -> np.ndarray:
    """A real one, repeated, so that its pixels are as sharp as a camera made them."""
    one = data.astronaut()
    times = -(-side // one.shape[0])
    return np.ascontiguousarray(np.tile(one, (times, times, 1))[:side, :side])


class Peak:
    """The most memory that the process holds while it is watched."""

    def __init__(self) -> None:
        self.before = self.bytes = psutil.Process().memory_info().rss
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        process = psutil.Process()
        while not self._is_over.wait(0.005):
            self.bytes = max(self.bytes, process.memory_info().rss)

    def end(self) -> float:
        """MiB above the start."""
        self._is_over.set()
        self._thread.join()
        return (self.bytes - self.before) / MIB


def measured(name: str, side: int, device: str) -> dict[str, float]:
    """One run, in this process."""
    folder = next(shipped.folder for shipped in SHIPPED if shipped.name == name)
    network = build(folder, device)
    run = NetworkRun(network)
    size = side * FACTOR
    picture = photograph(side)
    if network.scale != FACTOR:
        raise SystemExit(f"{name} enlarges {network.scale} times: this bench wants {FACTOR} in one pass")
    for _ in enlarge(picture[:256, :256], (1024, 1024), by=run, tiling=Tiling()):
        pass
    if device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    peak, started = Peak(), time.perf_counter()
    last, longest = started, 0.0
    for _ in enlarge(picture, (size, size), by=run, tiling=Tiling()):
        now = time.perf_counter()
        last, longest = now, max(longest, now - last)
    seconds = time.perf_counter() - started
    held = peak.end()
    started = time.perf_counter()
    resize(picture, width=size, height=size)
    return {
        "seconds": seconds,
        "lanczos_seconds": time.perf_counter() - started,
        "beyond_canvas_mib": held - size * size * 3 / MIB,
        "device_mib": torch.cuda.max_memory_allocated() / MIB if device != "cpu" else 0.0,
        "longest_piece_ms": longest * 1000,
    }


def in_a_process(options: argparse.Namespace, side: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "tests.bench.bench_upscale", "--side", str(side)]
    command += ["--model", options.model, "--device", options.device]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(answer.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Print a table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="realesr-animevideov3")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sides", type=int, nargs="+", default=SIDES, help="of the photographs, pixels")
    parser.add_argument("--side", type=int, help="one run of this size, in this process")
    options = parser.parse_args()
    if options.side:
        print(json.dumps(measured(options.model, options.side, options.device)))
        return
    figures = []
    beyond = []
    for side in options.sides:
        runs = [in_a_process(options, side) for _ in range(options.rounds)]
        megapixels = (side * FACTOR) ** 2 / 1e6
        named = {
            f"{side} px: seconds a megapixel made": ("s", [run["seconds"] / megapixels for run in runs]),
            f"{side} px: times as long as Lanczos": (
                "times",
                [run["seconds"] / run["lanczos_seconds"] for run in runs],
            ),
            f"{side} px: memory beyond the canvas": (
                "MiB",
                [run["beyond_canvas_mib"] for run in runs],
            ),
            f"{side} px: memory of the device": ("MiB", [run["device_mib"] for run in runs]),
            f"{side} px: longest piece of work": ("ms", [run["longest_piece_ms"] for run in runs]),
        }
        figures += [Rounds(name, unit, values=values) for name, (unit, values) in named.items()]
        beyond.append([run["beyond_canvas_mib"] for run in runs])
    # What a picture's own size would add is left out of the canvas: sixteen times the source's bytes.
    flat = [last - first for first, last in zip(beyond[0], beyond[-1], strict=True)]
    name = f"flat: memory at {options.sides[-1]} px above that at {options.sides[0]}"
    figures.append(Rounds(name, "MiB", target="<= 32", values=flat))
    settings = {"model": options.model, "device": options.device, "rounds": options.rounds, "factor": FACTOR}
    publish("upscale", figures, settings=settings, details={"tile": Tiling().tile}, target=options.json)


if __name__ == "__main__":
    main()
