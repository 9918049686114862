"""Memory, load and temperature of a worker's device, as far as the machine tells.

Of an NVIDIA GPU through NVML, where the package `pynvml` (nvidia-ml-py) is installed; of the processor by
psutil. Runs on the heartbeat's thread: never touches torch, whose calls would wait for the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final

import psutil
from django.conf import settings

from apps.core.counters import Series, gauge, tally

USED: Final = gauge("darkroom_device_memory_used_bytes", "Memory of a device that is taken.", "worker")
SIZE: Final = gauge("darkroom_device_memory_size_bytes", "Memory of a device.", "worker")
LOAD: Final = gauge("darkroom_device_utilisation_ratio", "How busy a device is, 0 to 1.", "worker")
TEMPERATURE: Final = gauge("darkroom_device_temperature_celsius", "Temperature of a device.", "worker")
DEVICE_SERIES: Final = (USED, SIZE, LOAD, TEMPERATURE)
CUDA: Final = "cuda"


def note_device(worker: str, device: str) -> None:
    """Say how the device is; what is not known is not said."""
    figures = _of_gpu(device) if device.startswith(CUDA) else _of_processor()
    for series, value in figures.items():
        tally.note(series, value, worker)


def _of_processor() -> Mapping[Series, float]:
    memory = psutil.virtual_memory()
    return {
        USED: float(memory.total - memory.available),
        SIZE: float(memory.total),
        # Since the last call.
        LOAD: psutil.cpu_percent(interval=None) / 100,
    }


def _of_gpu(device: str) -> Mapping[Series, float]:
    if find_spec("pynvml") is None:
        return {}
    # Any: it has no type information, and most machines do not have it.
    nvml: Any = import_module("pynvml")
    try:
        nvml.nvmlInit()
        handle = _handle(nvml, int(device.partition(":")[2] or 0))
        memory = nvml.nvmlDeviceGetMemoryInfo(handle)
        return {
            USED: float(memory.used),
            SIZE: float(memory.total),
            LOAD: nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100,
            TEMPERATURE: float(nvml.nvmlDeviceGetTemperature(handle, nvml.NVML_TEMPERATURE_GPU)),
        }
    except nvml.NVMLError:
        # No driver, or a device that does not tell (MIG): its worker works all the same.
        return {}


def _handle(nvml: Any, index: int) -> Any:  # Any: of a package without type information
    """CUDA counts the devices that it may see, NVML counts all."""
    visible = settings.CUDA_VISIBLE_DEVICES
    name = visible[index] if index < len(visible) else str(index)
    if name.isdigit():
        return nvml.nvmlDeviceGetHandleByIndex(int(name))
    return nvml.nvmlDeviceGetHandleByUUID(name)
