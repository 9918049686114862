"""What the device can do at best: matrix products, copies, attention kernels."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from gpu_runtime.devices import KERNEL_NAMES
from tests.bench.gpu.bench import Bench
from tests.bench.gpu.figures import Figure

SECTION = "roofs"

ATTENTION_SHAPES = {
    "SD 1.5 at 512": (2, 8, 4096, 40),
    "SDXL at 1024": (2, 10, 4096, 64),
    "SD 3.5 medium at 1024": (2, 24, 4429, 64),
    "FLUX at 1024": (1, 24, 4608, 128),
}
"""Rows, heads, tokens and width of a head of each model's largest self-attention."""

FP8_MOST = 448.0
"""Largest number of float8_e4m3fn."""


def measure(bench: Bench) -> Iterator[Figure]:
    """Products of random numbers: zeros would run faster than any network does."""
    yield from _products(bench)
    yield from _copies(bench)
    yield from _attention(bench)


def matmul_tflops(bench: Bench, dtype: torch.dtype) -> float:
    """TFLOP/s of a large square product."""
    side = 256 if bench.is_tiny else 8192
    a, b = (torch.randn(side, side, device=bench.plan.device, dtype=dtype) for _ in range(2))
    return _rate(bench, lambda: a @ b, side)


def _products(bench: Bench) -> Iterator[Figure]:
    yield _tflops("bfloat16 product", matmul_tflops(bench, torch.bfloat16))
    yield _tflops("float32 product, TF32 as the plan has it", matmul_tflops(bench, torch.float32))
    if not (bench.plan.has_fp8 or bench.is_tiny):
        return
    side = 64 if bench.is_tiny else 8192
    a, b = (torch.randn(side, side, device=bench.plan.device) for _ in range(2))
    for name, dims in (("a scale for each row", (1,)), ("one scale", (0, 1))):
        (qa, sa), (qb, sb) = _quantised(a, dims), _quantised(b, dims)

        def product(qa: Tensor = qa, qb: Tensor = qb, sa: Tensor = sa, sb: Tensor = sb) -> Tensor:
            return torch._scaled_mm(qa, qb.t(), scale_a=sa, scale_b=sb.t(), out_dtype=torch.bfloat16)

        yield _tflops(f"fp8 product, {name}", _rate(bench, product, side))


def _quantised(values: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    scale = values.abs().amax(dims, keepdim=True) / FP8_MOST
    return (values / scale).to(torch.float8_e4m3fn), scale


def _rate(bench: Bench, call: Callable[[], object], side: int) -> float:
    return 2 * side**3 / bench.clock.median_s(call, most=20, within_s=bench.seconds(1.0)) / 1e12


def _tflops(name: str, value: float) -> Figure:
    return Figure(section=SECTION, name=name, value=value, unit="TFLOP/s")


def _copies(bench: Bench) -> Iterator[Figure]:
    size = (1 << 20) if bench.is_tiny else (2 << 30)
    device = bench.plan.device
    host = torch.empty(size, dtype=torch.uint8, pin_memory=device.type == "cuda")
    there, other = (torch.empty(size, dtype=torch.uint8, device=device) for _ in range(2))
    for name, call, moved in (
        ("copy from page-locked host memory", lambda: there.copy_(host, non_blocking=True), size),
        ("copy on the device, read and written", lambda: other.copy_(there), 2 * size),
    ):
        seconds = bench.clock.median_s(call, most=10, within_s=bench.seconds(2.0))
        yield Figure(section=SECTION, name=name, value=moved / seconds / 1e9, unit="GB/s")


def _attention(bench: Bench) -> Iterator[Figure]:
    """Each kernel that takes the shape, in milliseconds: the policy's order should follow these."""
    for name, shape in ATTENTION_SHAPES.items():
        sizes = (1, 2, 64, shape[-1]) if bench.is_tiny else shape
        q, k, v = (torch.randn(sizes, device=bench.plan.device, dtype=bench.plan.dtype) for _ in range(3))
        for kernel in bench.plan.kernels:
            seconds = _attention_s(bench, kernel, q, k, v)
            if seconds is not None:
                title = f"attention of {name}: {KERNEL_NAMES[kernel]}"
                yield Figure(section=SECTION, name=title, value=seconds * 1e3, unit="ms")


def _attention_s(bench: Bench, kernel: SDPBackend, q: Tensor, k: Tensor, v: Tensor) -> float | None:
    """None where the kernel does not take the shape."""

    def call() -> Tensor:
        with sdpa_kernel(kernel):
            return scaled_dot_product_attention(q, k, v)

    try:
        return bench.clock.median_s(call, most=10, within_s=bench.seconds(0.3))
    except RuntimeError:
        return None
