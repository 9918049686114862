"""What the engine costs on top of the network, and what sharing steps gains.

Two questions, both in float32 on the device that `--device` names:

1. Overhead: how much longer is a turn of the engine than the bare denoiser call in it, for 1, 2, 4 and 8
   guided images? Measured in CPU time of the process, so that neighbours on the machine do not count.
2. Gain: 8 concurrent single-image requests through the engine against the same 8 through diffusers'
   StableDiffusionPipeline one after another: images per second, decoding and PNG included.

Fixed prompts, seeds, size, steps and sampler; loading and one warm-up round are excluded; medians and p90
over rounds. Prints a table and, as the last line, one JSON document. Run from the repository's root:

    OMP_WAIT_POLICY=PASSIVE python -m tests.bench.bench_engine [--checkpoint FOLDER] [--rounds 5] [--steps 10]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline
from torch import Tensor

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.families.family import ForwardInputs
from gpu_runtime.families.sd15 import StableDiffusion15
from gpu_runtime.messages import CheckpointRef, ImageRequest, Sampler
from gpu_runtime.weights.source import WeightsSource
from tests.gpu_runtime.tiny_models import save_checkpoint

STARTER = Path("gpu_runtime/starter")


class TimedFamily(StableDiffusion15):
    """Counts the time spent in the denoiser itself."""

    forward_s = 0.0

    def forward(self, inputs: ForwardInputs, part: slice) -> Tensor:
        started = time.process_time()
        predicted = super().forward(inputs, part)
        TimedFamily.forward_s += time.process_time() - started
        return predicted


def load_timed(checkpoint: CheckpointRef, source: WeightsSource) -> TimedFamily:
    return TimedFamily(source)


def request(name: str, checkpoint: CheckpointRef, *, side: int, steps: int, seed: int) -> ImageRequest:
    return ImageRequest(
        request_id=name,
        checkpoint=checkpoint,
        prompt="a red apple",
        negative_prompt="",
        width=side,
        height=side,
        output_width=side,
        output_height=side,
        steps=steps,
        guidance_scale=5.0,
        seeds=(seed,),
        sampler=Sampler.EULER,
        account=name,
    )


def run(engine: Engine, requests: list[ImageRequest]) -> float:
    """Wall seconds until all requests are done."""
    started = time.monotonic()
    for each in requests:
        engine.submit(each)
    while engine.has_work():
        engine.step()
    return time.monotonic() - started


def measure_overhead(
    checkpoint: CheckpointRef, config: EngineConfig, *, images: int, side: int, steps: int, rounds: int
) -> dict[str, float]:
    """CPU milliseconds of a turn and of the call in it, and the engine's share in percent, over rounds."""
    engine = Engine(config, families={"sd15": load_timed})
    requests = [request(f"r{i}", checkpoint, side=side, steps=steps, seed=i) for i in range(images)]
    run(engine, requests)
    turns, calls = [], []
    for _ in range(rounds):
        for each in requests:
            engine.submit(each)
        engine.step()  # begins the rows; the steps after it are the steady state
        TimedFamily.forward_s = 0.0
        started = time.process_time()
        for _ in range(steps - 2):
            engine.step()
        turns.append((time.process_time() - started) / (steps - 2) * 1e3)
        calls.append(TimedFamily.forward_s / (steps - 2) * 1e3)
        while engine.has_work():
            engine.step()
    engine.close()
    shares = [(turn - call) / call * 100 for turn, call in zip(turns, calls, strict=True)]
    return {
        "images": images,
        "turn_ms": statistics.median(turns),
        "call_ms": statistics.median(calls),
        "overhead_percent": statistics.median(shares),
        "overhead_percent_p90": p90(shares),
    }


def measure_gain(
    checkpoint: CheckpointRef, config: EngineConfig, *, images: int, side: int, steps: int, rounds: int
) -> dict[str, float]:
    """Images per second of both, measured in turn so that a busy neighbour hits both."""
    engine = Engine(config)
    pipeline = plain_pipeline(checkpoint, engine.info().device)
    requests = [request(f"r{i}", checkpoint, side=side, steps=steps, seed=i) for i in range(images)]

    def one_after_another() -> None:
        for each in requests:
            pipeline(
                each.prompt,
                negative_prompt=each.negative_prompt,
                width=side,
                height=side,
                num_inference_steps=steps,
                guidance_scale=each.guidance_scale,
                generator=torch.Generator("cpu").manual_seed(each.seeds[0]),
            )

    run(engine, requests)
    timed(one_after_another)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(run(engine, requests))
        theirs.append(timed(one_after_another))
    engine.close()
    ratios = [b / a for a, b in zip(ours, theirs, strict=True)]
    return {
        "images": images,
        "engine_images_per_s": images / statistics.median(ours),
        "diffusers_images_per_s": images / statistics.median(theirs),
        "ratio": statistics.median(ratios),
        "ratio_p10": -p90([-ratio for ratio in ratios]),
    }


def plain_pipeline(checkpoint: CheckpointRef, device: str) -> Any:
    pipeline = StableDiffusionPipeline.from_pretrained(
        checkpoint.path, safety_checker=None, local_files_only=True, torch_dtype=torch.float32
    )
    pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def timed(call: Callable[[], None]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def p90(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, round(0.9 * (len(values) - 1)))]


def commit() -> str:
    found = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else "none"


def main() -> None:
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument(
        "--checkpoint", type=Path, default=None, help="default: the starter model, else a tiny one"
    )
    options.add_argument("--device", default="auto")
    options.add_argument("--side", type=int, default=128)
    options.add_argument("--steps", type=int, default=10)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--threads", type=int, default=0)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = chosen.checkpoint or (STARTER if (STARTER / "model_index.json").is_file() else None)
        if folder is None:
            checkpoint = save_checkpoint(Path(scratch) / "tiny")
        else:
            checkpoint = CheckpointRef(
                name=folder.name, family="sd15", path=str(folder.resolve()), digest=folder.name
            )
        report(checkpoint, chosen)


def report(checkpoint: CheckpointRef, chosen: argparse.Namespace) -> None:
    config = EngineConfig(device=chosen.device, dtype="float32", cpu_threads=chosen.threads)
    shape = {"side": chosen.side, "steps": chosen.steps, "rounds": chosen.rounds}
    print("images   turn ms   call ms   overhead %   p90")
    overhead = []
    for images in (1, 2, 4, 8):
        row = measure_overhead(checkpoint, config, images=images, **shape)
        overhead.append(row)
        print(
            f"{images:6}  {row['turn_ms']:8.2f}  {row['call_ms']:8.2f}"
            f"  {row['overhead_percent']:11.1f}  {row['overhead_percent_p90']:4.1f}"
        )
    gain = measure_gain(checkpoint, config, images=8, **shape)
    print(
        f"8 concurrent: {gain['engine_images_per_s']:.2f} images/s; diffusers one after another: "
        f"{gain['diffusers_images_per_s']:.2f}; ratio {gain['ratio']:.2f} (p10 {gain['ratio_p10']:.2f})"
    )
    engine = Engine(config)
    info = engine.info()
    engine.close()
    document = {
        "benchmark": "engine",
        "overhead": overhead,
        "gain": gain,
        "checkpoint": checkpoint.name,
        **shape,
        "device": info.device_name,
        "dtype": info.dtype,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "driver": torch.version.cuda,
        "commit": commit(),
    }
    print(json.dumps(document))


if __name__ == "__main__":
    main()
