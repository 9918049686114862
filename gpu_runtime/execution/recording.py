"""What graphs need of a device: that a call is recorded once and can be replayed, in memory that it keeps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol, TypeVar

import torch

from gpu_runtime.errors import DeviceLost

T = TypeVar("T")


class Recording(Protocol):
    """One recorded call; `torch.cuda.CUDAGraph` is the usual one."""

    def replay(self) -> None:
        """Do again what was recorded: from the same addresses, to the same addresses."""

    def reset(self) -> None:
        """Give up what it holds; it is never replayed again."""


class Recorder(Protocol):
    """Makes the recordings of one device. All of them work in the same memory, so only one result counts."""

    def record(self, run: Callable[[], T]) -> tuple[Recording, T]:
        """Record a call, without effect yet; each replay writes the tensors that it returned.

        A replay overwrites the results of every other recording. Raises what the call raises, RuntimeError
        where it does something that cannot be recorded, and DeviceLost where the device failed.
        """

    def measured_bytes(self) -> int:
        """Bytes of the memory in which recordings work; asks the device, which takes milliseconds."""

    def release(self) -> None:
        """No recording made so far will be replayed again: their memory need not be kept.

        To be called whenever the last one was reset, and where the first one fails.
        """


class CudaRecorder:
    """CUDA graphs in one pool, so that together they take what the largest of them takes."""

    def __init__(self, device: torch.device) -> None:
        """Asks nothing of the device yet."""
        self._device = device
        self._pool: Any = None
        self._stream: torch.cuda.Stream | None = None

    def record(self, run: Callable[[], T]) -> tuple[Recording, T]:
        """See `Recorder.record`. What else runs on the device goes on, also in other threads."""
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        if self._stream is None:
            # One for all: blocks of the pool are used again on the stream that they were taken on.
            self._stream = torch.cuda.Stream(self._device)
        graph = torch.cuda.CUDAGraph()
        try:
            # The outer one: where a recording cannot be ended, torch leaves its stream the current one.
            with torch.cuda.stream(torch.cuda.current_stream(self._device)), self._recording(graph):
                result = run()
        except RuntimeError:
            self._require_device()
            self._leave_pool()
            raise
        return graph, result

    def measured_bytes(self) -> int:
        """See `Recorder.measured_bytes`."""
        pools = (
            (tuple(each["segment_pool_id"]), each["total_size"]) for each in torch.cuda.memory_snapshot()
        )
        return sum(size for pool, size in pools if pool == self._pool)

    def release(self) -> None:
        """See `Recorder.release`. The pool is torch's cached memory from now on."""
        self._pool = None

    def _require_device(self) -> None:
        """Tell a refusal to record, which torch reports like a fault of the device, from such a fault."""
        try:
            torch.cuda.synchronize(self._device)
        except RuntimeError as error:
            raise DeviceLost(f"the device failed while a call was recorded: {error}") from error

    def _leave_pool(self) -> None:
        """What torch does where a recording ends, and leaves out where the device refuses to end it.

        Without it the pool would be kept for good.
        """
        index = self._device.index or 0
        # Raises where it is done already, and then the pool is left when the graph goes.
        with suppress(RuntimeError):
            torch._C._cuda_endAllocateToPool(index, self._pool)
            torch._C._cuda_releasePool(index, self._pool)

    def _recording(self, graph: torch.cuda.CUDAGraph) -> torch.cuda.graph:
        # thread_local: other threads may allocate and copy meanwhile.
        return torch.cuda.graph(
            graph, pool=self._pool, stream=self._stream, capture_error_mode="thread_local"
        )
