"""Device, precision, attention kernel and memory layout, decided once per engine and nowhere else.

The policy, with its reasons:

- **dtype**: bfloat16 on CUDA since Ampere, float32 on older devices and on the CPU. float16 only where it is
  configured: T5 and SDXL's VAE overflow in it, and bfloat16 costs the same.
- **TF32** for what stays float32 (the VAE above all) where the networks are bfloat16 anyway: it keeps more
  digits than those do. Not where float32 was configured: who asks for it wants its digits.
- **cudnn.benchmark** off: it picks convolutions by timing them, so that two processes may compute one image
  with different kernels, and the `exact` tier promises the same bytes.
- **attention**: cuDNN's kernel first on Hopper, FlashAttention first elsewhere, then what takes any shape.
  The order is a setting of the process, which compiled code and threads see alike.
- **channels last** for networks of convolutions on CUDA, whose tensor cores want it. Not on the CPU, where
  weights are mapped files that would have to be copied.

- **CUDA graphs** unless they are switched off: a call of few rows takes longer to launch than to compute.
  Which calls are recorded is up to `execution/graphs.py`.

A plan holds for every call alike: nothing in it depends on what shares a batch.

Threads on the CPU: `cpu_threads` sets torch's intra-op threads for the whole process (torch has no narrower
setting). Whoever starts the process sets OMP_WAIT_POLICY=PASSIVE before torch is imported: the default spins
in every barrier, and beside a busy neighbour two spinning threads run 10 to 40 times slower.
"""

from __future__ import annotations

import platform
from dataclasses import dataclass

import torch
from torch.nn.attention import SDPBackend

from gpu_runtime.config import EngineConfig
from gpu_runtime.errors import UnsupportedCombination

AMPERE = (8, 0)
HOPPER = (9, 0)
"""Compute capabilities from which CUDA devices have bfloat16 and fp8 tensor cores."""

KERNEL_NAMES = {
    SDPBackend.CUDNN_ATTENTION: "cuDNN",
    SDPBackend.FLASH_ATTENTION: "FlashAttention",
    SDPBackend.EFFICIENT_ATTENTION: "memory-efficient",
    SDPBackend.MATH: "plain",
}

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePlan:
    """Where and in which precision everything runs."""

    device: torch.device
    device_name: str
    dtype: torch.dtype
    """Of the denoiser and the text encoder. Latents, samplers and the VAE are float32 always."""
    kernels: tuple[SDPBackend, ...]
    """Kernels of scaled_dot_product_attention in order of preference; the first that takes the shape runs."""
    is_tf32: bool = False
    """Whether products of float32 values may be rounded to TF32."""
    is_channels_last: bool = False
    """Whether weights of convolutions are kept in channels-last order."""
    has_fp8: bool = False
    """Whether the device multiplies fp8 numbers faster than the plan's dtype."""
    has_graphs: bool = False
    """Whether calls that repeat are recorded and replayed."""
    reason: str
    """Why, in one sentence."""

    @property
    def attention(self) -> str:
        """Names of the attention kernels in order of preference, for operators."""
        return ", ".join(KERNEL_NAMES[kernel] for kernel in self.kernels)

    @property
    def dtype_name(self) -> str:
        """ "float32", "bfloat16" or "float16"."""
        return str(self.dtype).removeprefix("torch.")


def choose_device(config: EngineConfig) -> DevicePlan:
    """Decide for this machine, and apply what is a setting of the whole process.

    Raises UnsupportedCombination when the configured device is not there or cannot run the dtype.
    """
    device, why_device = _device(config.device)
    dtype, why_dtype = _dtype(config.dtype, device)
    kernels, why_kernels = attention_kernels(device)
    has_graphs, why_graphs = _graphs(config.cuda_graphs, device)
    is_cuda = device.type == "cuda"
    layout = "channels-last convolutions" if is_cuda else "weights as they lie in their files"
    plan = DevicePlan(
        device=device,
        device_name=_device_name(device),
        dtype=dtype,
        kernels=kernels,
        is_tf32=is_cuda and dtype == torch.bfloat16,
        is_channels_last=is_cuda,
        has_fp8=is_cuda and torch.cuda.get_device_capability(device) >= HOPPER,
        has_graphs=has_graphs,
        reason=f"{why_device}; {why_dtype}; {why_kernels}; {layout}; {why_graphs}.",
    )
    _apply(plan, config)
    return plan


def attention_kernels(device: torch.device) -> tuple[tuple[SDPBackend, ...], str]:
    """Kernels in order of preference, and why. The last of them takes every shape and dtype."""
    fused = (SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION)
    if device.type == "cpu":
        return (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH), "torch's fused attention for CPUs"
    if torch.cuda.get_device_capability(device) >= HOPPER:
        reason = "cuDNN attention, which is written for Hopper, before FlashAttention"
        return (SDPBackend.CUDNN_ATTENTION, *fused, SDPBackend.MATH), reason
    return (*fused, SDPBackend.CUDNN_ATTENTION, SDPBackend.MATH), "FlashAttention, the fastest before Hopper"


def _graphs(wanted: str, device: torch.device) -> tuple[bool, str]:
    if device.type != "cuda":
        return False, "no CUDA graphs without CUDA"
    if wanted == "off":
        return False, "no CUDA graphs, as configured"
    return True, "CUDA graphs of calls that repeat, which take longer to launch than to compute"


def _apply(plan: DevicePlan, config: EngineConfig) -> None:
    """Settings that torch has for the whole process only."""
    if plan.device.type == "cpu":
        if config.cpu_threads:
            torch.set_num_threads(config.cpu_threads)
        return
    torch.backends.cuda.matmul.allow_tf32 = plan.is_tf32
    torch.backends.cudnn.allow_tf32 = plan.is_tf32
    torch.backends.cudnn.benchmark = False
    # What torch.nn.attention.sdpa_kernel does, for good: the order must also hold in threads that compile.
    torch._C._set_sdp_priority_order([kernel.value for kernel in plan.kernels])


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
        if device.type == "cuda" and torch.cuda.get_device_capability(device) >= AMPERE:
            return torch.bfloat16, "bfloat16 because it has float32's range at half the memory"
        if device.type == "cuda":
            return torch.float32, "float32 because devices before Ampere only emulate bfloat16"
        return torch.float32, "float32 because CPUs seldom gain from less"
    if wanted == "float16" and device.type == "cpu":
        raise UnsupportedCombination("float16 is not usable on the CPU: choose float32 or bfloat16")
    return DTYPES[wanted], f"{wanted} as configured"


def _device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return platform.processor() or platform.machine()
