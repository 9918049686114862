"""What a prompt costs that was seen lately, beside one that was not.

Guided requests of one step through the engine, with the text encoder of Stable Diffusion 1.x in its released
size (random weights, float32, CPU) and a small UNet. Each round asks for `--prompts` new prompts, then for
the same ones again. The figure is the runtime's own encode time for both prompts of a request, looking them
up included. Long prompts have 200 words, read in three chunks. Run from the repository's root:

    OMP_WAIT_POLICY=PASSIVE python -m tests.bench.bench_prompts [--rounds 5] [--prompts 8]
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

import torch
from transformers.utils import logging as transformers_logging

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.messages import CheckpointRef, ImageRequest, RequestDone
from tests.bench.reporting import Rounds, publish, read_arguments
from tests.bench.sized_models import save_sized
from tests.gpu_runtime.driving import image_request, run_all

TARGET = 20.0
LONG_WORDS = 200


def requests(checkpoint: CheckpointRef, name: str, prompts: list[str]) -> list[ImageRequest]:
    return [
        image_request(f"{name}-{number}", checkpoint, prompt=prompt, negative_prompt=f"no {prompt}", steps=1)
        for number, prompt in enumerate(prompts)
    ]


def encode_ms(engine: Engine, asked: list[ImageRequest]) -> float:
    """Median over the requests, run one after another."""
    took = []
    for request in asked:
        events = run_all(engine, [request]).events
        took += [event.timings.encode_s * 1e3 for event in events if isinstance(event, RequestDone)]
    assert len(took) == len(asked)
    return statistics.median(took)


def main() -> None:
    transformers_logging.disable_progress_bar()
    chosen = read_arguments(__doc__.split("\n")[0], rounds=5, prompts=8)
    figures = []
    with tempfile.TemporaryDirectory() as scratch:
        checkpoint = save_sized(Path(scratch) / "sized", width=32, seed=0, dtype=torch.float32)
        engine = Engine(EngineConfig(device="cpu"))
        run_all(engine, requests(checkpoint, "warm-up", ["a warm-up"]))
        for kind, words in (("short", 8), ("long", LONG_WORDS)):
            figures += measure(engine, checkpoint, kind, words, chosen.rounds, chosen.prompts)
        engine.close()
    settings = {"rounds": chosen.rounds, "prompts": chosen.prompts, "threads": torch.get_num_threads()}
    publish("prompts", figures, settings=settings, details={}, target=chosen.json)


def measure(
    engine: Engine, checkpoint: CheckpointRef, kind: str, words: int, rounds: int, prompts: int
) -> list[Rounds]:
    new = Rounds(f"{kind} prompt, new", "ms")
    seen = Rounds(f"{kind} prompt, seen lately", "ms")
    gain = Rounds(f"{kind} prompt, gain", "x", f">= {TARGET:g}")
    for turn in range(rounds):
        texts = [f"{turn} {number} " + " ".join(["cat"] * words) for number in range(prompts)]
        new.values.append(encode_ms(engine, requests(checkpoint, f"{kind}-{turn}-new", texts)))
        seen.values.append(encode_ms(engine, requests(checkpoint, f"{kind}-{turn}-seen", texts)))
        gain.values.append(new.values[-1] / seen.values[-1])
    return [new, seen, gain]


if __name__ == "__main__":
    main()
