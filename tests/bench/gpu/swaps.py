"""What changing weights costs, and whether it leaves anything behind."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from gpu_runtime.engine import Engine
from gpu_runtime.messages import LoraRef
from tests.bench.gpu.bench import Bench, loaded, run
from tests.bench.gpu.figures import Figure

SECTION = "swaps"

LEAK_SWAPS = 30

RANK = 16
LORAS = 4


def measure_swaps(bench: Bench, name: str) -> Iterator[Figure]:
    """Seconds from asking for the other of two checkpoints until it is there; then many swaps."""
    pair = [bench.checkpoints.get(name, number) for number in (0, 1)]
    size_mb = _size_mb(bench, name)
    with bench.engine(weights_budget_mb=1.2 * size_mb, staging_budget_mb=4 * size_mb) as engine:
        for checkpoint in (*pair, *pair):
            loaded(engine, checkpoint)
        times = []
        for number in range(4):
            checkpoint = pair[number % 2]
            times.append(bench.clock.seconds(lambda checkpoint=checkpoint: loaded(engine, checkpoint)))
        yield _figure(f"{name}: swap of {size_mb:.0f} MB, staged", min(times) * 1e3, "ms")
        yield _figure(f"{name}: of the copy's bandwidth", size_mb / 1e3 / min(times), "GB/s")
        before = _held(bench)
        swaps = 4 if bench.is_tiny else LEAK_SWAPS
        for number in range(swaps):
            loaded(engine, pair[number % 2])
        after = _held(bench)
        yield _figure(f"{name}: live tensors after {swaps} swaps", after[0] - before[0], "more", "0")
        yield _figure(f"{name}: device memory after {swaps} swaps", after[1] - before[1], "MB more", "0")


def measure_loras(bench: Bench, name: str, folder: Path) -> Iterator[Figure]:
    """Images with a LoRA each in one batch, against the same without."""
    engine = bench.shared
    files = _loras(bench, engine, name, folder)

    def together(tag: str, *, with_loras: bool) -> float:
        requests = []
        for number, file in enumerate(files):
            lora = LoraRef(name=file.stem, path=str(file), digest=file.stem, scale=1.0)
            requests.append(bench.request(name, f"{tag} {number}", loras=(lora,) if with_loras else ()))
        return bench.clock.seconds(lambda: run(engine, requests))

    together("warm", with_loras=False)
    plain_s = together("plain", with_loras=False)
    first_s = together("first", with_loras=True)
    again_s = together("again", with_loras=True)
    yield _figure(f"{name}: {LORAS} images with a LoRA each over without", again_s / plain_s, "times")
    yield _figure(f"{name}: reading {LORAS} LoRAs of rank {RANK}", (first_s - again_s) * 1e3, "ms")


def _loras(bench: Bench, engine: Engine, name: str, folder: Path) -> list[Path]:
    """LoRA files in PEFT's format for the attention of a model's denoiser."""
    parts = loaded(engine, bench.checkpoints.get(name))._parts  # type: ignore[attr-defined]  # its denoiser
    component = "unet" if hasattr(parts, "unet") else "transformer"
    layers = {
        path: layer
        for path, layer in getattr(parts, component).named_modules()
        if isinstance(layer, nn.Linear) and path.rpartition(".")[2] in ("to_q", "to_k", "to_v")
    }
    files = []
    for number in range(LORAS):
        generator = torch.Generator().manual_seed(number)
        tensors = {}
        for path, layer in layers.items():
            down = torch.randn(RANK, layer.in_features, generator=generator) * 0.01
            up = torch.randn(layer.out_features, RANK, generator=generator) * 0.01
            tensors[f"{component}.{path}.lora_A.weight"] = down
            tensors[f"{component}.{path}.lora_B.weight"] = up
        file = folder / f"{name}-lora-{number}.safetensors"
        save_file(tensors, str(file))
        files.append(file)
    return files


def _size_mb(bench: Bench, name: str) -> float:
    """Megabytes of a checkpoint on the device."""
    bench.shared.unload()
    loaded(bench.shared, bench.checkpoints.get(name))
    return bench.shared.info().weights_bytes / 2**20


def _held(bench: Bench) -> tuple[int, float]:
    """Live tensors, and megabytes that torch has allocated on the device."""
    gc.collect()
    bench.clock.wait()
    is_cuda = bench.plan.device.type == "cuda"
    allocated = torch.cuda.memory_allocated(bench.plan.device) if is_cuda else 0
    # By type: isinstance would touch every lazy attribute that the libraries have.
    tensors = sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())
    return tensors, allocated / 2**20


def _figure(name: str, value: float, unit: str, target: str = "") -> Figure:
    return Figure(section=SECTION, name=name, value=value, unit=unit, target=target)
