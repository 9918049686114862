"""What changing the checkpoint costs, and whether it leaves anything behind.

Three questions:

1. Swap: two checkpoints of one architecture that share nothing, and room for one. From asking for the other
   until all of its networks are on the device, with it staged and with it unstaged (its files in the page
   cache), against `StableDiffusionPipeline.from_pretrained(...).to(device)` of the same folder in the same
   round. Networks as in Stable Diffusion 1.5, random weights, channels scaled by `--width` (320 is the
   released model). Loading for the first time is excluded on both sides. On the CPU both sides only map a
   file that already has the right dtype and read it during the first image; so both are also timed with every
   page read.
2. Graphs: how many a compiled denoiser adds over 20 swaps. Tiny networks, graphs captured and not compiled.
3. Soak: 50 swaps over 4 families with an image after each: live tensors, their bytes and the process's
   memory, before and after. Tiny networks on the CPU, three rounds through all checkpoints first.

Run from the repository's root:

    OMP_WAIT_POLICY=PASSIVE python -m tests.bench.bench_swap [--rounds 7] [--width 128] [--half 0]
"""

from __future__ import annotations

import gc
import tempfile
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import diffusers
import psutil
import torch
from diffusers import StableDiffusionPipeline
from diffusers.utils import logging as diffusers_logging
from torch._dynamo.utils import counters
from transformers.utils import logging as transformers_logging

from gpu_runtime.config import EngineConfig
from gpu_runtime.devices import choose_device
from gpu_runtime.engine import Engine
from gpu_runtime.execution import regions
from gpu_runtime.families.registry import FAMILIES
from gpu_runtime.messages import CheckpointRef, Sampler
from gpu_runtime.weights import assembly
from gpu_runtime.weights.budget import ActivationPeaks
from gpu_runtime.weights.residency import Residency
from tests.bench.reporting import Rounds, publish, read_arguments
from tests.bench.sized_models import save_sized
from tests.gpu_runtime.driving import image_request, run_all
from tests.gpu_runtime.tiny_models import save_checkpoint
from tests.gpu_runtime.weight_store import TinyStore, live_tensors, megabytes, size_of

T = TypeVar("T")

SWAPS = 50
GRAPH_SWAPS = 20
TARGET_RATIO = 10.0
TARGET_GROWTH = 2.0


def main() -> None:
    options = read_arguments(str(__doc__), rounds=7, width=128, half=0, threads=0)
    diffusers_logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    if options.threads:
        torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        figures, details = measure_swaps(Path(scratch), options)
        details["graphs"] = measure_graphs(Path(scratch))
        soaked, details["soak"] = measure_soak(Path(scratch))
    publish(
        "swap",
        figures + soaked,
        settings={name: getattr(options, name) for name in ("rounds", "width", "half", "threads")},
        details=details | {"torch": torch.__version__, "diffusers": diffusers.__version__},
        target=options.json,
    )


def measure_swaps(scratch: Path, options: Namespace) -> tuple[list[Rounds], dict[str, Any]]:
    """Seconds of a swap, ours and theirs, on the device that the engine would choose."""
    config = EngineConfig(dtype="bfloat16" if options.half else "float32")
    plan = choose_device(config)
    pair = [
        save_sized(scratch / f"sized-{seed}", width=options.width, seed=seed, dtype=plan.dtype)
        for seed in (1, 2)
    ]
    staged = Rounds("swap in place, staged", "ms")
    unstaged = Rounds("swap in place, files in the page cache", "ms")
    theirs = Rounds("from_pretrained and to(device)", "ms")
    staged_read = Rounds("swap in place, staged, pages read", "ms")
    theirs_read = Rounds("from_pretrained and to(device), pages read", "ms")
    ratio = Rounds("from_pretrained / staged swap", "x", f">= {TARGET_RATIO:g}")
    ratio_read = Rounds("the same, pages read", "x")
    size_bytes = size_of(pair[0])
    # The autoencoder is float32 always, so in half precision the files understate it.
    budget = megabytes(round(1.2 * size_bytes))
    weights = [
        open_weights(config, plan, weights_budget_mb=budget, staging_budget_mb=each)
        for each in (8 * budget, 0.001)
    ]
    for each in weights:
        for checkpoint in (*pair, *pair):
            each.get(checkpoint)
    for round_ in range(options.rounds):
        other = pair[round_ % 2]
        one, swap_ms = timed(weights[0].get, other)
        staged.values.append(swap_ms)
        staged_read.values.append(swap_ms + timed(read_all, *networks_of(one))[1])
        unstaged.values.append(timed(weights[1].get, other)[1])
        loaded, load_ms = timed(load_plainly, other, plan)
        theirs.values.append(load_ms)
        theirs_read.values.append(load_ms + timed(read_all, loaded.text_encoder, loaded.unet, loaded.vae)[1])
        del loaded
        gc.collect()
        ratio.values.append(theirs.values[-1] / staged.values[-1])
        ratio_read.values.append(theirs_read.values[-1] / staged_read.values[-1])
        assert weights[0].names() == (other.name,)
    return [staged, unstaged, theirs, ratio, staged_read, theirs_read, ratio_read], {
        "device": plan.device_name,
        "dtype": plan.dtype_name,
        "driver": torch.version.cuda,
        "checkpoint_mb": round(megabytes(size_bytes)),
    }


