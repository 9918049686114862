"""The one place that decides device and dtype, and the one that reads torch's errors."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.nn.attention import SDPBackend

from gpu_runtime.config import EngineConfig
from gpu_runtime.device_faults import as_fault, call_in_halves
from gpu_runtime.devices import choose_device
from gpu_runtime.errors import DeviceLost, OutOfMemory, RuntimeFault, UnsupportedCombination


def test_cpu_runs_float32_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    plan = choose_device(EngineConfig())
    assert (plan.device.type, plan.dtype_name) == ("cpu", "float32")
    assert "because no CUDA device is present" in plan.reason
    assert "no CUDA graphs without CUDA" in plan.reason
    assert not plan.has_graphs
    assert plan.reason.endswith(".")


@pytest.mark.parametrize(
    ("capability", "dtype", "first", "has_fp8"),
    [
        ((7, 5), "float32", SDPBackend.FLASH_ATTENTION, False),
        ((8, 6), "bfloat16", SDPBackend.FLASH_ATTENTION, False),
        ((9, 0), "bfloat16", SDPBackend.CUDNN_ATTENTION, True),
    ],
)
def test_cuda_policy_follows_the_capability(
    monkeypatch: pytest.MonkeyPatch,
    capability: tuple[int, int],
    dtype: str,
    first: SDPBackend,
    has_fp8: bool,
) -> None:
    pretend_cuda(monkeypatch, capability)
    plan = choose_device(EngineConfig())
    assert (plan.dtype_name, plan.kernels[0], plan.has_fp8) == (dtype, first, has_fp8)
    assert plan.kernels[-1] is SDPBackend.MATH
    assert plan.is_channels_last
    assert plan.is_tf32 == torch.backends.cuda.matmul.allow_tf32 == (dtype == "bfloat16")
    assert not torch.backends.cudnn.benchmark
    assert torch._C._get_sdp_priority_order()[0] == int(first)
    assert dtype in plan.reason
    assert plan.attention.startswith("cuDNN" if has_fp8 else "FlashAttention")


def test_graphs_are_made_on_cuda_unless_they_are_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cuda(monkeypatch, (9, 0))
    plan, without = choose_device(EngineConfig()), choose_device(EngineConfig(cuda_graphs="off"))
    assert (plan.has_graphs, without.has_graphs) == (True, False)
    assert "CUDA graphs of calls that repeat" in plan.reason
    assert "no CUDA graphs, as configured" in without.reason


def test_float32_that_was_asked_for_keeps_its_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_cuda(monkeypatch, (9, 0))
    assert not choose_device(EngineConfig(dtype="float32")).is_tf32
    assert not torch.backends.cuda.matmul.allow_tf32


@pytest.fixture(autouse=True)
def settings_of_the_process() -> Iterator[None]:
    """Undoes what a plan sets for good."""
    order = torch._C._get_sdp_priority_order()
    tf32 = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    yield
    torch._C._set_sdp_priority_order(order)
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = tf32


def pretend_cuda(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    """One CUDA device as far as decisions go; what they set is undone afterwards."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "pretended")


def test_cpu_threads_are_honoured() -> None:
    before = torch.get_num_threads()
    choose_device(EngineConfig(device="cpu", cpu_threads=2))
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def test_absent_cuda_device_is_refused_clearly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UnsupportedCombination, match="cuda:1 was asked for, but torch sees 1 CUDA devices"):
        choose_device(EngineConfig(device="cuda:1"))


def test_float16_on_the_cpu_is_refused() -> None:
    with pytest.raises(UnsupportedCombination, match="float16 is not usable on the CPU"):
        choose_device(EngineConfig(device="cpu", dtype="float16"))


def test_lack_of_memory_is_told_from_other_errors() -> None:
    assert isinstance(as_fault(torch.OutOfMemoryError("x"), "y"), OutOfMemory)
    cpu = RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes")
    assert isinstance(as_fault(cpu, "y"), OutOfMemory)
    assert type(as_fault(ValueError("x"), "thinking")) is RuntimeFault
    assert str(as_fault(ValueError("x"), "thinking")) == "ValueError while thinking: x"


def test_sticky_error_is_a_lost_device() -> None:
    with pytest.raises(DeviceLost):
        as_fault(RuntimeError("CUDA error: device-side assert triggered"), "denoising")


@pytest.mark.parametrize(("capacity", "sizes"), [(8, [5]), (3, [2, 3]), (2, [2, 1, 2]), (1, [1] * 5)])
def test_call_is_halved_until_it_fits(capacity: int, sizes: list[int]) -> None:
    done: list[int] = []

    def call(part: slice) -> torch.Tensor:
        if part.stop - part.start > capacity:
            raise torch.OutOfMemoryError("x")
        done.append(part.stop - part.start)
        return torch.arange(part.start, part.stop).view(-1, 1)

    parts = call_in_halves(call, 5)
    assert [None if part is None else int(part) for part in parts] == [0, 1, 2, 3, 4]
    assert done == sizes


def test_row_that_fits_nowhere_is_none_and_the_others_are_computed() -> None:
    def call(part: slice) -> torch.Tensor:
        if part.start <= 1 < part.stop:
            raise torch.OutOfMemoryError("x")
        return torch.zeros(part.stop - part.start, 1)

    assert [part is None for part in call_in_halves(call, 4)] == [False, True, False, False]


def test_other_errors_are_not_retried() -> None:
    calls = []

    def call(part: slice) -> torch.Tensor:
        calls.append(part)
        raise RuntimeError("shape mismatch")

    with pytest.raises(RuntimeError, match="shape mismatch"):
        call_in_halves(call, 4)
    assert len(calls) == 1
