"""What the engine did in each tick: how long it took, how much work it was, who waited meanwhile.

Kept for the last few thousand ticks and handed out once. Plain Python: durations are handed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from gpu_runtime.messages import Priority

MOST_KEPT = 4096
"""Reports between two calls of `TickLog.take`: a minute and more of 15 ms ticks; the oldest leave first."""


class TickKind(StrEnum):
    """What a part of a tick did."""

    LOAD = "load"
    """Brought weights to the device."""
    ENCODE = "encode"
    """Encoded the prompts and pictures of one pass of a request."""
    STEPS = "steps"
    """Denoiser calls for the rows of one turn, and their sampler steps."""
    DECODE = "decode"
    """Decoded latents."""
    OPERATION = "operation"
    """A slice of an operation on pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TickReport:
    """One part of one tick. A tick has several: it may load, encode and do steps."""

    kind: TickKind
    seconds: float
    rows: int = 0
    """Images in it."""
    forward_rows: int = 0
    """Denoiser rows of those images."""
    padded_rows: int = 0
    """Denoiser rows computed for nobody, to fill up calls of a fixed size."""
    tflop: float = 0.0
    """Estimated work of the forward rows, 10**12 floating-point operations."""
    feature_bytes: int = 0
    """What rows of the fast tier remember of their steps, after this part; on the device."""
    oldest_wait_s: Mapping[Priority, float] = field(default_factory=dict)
    """Seconds since the coming of the oldest request that has not begun, by class; only classes with one."""


class TickLog:
    """The latest reports."""

    def __init__(self) -> None:
        self._reports: deque[TickReport] = deque(maxlen=MOST_KEPT)

    def add(self, report: TickReport) -> None:
        """Keep one more."""
        self._reports.append(report)

    def take(self) -> list[TickReport]:
        """Those since the last call, in order."""
        reports = list(self._reports)
        self._reports.clear()
        return reports
