"""How many bytes the weights may take, by configuration and by what is free."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gpu_runtime.config import EngineConfig
from gpu_runtime.feature_cache.memory import FeatureMemory
from gpu_runtime.weights import assembly, device_memory
from gpu_runtime.weights.assembly import allowance_of
from gpu_runtime.weights.budget import CPU_MOST, CPU_SHARE, FIRST_GUESS, MIB, RESERVE_MARGIN, ActivationPeaks
from gpu_runtime.weights.device_memory import free_host_bytes

GIB = 2**30
CPU, CUDA = torch.device("cpu"), torch.device("cuda", 0)


@pytest.mark.parametrize(
    ("limit", "used", "stat", "expected"),
    [
        (None, None, None, 8 * GIB),
        ("max\n", "1\n", "", 8 * GIB),
        (f"{4 * GIB}\n", f"{GIB}\n", f"anon {GIB}\n", 3 * GIB),
        (f"{64 * GIB}\n", f"{GIB}\n", "", 8 * GIB),
        (f"{GIB}\n", f"{2 * GIB}\n", "", 0),
        (
            f"{4 * GIB}\n",
            f"{4 * GIB}\n",
            f"file {3 * GIB}\nactive_file {GIB}\ninactive_file {GIB}\n",
            2 * GIB,
        ),
        (f"{4 * GIB}\n", f"{GIB}\n", None, 3 * GIB),
    ],
    ids=[
        "no container",
        "no limit",
        "the container's",
        "the machine's",
        "above its limit",
        "full of files",
        "no statistics",
    ],
)
def test_free_memory_is_the_machines_or_the_containers(
    limit: str | None,
    used: str | None,
    stat: str | None,
    expected: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, text in (("CGROUP_LIMIT", limit), ("CGROUP_USED", used), ("CGROUP_STAT", stat)):
        file = tmp_path / name
        if text is not None:
            file.write_text(text)
        monkeypatch.setattr(device_memory, name, file)
    available = SimpleNamespace(available=8 * GIB)
    monkeypatch.setattr(device_memory.psutil, "virtual_memory", lambda: available)
    assert free_host_bytes() == expected


def test_configured_budget_holds_on_every_device() -> None:
    config = EngineConfig(weights_budget_mb=100)
    for device in (CPU, CUDA):
        allowance = allowance_of(
            config, device, ActivationPeaks(), spare=FeatureMemory(), clock=lambda: 0.0, free_host=GIB
        )()
        assert (allowance.target_bytes, allowance.most_bytes) == (100 * MIB, 100 * MIB)


def test_cpu_takes_a_share_of_what_was_free_at_the_start() -> None:
    ask = allowance_of(
        EngineConfig(),
        CPU,
        ActivationPeaks(),
        spare=FeatureMemory(),
        clock=lambda: 0.0,
        free_host=10 * GIB,
    )
    assert (ask().target_bytes, ask().most_bytes) == (CPU_SHARE * 10 * GIB, CPU_MOST * 10 * GIB)


def test_device_keeps_room_for_activations_and_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(assembly, "usable_device_bytes", lambda device: 80 * GIB)
    peaks = ActivationPeaks()
    config = EngineConfig(lora_budget_mb=1024)
    ask = allowance_of(config, CUDA, peaks, spare=FeatureMemory(), clock=lambda: 0.0, free_host=10 * GIB)
    assert ask().most_bytes == 80 * GIB
    assert ask().target_bytes == 80 * GIB * (1 - FIRST_GUESS) - GIB
    peaks.record("sdxl decoding", width=1024, height=1024, rows=4, size_bytes=8 * GIB, now=0.0)
    assert ask().target_bytes == 80 * GIB - RESERVE_MARGIN * 8 * GIB - GIB
    peaks.record("sdxl decoding", width=2048, height=2048, rows=4, size_bytes=80 * GIB, now=0.0)
    assert ask().target_bytes == 0
