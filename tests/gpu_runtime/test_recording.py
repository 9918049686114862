"""What is asked of CUDA to record a call, with nobody there to answer: order, places, and what is undone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from gpu_runtime.errors import DeviceLost
from gpu_runtime.execution.recording import CudaRecorder

DEVICE = torch.device("cuda:1")

REFUSED = RuntimeError("CUDA error: operation not permitted when stream is capturing")


class Cuda:
    """Stands in for torch.cuda, as far as recordings go."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.current = "the engine's stream"
        self.is_lost = False
        self.is_refusing = False
        """Whether recordings cannot be ended either."""
        self.recorded: list[dict[str, Any]] = []
        self.left: list[tuple[str, int, tuple[int, int]]] = []
        self._pools = 0
        patch.setattr(torch.cuda, "graph_pool_handle", self._pool)
        patch.setattr(torch.cuda, "Stream", lambda device: f"a stream of {device}")
        patch.setattr(torch.cuda, "CUDAGraph", SimpleNamespace)
        patch.setattr(torch.cuda, "current_stream", lambda device: self.current)
        patch.setattr(torch.cuda, "stream", self._stream)
        patch.setattr(torch.cuda, "graph", self._graph)
        patch.setattr(torch.cuda, "synchronize", self._synchronize)
        patch.setattr(torch._C, "_cuda_endAllocateToPool", self._end, raising=False)
        patch.setattr(torch._C, "_cuda_releasePool", self._release, raising=False)

    def _pool(self) -> tuple[int, int]:
        self._pools += 1
        return (0, self._pools)

    @contextmanager
    def _stream(self, stream: str) -> Iterator[None]:
        before = self.current
        self.current = stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def _graph(self, graph: object, **settings: Any) -> Iterator[None]:
        """As torch's: where the recording cannot be ended its stream stays the current one."""
        self.recorded.append(settings)
        before, self.current = self.current, settings["stream"]
        try:
            yield
        finally:
            if self.is_refusing:
                raise REFUSED
            self.current = before

    def _synchronize(self, device: torch.device) -> None:
        if self.is_lost:
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

    def _end(self, index: int, pool: tuple[int, int]) -> None:
        if not self.is_refusing:
            raise RuntimeError("not currently recording")
        self.left.append(("end", index, pool))

    def _release(self, index: int, pool: tuple[int, int]) -> None:
        self.left.append(("release", index, pool))


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    return Cuda(monkeypatch)


def fail() -> None:
    raise REFUSED


def test_all_recordings_share_a_pool_and_a_stream_until_they_are_released(cuda: Cuda) -> None:
    recorder = CudaRecorder(DEVICE)
    for _ in range(2):
        _, result = recorder.record(lambda: cuda.current)
        assert result == "a stream of cuda:1"
        assert cuda.current == "the engine's stream"
    recorder.release()
    recorder.record(lambda: None)
    assert [each["pool"] for each in cuda.recorded] == [(0, 1), (0, 1), (0, 2)]
    assert {each["stream"] for each in cuda.recorded} == {"a stream of cuda:1"}
    assert {each["capture_error_mode"] for each in cuda.recorded} == {"thread_local"}


@pytest.mark.parametrize("is_refusing", [True, False])
def test_failed_recording_leaves_stream_and_pool_as_they_were(is_refusing: bool, cuda: Cuda) -> None:
    cuda.is_refusing = is_refusing
    with pytest.raises(RuntimeError, match="not permitted"):
        CudaRecorder(DEVICE).record(fail)
    assert cuda.current == "the engine's stream"
    assert cuda.left == ([("end", 1, (0, 1)), ("release", 1, (0, 1))] if is_refusing else [])


def test_lost_device_is_told_from_a_refusal(cuda: Cuda) -> None:
    cuda.is_lost = True
    with pytest.raises(DeviceLost, match="illegal memory access"):
        CudaRecorder(DEVICE).record(fail)


def test_memory_is_that_of_the_own_pool(cuda: Cuda, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = [
        {"segment_pool_id": (0, 0), "total_size": 1},
        {"segment_pool_id": (0, 1), "total_size": 10},
        {"segment_pool_id": (0, 1), "total_size": 100},
    ]
    monkeypatch.setattr(torch.cuda, "memory_snapshot", lambda: segments)
    recorder = CudaRecorder(DEVICE)
    assert recorder.measured_bytes() == 0
    recorder.record(lambda: None)
    assert recorder.measured_bytes() == 110
