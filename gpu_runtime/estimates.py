"""How long the next step of the engine may take: for the watchdog, for ETAs and for the batcher.

Plain Python: durations are handed in. Until something was measured the watchdog is told a generous time,
because it kills a process that exceeds it many times over; ETAs and the batcher are told what other shapes
took for their TFLOP.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.batching.cost import row_tflop
from gpu_runtime.batching.step_times import SMOOTHING, CallShape, StepTimes
from gpu_runtime.batching.turns import HYSTERESIS_TURNS, UNLIMITED_ROWS

UNMEASURED_CALL_S = 60.0
"""A call of a shape that never ran: SD 1.5 at 2048 pixels takes about this long on a slow CPU."""

UNMEASURED_LOAD_S = 120.0
"""Loading weights: 4 GB from a slow disk."""

UNMEASURED_ENCODE_S = 5.0
"""Encoding one request's prompts."""

WORK_PER_LOAD = 3.0
"""Seconds of steps for each second of loading while checkpoints that do not fit together take turns: at most
a quarter of the device's time goes into loading them."""

MAX_PATIENCE_S = 15.0
"""Longest wait for a load that this may cause: callers who wait for their image give up after 25 s."""

MAX_REPEAT_PATIENCE_S = 60.0
"""Longest wait for a checkpoint whose steps would be lost: without one, a caller could wait three times what
was done so far; much below it, images of a minute would be begun again and again."""

SATURATING_TFLOP = 6.0
"""Call of a GPU at which more rows stop being free, until it was measured: its launches alone take 10 ms, in
which a large GPU does so much (BF16, two thirds of its peak)."""

SATURATING_PIXELS = 512 * 512
"""The same of a CPU, which one row of an ordinary picture keeps busy whatever the network."""

ESTIMATE_MARGIN = 1.5
"""From a moving average to an upper estimate."""


