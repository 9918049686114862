"""The GPU suite: see README.md beside this file.

python -m tests.bench.gpu [--seconds 540] [--json FILE] [--only SECTION ...]
python -m tests.bench.gpu --tiny --device cpu     the same code in seconds, to try it out
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import diffusers
import torch
import transformers

from gpu_runtime.config import EngineConfig
from tests.bench.gpu import images, load, roofs, shortcuts, swaps, turns
from tests.bench.gpu.bench import Bench
from tests.bench.gpu.checkpoints import Checkpoints
from tests.bench.gpu.figures import Figure, Report

Section = tuple[str, float, Callable[[], Iterator[Figure]]]
"""Name, seconds that it takes on an H100, and what measures it."""

DEFAULT_SECONDS = 540.0
"""A lent device runs one command for ten minutes."""


def main(arguments: Sequence[str] | None = None) -> Report:
    """Run the suite and print its table and, as the last line, one JSON document."""
    options = _options(arguments)
    diffusers.utils.logging.disable_progress_bar()
    diffusers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    report = Report(options.json, options.seconds)
    with tempfile.TemporaryDirectory() as scratch:
        checkpoints = Checkpoints(Path(scratch), is_tiny=options.tiny)
        config = EngineConfig(
            device=options.device, max_rows=16, compile=options.compile, cuda_graphs=options.cuda_graphs
        )
        bench = Bench.of(config, checkpoints, is_tiny=options.tiny)
        report.settings = {
            "device": bench.plan.device_name,
            "dtype": bench.plan.dtype_name,
            "reason": bench.plan.reason,
            "is_tiny": options.tiny,
            "compile": options.compile,
            "cuda_graphs": options.cuda_graphs,
        }
        print(bench.plan.device_name, bench.plan.reason)
        for name, needs_s, measure in sections(bench, Path(scratch)):
            if not options.only or any(name.startswith(wanted) for wanted in options.only):
                needs = 0.0 if options.tiny else needs_s
                report.section(name, needs, lambda measure=measure: list(measure()))
    print(report.document())
    return report


def sections(bench: Bench, scratch: Path) -> list[Section]:
    """All sections, those that matter most first: the time may not suffice for all.

    Models stay on the device from one to the next as far as there is room, so order is time.
    """
    return [
        ("roofs", 15, lambda: roofs.measure(bench)),
        _images(bench, "sdxl", 40),
        _images(bench, "sd15", 20),
        ("load sd15", 40, lambda: load.measure(bench, "sd15", 12.0)),
        ("sameness sd15", 10, lambda: load.measure_sameness(bench, "sd15")),
        _images(bench, "dev", 90),
        _turns(bench, "dev", 60),
        _images(bench, "schnell", 40),
        _images(bench, "sd35m", 50),
        _turns(bench, "sd35m", 30),
        _turns(bench, "sdxl", 25),
        ("loras sdxl", 20, lambda: swaps.measure_loras(bench, "sdxl", scratch)),
        _turns(bench, "sd15", 15),
        ("swaps sdxl", 40, lambda: swaps.measure_swaps(bench, "sdxl")),
        ("fast sd15", 15, lambda: shortcuts.measure_fast(bench, "sd15", reuse_threshold=0.08)),
        ("fast sd35m", 30, lambda: shortcuts.measure_fast(bench, "sd35m", reuse_threshold=0.08)),
        ("fp8 sd35m", 30, lambda: shortcuts.measure_fast(bench, "sd35m", reuse_threshold=0.0, fp8=True)),
        ("graphs sd15", 15, lambda: shortcuts.measure_graphs(bench, "sd15")),
        ("graphs sdxl", 20, lambda: shortcuts.measure_graphs(bench, "sdxl")),
        ("compiled sd35m", 60, lambda: shortcuts.measure_compiled(bench, "sd35m", 40.0)),
        ("compiled sd15", 90, lambda: shortcuts.measure_compiled(bench, "sd15", 75.0)),
    ]


def _images(bench: Bench, name: str, needs_s: float) -> Section:
    rounds_s = bench.seconds(needs_s / 4)
    return f"images {name}", needs_s, lambda: images.measure(bench, name, rounds_s)


def _turns(bench: Bench, name: str, needs_s: float) -> Section:
    return f"turns {name}", needs_s, lambda: turns.measure(bench, name)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true", help="tiny networks, a few seconds in all")
    parser.add_argument(
        "--compile", default="off", help="as in EngineConfig, for sections that do not choose"
    )
    parser.add_argument("--cuda-graphs", default="off", help="likewise")
    parser.add_argument("--seconds", type=float, default=DEFAULT_SECONDS, help="most that it may take")
    parser.add_argument(
        "--json", type=Path, help="also write the JSON document to this file, section by section"
    )
    parser.add_argument("--only", nargs="+", default=(), help="sections whose names begin like this")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
