"""Measures the engine beside plain diffusers, with one checkpoint.

Both make the same images from noise to PNG file with the same number of threads, in turn, so that whatever
else the machine does hits both. Three questions: one image; four images of one request; four requests at
once, which plain diffusers makes one after another.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from transformers.utils import logging as transformers_logging

from gpu_runtime.config import EngineConfig
from gpu_runtime.engine import Engine
from gpu_runtime.errors import RuntimeFault
from gpu_runtime.messages import CheckpointRef, ImageRequest, RequestFailed, Sampler

STARTER = Path(__file__).parents[1] / "starter"
PROMPTS = (
    "a 3d hamburger on a blue background",
    "a cartoon panda on a green background",
    "a 3d rocket",
    "a red apple",
)
DEFAULTS = {"steps": 20, "guidance_scale": 3.0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table. Seconds per image: the median of the rounds."""

    question: str
    images: int
    engine_s: float
    diffusers_s: float
    ratio: float
    """How many times as fast as diffusers; the median of the rounds' own ratios."""


class Contest:
    """The engine and the plain pipeline with the same checkpoint."""

    def __init__(self, folder: Path, device: str) -> None:
        """Raises RuntimeFault or OSError for a folder that holds no such checkpoint."""
        settings = folder / "darkroom.json"
        known = (
            json.loads(settings.read_text(encoding="utf-8")).get("defaults", {}) if settings.is_file() else {}
        )
        self.steps = int(known.get("steps", DEFAULTS["steps"]))
        self._guidance = float(known.get("guidance_scale", DEFAULTS["guidance_scale"]))
        self._checkpoint = CheckpointRef(
            name=folder.name, family="sd15", path=str(folder.resolve()), digest=folder.name
        )
        self._engine = Engine(EngineConfig(device=device))
        info = self._engine.info()
        self.where = f"{info.device_name} ({info.device}, {info.dtype}, {torch.get_num_threads()} threads)"
        # Any: untyped in diffusers.
        self._pipeline: Any = StableDiffusionPipeline.from_pretrained(
            str(folder),
            safety_checker=None,
            local_files_only=True,
            dtype=getattr(torch, info.dtype.removeprefix("torch.")),
        ).to(info.device)
        self._pipeline.scheduler = DDIMScheduler.from_config(self._pipeline.scheduler.config)
        self._pipeline.set_progress_bar_config(disable=True)
        factor = 2 ** (len(self._pipeline.vae.config.block_out_channels) - 1)
        self.side_px = int(self._pipeline.unet.config.sample_size) * factor

    def close(self) -> None:
        """Stop the engine's threads."""
        self._engine.close()

    def questions(self) -> list[tuple[str, int, Callable[[], None], Callable[[], None]]]:
        """Name, images, and how the engine and diffusers answer."""
        return [
            ("1 image", 1, lambda: self._ask(1, 1), lambda: self._plain(1, 1)),
            ("4 images of one request", 4, lambda: self._ask(1, 4), lambda: self._plain(1, 4)),
            ("4 requests at once", 4, lambda: self._ask(4, 1), lambda: self._plain(4, 1)),
        ]

    def _ask(self, requests: int, images: int) -> None:
        for number in range(requests):
            self._engine.submit(self._request(number, images))
        while self._engine.has_work():
            for event in self._engine.step():
                if isinstance(event, RequestFailed):
                    raise event.fault

    def _request(self, number: int, images: int) -> ImageRequest:
        return ImageRequest(
            request_id=str(number),
            checkpoint=self._checkpoint,
            prompt=PROMPTS[number],
            negative_prompt="",
            width=self.side_px,
            height=self.side_px,
            output_width=self.side_px,
            output_height=self.side_px,
            steps=self.steps,
            guidance_scale=self._guidance,
            seeds=tuple(range(number, number + images)),
            sampler=Sampler.DDIM,
            account=str(number),
        )

    def _plain(self, requests: int, images: int) -> None:
        for number in range(requests):
            seeds = [torch.Generator("cpu").manual_seed(number + index) for index in range(images)]
            made = self._pipeline(
                PROMPTS[number],
                num_inference_steps=self.steps,
                guidance_scale=self._guidance,
                num_images_per_prompt=images,
                generator=seeds,
            ).images
            for image in made:
                image.save(io.BytesIO(), format="PNG")


def compare(contest: Contest, *, rounds: int, report: Callable[[str], None]) -> list[Row]:
    """Answer every question `rounds` times on both sides; `report` is told what goes on."""
    rows = []
    for question, images, engine, diffusers in contest.questions():
        report(f"{question}: warming up")
        engine()
        diffusers()
        ours, theirs = [], []
        for number in range(rounds):
            report(f"{question}: round {number + 1} of {rounds}")
            ours.append(_seconds(engine) / images)
            theirs.append(_seconds(diffusers) / images)
        rows.append(
            Row(
                question=question,
                images=images,
                engine_s=statistics.median(ours),
                diffusers_s=statistics.median(theirs),
                ratio=statistics.median(b / a for a, b in zip(ours, theirs, strict=True)),
            )
        )
    return rows


def _seconds(call: Callable[[], None]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def run(arguments: list[str]) -> int:
    """Run the command; returns the exit status."""
    options = argparse.ArgumentParser(prog="python -m gpu_runtime.speed", description=__doc__.split("\n")[0])
    options.add_argument("--checkpoint", type=Path, default=STARTER)
    options.add_argument("--rounds", type=int, default=3)
    options.add_argument("--device", default="auto")
    options.add_argument("--json", type=Path, help="also write the figures there")
    chosen = options.parse_args(arguments)
    transformers_logging.disable_progress_bar()
    diffusers_logging.disable_progress_bar()
    diffusers_logging.set_verbosity_error()
    try:
        contest = Contest(chosen.checkpoint, chosen.device)
        with torch.inference_mode():
            rows = compare(contest, rounds=max(1, chosen.rounds), report=_progress)
    # ValueError: diffusers' own for folders that are another pipeline's or none at all.
    except (RuntimeFault, OSError, ValueError) as error:
        sys.stderr.write(f"{chosen.checkpoint} cannot be measured: {error}\n")
        return 1
    contest.close()
    _progress("")
    sys.stdout.write(_table(rows, contest, chosen.checkpoint))
    if chosen.json:
        figures = {"where": contest.where, "rounds": chosen.rounds, "rows": [asdict(row) for row in rows]}
        chosen.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


def _progress(text: str) -> None:
    """One live line on a terminal, nothing elsewhere."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[2K  {text}" if text else "\r\x1b[2K")
        sys.stderr.flush()


def _table(rows: list[Row], contest: Contest, folder: Path) -> str:
    lines = [
        f"{folder.name}, {contest.side_px} px, {contest.steps} steps, on {contest.where}",
        f"{'seconds per image':<26}{'Darkroom':>10}{'diffusers':>11}{'ratio':>8}",
        *(f"{r.question:<26}{r.engine_s:>10.2f}{r.diffusers_s:>11.2f}{r.ratio:>7.2f}x" for r in rows),
    ]
    return "".join(f"  {line}\n" for line in lines)
