"""What the machine tells of a worker's device: of a GPU through NVML, else of the processor."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from apps.core.counters import tally
from apps.generation import device_figures
from apps.generation.device_figures import LOAD, SIZE, TEMPERATURE, USED, note_device


class NvmlError(Exception):
    """Stands in for NVML's."""


class FakeNvml:
    """The part of pynvml that is used, of a machine with two GPUs."""

    NVMLError = NvmlError
    NVML_TEMPERATURE_GPU = 0

    def __init__(self, *, has_driver: bool = True) -> None:
        self.has_driver = has_driver
        self.asked: list[object] = []

    def nvmlInit(self) -> None:  # noqa: N802  # their names
        if not self.has_driver:
            raise NvmlError("driver not loaded")

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        self.asked.append(index)
        return index

    def nvmlDeviceGetHandleByUUID(self, name: str) -> str:  # noqa: N802
        self.asked.append(name)
        return name

    def nvmlDeviceGetMemoryInfo(self, handle: object) -> Any:  # noqa: N802
        return SimpleNamespace(used=7, total=80)

    def nvmlDeviceGetUtilizationRates(self, handle: object) -> Any:  # noqa: N802
        return SimpleNamespace(gpu=25)

    def nvmlDeviceGetTemperature(self, handle: object, sensor: int) -> int:  # noqa: N802
        return 61


def noted(device: str) -> dict[str, float]:
    """Values by series, without the worker that they are of."""
    tally.clear()
    note_device("box", device)
    present = tally.take().present
    tally.clear()
    assert {labels for _, labels in present} <= {("box",)}
    return {name: value for (name, _), value in present.items()}


def with_nvml(monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml | None) -> None:
    monkeypatch.setattr(device_figures, "find_spec", lambda name: nvml)
    monkeypatch.setattr(device_figures, "import_module", lambda name: nvml)


@pytest.mark.parametrize(
    ("device", "visible", "asked"),
    [
        ("cuda:1", [], 1),
        ("cuda", [], 0),
        ("cuda:0", ["1"], 1),
        ("cuda:1", ["0", "GPU-7d0c"], "GPU-7d0c"),
    ],
)
def test_a_gpu_is_found_as_cuda_counts(
    monkeypatch: pytest.MonkeyPatch, settings: Any, device: str, visible: list[str], asked: object
) -> None:
    nvml = FakeNvml()
    with_nvml(monkeypatch, nvml)
    settings.CUDA_VISIBLE_DEVICES = visible
    assert noted(device) == {USED.name: 7, SIZE.name: 80, LOAD.name: 0.25, TEMPERATURE.name: 61}
    assert nvml.asked == [asked]


@pytest.mark.parametrize("nvml", [None, FakeNvml(has_driver=False)], ids=["no package", "no driver"])
def test_what_is_not_known_is_not_said(monkeypatch: pytest.MonkeyPatch, nvml: FakeNvml | None) -> None:
    with_nvml(monkeypatch, nvml)
    assert noted("cuda:0") == {}


def test_a_processor_has_its_machines_memory() -> None:
    found = noted("cpu")
    assert found.keys() == {USED.name, SIZE.name, LOAD.name}
    assert 0 < found[USED.name] < found[SIZE.name] and 0 <= found[LOAD.name] <= 1
