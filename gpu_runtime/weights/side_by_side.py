"""Whether checkpoints and networks beside them can be on the device all at once.

Told by what is there and by the sizes of files: a network counts before it was ever loaded. Loads nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import torch

from gpu_runtime.batching.turns import ExtraNetwork
from gpu_runtime.errors import RuntimeFault
from gpu_runtime.weights.checkpoint_files import file_bytes, weights_bytes
from gpu_runtime.weights.residency import Residency


class SideBySide:
    """Answers for one device."""

    def __init__(self, residency: Residency, dtype: torch.dtype) -> None:
        """`dtype` is the one in which networks are lent."""
        self._residency = residency
        self._dtype = dtype
        self._sizes: dict[ExtraNetwork, int] = {}
        """Of networks that were asked about and were not there. Their digests are of what is in the files."""

    def is_lent(self, network: ExtraNetwork) -> bool:
        """Whether a network is on the device."""
        return self._residency.has(network.digest)

    def fits(self, checkpoints: Collection[str], networks: Collection[ExtraNetwork]) -> bool:
        """Whether resident checkpoints, by digest, and networks fit beside each other and what is pinned."""
        here = [network.digest for network in networks if self.is_lent(network)]
        missing = sum(self._size_of(network) for network in networks if not self.is_lent(network))
        present = self._residency.bytes_of([*checkpoints, *here])
        return present + missing <= self._residency.budget_bytes

    def _size_of(self, network: ExtraNetwork) -> int:
        if network not in self._sizes:
            self._sizes[network] = _bytes_of_files(Path(network.path), self._dtype)
        return self._sizes[network]


def _bytes_of_files(path: Path, dtype: torch.dtype) -> int:
    """0 for what is damaged or missing: its request fails when it is prepared, and takes no room."""
    try:
        return file_bytes(path, dtype) if path.is_file() else weights_bytes(path.resolve(), dtype)
    except (RuntimeFault, OSError):
        return 0
