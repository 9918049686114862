"""How much memory the device and the host have, and what calls take at their peaks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import torch

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.weights.budget import ActivationPeaks

CGROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")
CGROUP_USED = Path("/sys/fs/cgroup/memory.current")
CGROUP_STAT = Path("/sys/fs/cgroup/memory.stat")

RECLAIMABLE = ("active_file", "inactive_file")
"""What counts as used in a container and is given up when it is wanted: the page cache of files."""


def free_host_bytes() -> int:
    """Host memory that this process could still take: the machine's, or less inside a container."""
    available = psutil.virtual_memory().available
    try:
        limit = int(CGROUP_LIMIT.read_text(encoding="ascii"))
        used = int(CGROUP_USED.read_text(encoding="ascii")) - _reclaimable_bytes()
    except (OSError, ValueError):
        # No container, or one without a limit ("max").
        return available
    return max(0, min(available, limit - used))


def _reclaimable_bytes() -> int:
    """Of the container's used memory; 0 when the system does not say."""
    try:
        lines = [line.split() for line in CGROUP_STAT.read_text(encoding="ascii").splitlines()]
    except OSError:
        return 0
    return sum(int(line[1]) for line in lines if line[0] in RECLAIMABLE)


def usable_device_bytes(device: torch.device) -> int:
    """CUDA memory that is free or already held by this process's allocator."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device)


class PeakMeter:
    """Records what calls allocated at their peaks. Measures nothing on the CPU."""

    def __init__(self, device: torch.device, peaks: ActivationPeaks, clock: Callable[[], float]) -> None:
        self._device = device
        self._peaks = peaks
        self._clock = clock

    @contextmanager
    def measure(self, key: BatchKey, doing: str, rows: int) -> Iterator[None]:
        """Measure the block, which works on `rows` images of this key; not if it raises."""
        if self._device.type != "cuda":
            yield
            return
        torch.cuda.reset_peak_memory_stats(self._device)
        before = torch.cuda.memory_allocated(self._device)
        yield
        self._peaks.record(
            f"{key.family} {doing}",
            width=key.width,
            height=key.height,
            rows=rows,
            size_bytes=torch.cuda.max_memory_allocated(self._device) - before,
            now=self._clock(),
        )
