"""Files of finished images, made in threads beside the device's work."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import Any

from gpu_runtime.workshop.held import Filing, HeldWork
from gpu_runtime.workshop.tools import Tools

THREADS = 2
"""As the engine's finisher: more would take cores from the steps on a small CPU."""

MOST_WAITING = 2
"""Images of one request that wait for their file before its next operation: at 8192 pixels each is 200 MB."""

WAIT_S = 0.05
"""Longest wait for a file in one step: the caller looks for new requests between steps."""


class Filer:
    """Encodes."""

    def __init__(self, tools: Tools) -> None:
        self._tools = tools
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="file-image")

    def file(self, held: HeldWork, index: int, picture: Any, notes: Mapping[str, Any]) -> None:
        """Begin with one image of a request; it is in `held.filings` from now on."""
        future = self._pool.submit(self._tools.encode, picture, held.request.encoding, index)
        held.filings.append(Filing(index, notes, future))

    def wait(self, filings: Iterable[Filing]) -> None:
        """Until one of them is ready, or for a moment."""
        futures = [filing.future for filing in filings]
        if futures:
            wait(futures, timeout=WAIT_S, return_when=FIRST_COMPLETED)

    def close(self) -> None:
        """Stop the threads; images in progress are dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)
