"""What a GPU worker counts of its engine's ticks, in memory, and says of each in its log."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

from apps.core.counters import counter, gauge, histogram, tally
from gpu_runtime.messages import Priority
from gpu_runtime.telemetry import TickKind, TickReport

log = logging.getLogger(__name__)

TICKS: Final = histogram(
    "darkroom_engine_tick_seconds",
    "Parts of the engine's ticks: loading, encoding, steps, decoding, operations.",
    "part",
    bounds=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0),
)
ROWS: Final = histogram(
    "darkroom_engine_tick_rows",
    "Images that shared a turn of denoising steps.",
    bounds=(1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 32.0, 64.0, 128.0),
)
FORWARD: Final = counter("darkroom_engine_forward_rows_total", "Denoiser rows that were computed for images.")
PADDED: Final = counter(
    "darkroom_engine_padded_rows_total", "Denoiser rows that were computed for nobody, to fill up a call."
)
OPERATIONS: Final = counter(
    "darkroom_engine_operations_total", "Estimated floating-point operations of forward rows."
)
LOADS: Final = counter(
    "darkroom_engine_weight_loads_total", "Times that weights were brought to a device: swaps of checkpoints."
)
FEATURES: Final = gauge(
    "darkroom_engine_feature_bytes", "What rows of the fast tier remember of their steps.", "worker"
)
WAITING: Final = gauge(
    "darkroom_engine_oldest_wait_seconds",
    "Since the coming of the oldest request in a worker that has not begun, by class.",
    "worker",
    "class",
)
ENGINE_SERIES: Final = (TICKS, ROWS, FORWARD, PADDED, OPERATIONS, LOADS, FEATURES, WAITING)
FLOP_PER_TFLOP: Final = 10.0**12


def count_ticks(reports: Iterable[TickReport], *, worker: str) -> None:
    """Everything that one step of the engine did; a few microseconds."""
    last = None
    for report in reports:
        tally.observe(TICKS, report.seconds, report.kind.value)
        if report.kind is TickKind.LOAD:
            tally.count(LOADS)
        elif report.kind is TickKind.STEPS:
            tally.observe(ROWS, float(report.rows))
            tally.count(FORWARD, by=float(report.forward_rows))
            tally.count(PADDED, by=float(report.padded_rows))
            tally.count(OPERATIONS, by=report.tflop * FLOP_PER_TFLOP)
            last = report
    if last is not None:
        tally.note(FEATURES, float(last.feature_bytes), worker)
        for priority in Priority:
            tally.note(WAITING, last.oldest_wait_s.get(priority, 0.0), worker, priority.name.lower())


def log_ticks(reports: Iterable[TickReport], *, requests: Iterable[str]) -> None:
    """At level DEBUG a line for each part of a tick, with the HTTP requests that it was done for."""
    if not log.isEnabledFor(logging.DEBUG):
        return
    names = sorted(set(requests) - {""})
    for report in reports:
        log.debug(
            "tick: %s of %d images in %.1f ms",
            report.kind.value,
            report.rows,
            report.seconds * 1000,
            extra={"part": report.kind.value, "rows": report.rows, "requests": names},
        )