class Estimates:
    """Measured durations of denoiser calls, decodes and prompt encoding, and what follows from them."""

    def __init__(self, device_type: str = "") -> None:
        """`device_type` is torch's, "cpu" or "cuda": it gives b* until calls were measured; "" gives none."""
        self._device_type = device_type
        self._calls = StepTimes()
        self._decodes = StepTimes()
        self._encodes = StepTimes()
        self._call_s: float | None = None
        """Moving average over calls of all shapes."""
        self._s_per_tflop: float | None = None
        """The same of a call's seconds by its TFLOP: what is expected of shapes that never ran."""

    def as_plain(self) -> dict[str, Any]:
        """What was measured of calls and decodes, as JSON has it (hence Any)."""
        return {
            "calls": self._calls.as_plain(),
            "decodes": self._decodes.as_plain(),
            "call_s": self._call_s,
            "s_per_tflop": self._s_per_tflop,
        }

    def restore(self, plain: Mapping[str, Any]) -> None:
        """Begin with what `as_plain` gave in an earlier process; where this raises nothing has changed.

        The watchdog's estimates do not count it: the first call of a shape takes longer in every process.
        Raises ValueError, TypeError, KeyError or AttributeError for anything else than that.
        """
        calls, decodes = StepTimes.from_plain(plain["calls"]), StepTimes.from_plain(plain["decodes"])
        call_s, s_per_tflop = (_average_of(plain[name]) for name in ("call_s", "s_per_tflop"))
        self._calls, self._decodes = calls, decodes
        self._call_s, self._s_per_tflop = call_s, s_per_tflop

    def record_call(self, key: BatchKey, rows: int, seconds: float) -> None:
        """One denoiser call of `rows` forward rows."""
        self._calls.record(_shape(key), rows, seconds)
        self._call_s = _averaged(self._call_s, seconds)
        self._s_per_tflop = _averaged(self._s_per_tflop, seconds / (rows * row_tflop(key)))

    def record_decode(self, key: BatchKey, images: int, seconds: float) -> None:
        """One decode."""
        self._decodes.record(_shape(key), images, seconds)

    def record_encode(self, key: BatchKey, seconds: float) -> None:
        """The prompts of one request."""
        self._encodes.record(_encoder(key), 1, seconds)

    def call_cost(self, key: BatchKey, rows: int) -> float:
        """Expected seconds of a call; a second a row before anything was measured."""
        known = self._calls.estimate(_shape(key), rows)
        if known is not None:
            return known
        return float(rows) if self._s_per_tflop is None else self._s_per_tflop * rows * row_tflop(key)

    def best_rows(self, key: BatchKey) -> int:
        """b*: forward rows beyond which a call of this key takes proportionally longer.

        Measured; before that what the kind of device leads to expect, and then twice the largest call so far
        until one shows no gain. UNLIMITED_ROWS while nothing is known.
        """
        shape = _shape(key)
        measured = self._calls.best_rows(shape)
        if measured is not None:
            return measured
        if self._device_type == "cuda":
            expected = SATURATING_TFLOP / row_tflop(key)
        elif self._device_type == "cpu":
            expected = SATURATING_PIXELS / (key.width * key.height)
        else:
            return UNLIMITED_ROWS
        return max(1, round(expected), 2 * self._calls.largest(shape))

    def decode_cost(self, key: BatchKey) -> float:
        """Expected seconds of decoding one image; before it was measured, of one forward row."""
        known = self._decodes.estimate(_shape(key), 1)
        return self.call_cost(key, 1) if known is None else known

    def patience(self, load_s: float | None, repeated_turns: int = 0) -> int:
        """Turns that resident checkpoints may take before one whose load takes about `load_s`.

        `repeated_turns` are those that a resident one would have to do again if its weights left.
        """
        if not self._call_s:
            return HYSTERESIS_TURNS
        wait_s = min(WORK_PER_LOAD * (load_s or 0.0), MAX_PATIENCE_S)
        repeat_s = min(WORK_PER_LOAD * repeated_turns * self._call_s, MAX_REPEAT_PATIENCE_S)
        return max(HYSTERESIS_TURNS, round(max(wait_s, repeat_s) / self._call_s))

    def turn_s(
        self, key: BatchKey, *, rows: int, new_requests: int, is_resident: bool, repeated_turns: int = 0
    ) -> float:
        """Upper estimate of a turn that may load weights and encode the prompts of `new_requests` first.

        `repeated_turns` are earlier ones that it does again.
        """
        shape = _shape(key)
        call = self._calls.estimate(shape, rows) if self._calls.has_run(shape) else None
        encode = self._encodes.estimate(_encoder(key), 1)
        expected = (UNMEASURED_CALL_S if call is None else call) * (1 + repeated_turns)
        expected += new_requests * (UNMEASURED_ENCODE_S if encode is None else encode)
        return ESTIMATE_MARGIN * (expected if is_resident else expected + UNMEASURED_LOAD_S)

    def decode_s(self, key: BatchKey, *, images: int, is_resident: bool) -> float:
        """Upper estimate of a decode that may load weights first."""
        shape = _shape(key)
        known = self._decodes.estimate(shape, images) if self._decodes.has_run(shape) else None
        expected = UNMEASURED_CALL_S if known is None else known
        return ESTIMATE_MARGIN * (expected if is_resident else expected + UNMEASURED_LOAD_S)


def _average_of(plain: float | None) -> float | None:
    if plain is not None and not 0 < plain < float("inf"):
        raise ValueError(f"{plain} is no average")
    return plain


def _averaged(before: float | None, newest: float) -> float:
    return newest if before is None else before + SMOOTHING * (newest - before)


def _shape(key: BatchKey) -> CallShape:
    return CallShape(key.family, key.width, key.height, key.tier, key.shape)


def _encoder(key: BatchKey) -> CallShape:
    """Encoding a prompt does not depend on the image's size."""
    return CallShape(key.family, 0, 0)
