"""What sharing denoiser calls gains in each step-batched family.

Question: 8 concurrent single-image requests with different prompts and seeds through the engine, against the
same 8 through diffusers' own pipeline one after another. Images per second from the request to the PNG (the
engine) or the Pillow image (diffusers), so text encoding and decoding are included.

Tiny networks with random weights in float32, where the cost of a call is mostly that of starting its
operations: what large networks gain on a device is another matter. FLUX is measured twice, because at its
own 512 text tokens even a tiny transformer is busy with arithmetic, of which eight rows need eight times as
much; with `--short-tokens` it is in the regime of the others. Fixed prompts, seeds, size, steps and sampler;
loading and one warm-up round are excluded; both sides take turns in every round; prompts are new to both.
Run from the repository's root:

    OMP_WAIT_POLICY=PASSIVE python -m tests.bench.bench_families [--rounds 7] [--steps 10] [--side 64]
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline, EulerDiscreteScheduler

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.families import flux
from gpu_runtime.messages import CheckpointRef, ImageRequest, Sampler
from gpu_runtime.tiny.pipelines import make_tiny
from tests.bench.reporting import Rounds, publish, read_arguments

IMAGES = 8
TARGETS = {"sd15": 1.8, "sdxl": 2.5, "sd3": 1.8, "flux": 3.0}
"""Of the architecture: images per second over diffusers' own, in the same run."""

PREDICTS_NOISE = frozenset({"sd15", "sdxl"})


def main() -> None:
    options = read_arguments(str(__doc__), rounds=7, steps=10, side=64, threads=1, short_tokens=64)
    torch.set_num_threads(options.threads)
    figures = []
    with tempfile.TemporaryDirectory() as scratch:
        for family, target in TARGETS.items():
            folder = make_tiny(family, Path(scratch) / family)
            checkpoint = CheckpointRef(name=family, family=family, path=str(folder), digest=family)
            figures += measure(checkpoint, family, target, options)
        flux.DEV_TOKENS = options.short_tokens
        figures += measure(checkpoint, f"flux, {options.short_tokens} text tokens", target, options)
    settings = {name: getattr(options, name) for name in ("rounds", "steps", "side", "threads")}
    publish(
        "families",
        figures,
        settings=settings | {"images": IMAGES, "dtype": "float32", "sampler": "euler"},
        details={"torch": torch.__version__},
        target=options.json,
    )


def measure(checkpoint: CheckpointRef, title: str, target: float, options: Any) -> list[Rounds]:
    """Images per second of both, and their ratio in each round."""
    engine = Engine(EngineConfig(device="cpu", dtype="float32", cpu_threads=options.threads))
    pipeline = plain_pipeline(checkpoint)
    ours = Rounds(f"{title}: engine", "images/s")
    theirs = Rounds(f"{title}: diffusers", "images/s")
    gain = Rounds(f"{title}: gain", "times", f">= {target}")
    for number in range(options.rounds + 1):
        requests = requests_of(checkpoint, number, options)
        ours_s = timed(lambda requests=requests: together(engine, requests))
        theirs_s = timed(lambda requests=requests: one_after_another(pipeline, requests))
        if number:  # the first round loads and warms up
            ours.values.append(IMAGES / ours_s)
            theirs.values.append(IMAGES / theirs_s)
            gain.values.append(theirs_s / ours_s)
    engine.close()
    return [ours, theirs, gain]


def requests_of(checkpoint: CheckpointRef, number: int, options: Any) -> list[ImageRequest]:
    return [
        ImageRequest(
            request_id=f"{number}-{seed}",
            checkpoint=checkpoint,
            prompt=f"a red apple on table {number} {seed}",
            negative_prompt="blurry",
            width=options.side,
            height=options.side,
            output_width=options.side,
            output_height=options.side,
            steps=options.steps,
            guidance_scale=5.0,
            seeds=(seed,),
            sampler=Sampler.EULER,
            account=str(seed),
        )
        for seed in range(IMAGES)
    ]


def together(engine: Engine, requests: list[ImageRequest]) -> None:
    for request in requests:
        engine.submit(request)
    while engine.has_work():
        engine.step()


def one_after_another(pipeline: Any, requests: list[ImageRequest]) -> None:
    is_flux = requests[0].checkpoint.family == "flux"
    for request in requests:
        pipeline(
            prompt=request.prompt,
            width=request.width,
            height=request.height,
            num_inference_steps=request.steps,
            guidance_scale=request.guidance_scale,
            generator=torch.Generator("cpu").manual_seed(request.seeds[0]),
            **(
                {"max_sequence_length": flux.DEV_TOKENS}
                if is_flux
                else {"negative_prompt": request.negative_prompt}
            ),
        )


def plain_pipeline(checkpoint: CheckpointRef) -> Any:
    pipeline = DiffusionPipeline.from_pretrained(checkpoint.path, local_files_only=True)
    if checkpoint.family in PREDICTS_NOISE:
        pipeline.scheduler = EulerDiscreteScheduler.from_config(pipeline.scheduler.config)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def timed(call: Callable[[], None]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


if __name__ == "__main__":
    main()