def open_weights(config: EngineConfig, plan: Any, **budgets: float) -> Residency:
    return assembly.open_residency(
        EngineConfig(dtype=config.dtype, **budgets),  # type: ignore[arg-type]
        plan,
        families=FAMILIES,
        peaks=ActivationPeaks(),
        wanted=frozenset,
    )


def load_plainly(checkpoint: CheckpointRef, plan: Any) -> Any:
    pipeline = StableDiffusionPipeline.from_pretrained(
        checkpoint.path, torch_dtype=plan.dtype, local_files_only=True, safety_checker=None
    )
    return pipeline.to(plan.device)


def networks_of(family: Any) -> tuple[Any, Any, Any]:
    parts = family._parts
    return parts.text_encoder, parts.unet, parts.vae


def read_all(*networks: Any) -> None:
    """Read one value of each page of the weights, as the first image would."""
    for network in networks:
        for tensor in network.parameters():
            tensor.flatten()[:: 4096 // tensor.itemsize].sum()


def synchronise() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def timed(call: Callable[..., T], *arguments: Any) -> tuple[T, float]:
    """What the call returns, and its milliseconds with the device's work included."""
    started = time.monotonic()
    result = call(*arguments)
    synchronise()
    return result, (time.monotonic() - started) * 1000


def measure_graphs(scratch: Path) -> dict[str, int]:
    """Graphs before and after the swaps."""
    regions.BACKEND = "eager"
    pair = [save_checkpoint(scratch / f"tiny-{seed}", seed=seed) for seed in (1, 2)]
    engine = Engine(
        EngineConfig(device="cpu", compile="whole", weights_budget_mb=megabytes(size_of(pair[0])))
    )
    for name, images in (("one", 1), ("three", 3), ("two", 2)):
        run_all(engine, [image_request(name, pair[0], seeds=tuple(range(images)), steps=2)])
    before = counters["stats"]["unique_graphs"]
    for index in range(GRAPH_SWAPS):
        run_all(engine, [image_request(f"r{index}", pair[(index + 1) % 2], seeds=(1, 2), steps=2)])
    engine.close()
    after = counters["stats"]["unique_graphs"]
    return {"before": before, "added": after - before, "swaps": GRAPH_SWAPS}


def measure_soak(scratch: Path) -> tuple[list[Rounds], dict[str, Any]]:
    """What is held before and after many swaps over all families."""
    store = TinyStore(scratch / "store")
    families = ("sd15", "sdxl", "sd3", "flux")
    checkpoints = [
        store.checkpoint(f"{family}-{seed}", family, seed=seed, base=0)
        for seed in (1, 2)
        for family in families
    ]
    most = max(size_of(checkpoint) for checkpoint in checkpoints)
    engine = Engine(EngineConfig(device="cpu", weights_budget_mb=megabytes(most), prompt_cache_entries=4))

    def swap(index: int) -> None:
        checkpoint = checkpoints[index % len(checkpoints)]
        request = image_request(
            f"r{index}", checkpoint, sampler=Sampler.EULER, steps=1, prompt=f"{index % 8}"
        )
        assert len(run_all(engine, [request]).images(request.request_id)) == 1

    for index in range(3 * len(checkpoints)):
        swap(index)
    before, memory_before = live_tensors(), resident_bytes()
    for index in range(SWAPS):
        swap(index)
    # Back to the checkpoint at which the first count was taken.
    for index in range(SWAPS, -(-SWAPS // len(checkpoints)) * len(checkpoints)):
        swap(index)
    after, memory_after = live_tensors(), resident_bytes()
    engine.close()
    growth = Rounds("growth of the process's memory over 50 swaps", "%", f"<= {TARGET_GROWTH:g}")
    tensors = Rounds("growth of live tensors over 50 swaps", "%", f"<= {TARGET_GROWTH:g}")
    growth.values.append(100 * (memory_after / memory_before - 1))
    tensors.values.append(100 * (after[0] / before[0] - 1))
    details = {
        "families": families,
        "checkpoints": len(checkpoints),
        "resident_mb": [round(megabytes(memory_before)), round(megabytes(memory_after))],
        "live_tensors": [before[0], after[0]],
        "live_tensor_bytes": [before[1], after[1]],
    }
    return [growth, tensors], details


def resident_bytes() -> int:
    gc.collect()
    return psutil.Process().memory_info().rss


if __name__ == "__main__":
    main()
