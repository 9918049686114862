"""Device, dtype and attention kernel, decided once per engine. Nothing else in the runtime chooses a dtype.

Threads on the CPU: `cpu_threads` sets torch's intra-op threads for the whole process (torch has no narrower
setting). Whoever starts the process sets OMP_WAIT_POLICY=PASSIVE before torch is imported: the default spins
in every barrier, and beside a busy neighbour two spinning threads run 10 to 40 times slower.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

import torch

from gpu_runtime.config import EngineConfig
from gpu_runtime.errors import UnsupportedCombination

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePlan:
    """Where and in which precision everything runs."""

    device: torch.device
    device_name: str
    dtype: torch.dtype
    """Of the denoiser and the text encoder. Latents, samplers and the VAE are float32 always."""
    attention: str
    """Attention kernel family, for operators."""
    reason: str
    """Why, in one sentence."""

    @property
    def dtype_name(self) -> str:
        """ "float32", "bfloat16" or "float16"."""
        return str(self.dtype).removeprefix("torch.")


def choose_device(config: EngineConfig) -> DevicePlan:
    """Decide for this machine and apply the CPU thread setting.

    Raises UnsupportedCombination when the configured device is not there or cannot run the dtype.
    """
    device, why_device = _device(config.device)
    dtype, why_dtype = _dtype(config.dtype, device)
    if device.type == "cpu" and config.cpu_threads:
        torch.set_num_threads(config.cpu_threads)
    attention = "torch scaled_dot_product_attention"
    return DevicePlan(
        device=device,
        device_name=_device_name(device),
        dtype=dtype,
        attention=attention,
        reason=f"{why_device}; {why_dtype}; {attention}, the only kernel that every family here supports.",
    )


def _device(wanted: str) -> tuple[torch.device, str]:
    if wanted == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda:0"), "cuda:0 because a CUDA device is present"
        threads = torch.get_num_threads()
        return torch.device("cpu"), f"the CPU ({threads} threads) because no CUDA device is present"
    device = torch.device(wanted)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UnsupportedCombination(
            f"device {wanted} was asked for, but torch sees {torch.cuda.device_count()} CUDA devices"
        )
    return device, f"{wanted} as configured"


def _dtype(wanted: str, device: torch.device) -> tuple[torch.dtype, str]:
    if wanted == "auto":
        if device.type == "cuda":
            return torch.bfloat16, "bfloat16 because it has float32's range at half the memory"
        return torch.float32, "float32 because CPUs seldom gain from less"
    if wanted == "float16" and device.type == "cpu":
        raise UnsupportedCombination("float16 is not usable on the CPU: choose float32 or bfloat16")
    return DTYPES[wanted], f"{wanted} as configured"


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
