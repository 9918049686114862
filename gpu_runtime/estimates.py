"""How long the next step of the engine may take: for the watchdog, for ETAs and for the batcher.

Plain Python: durations are handed in. Until something was measured the answer is generous, because the
watchdog kills a process that exceeds it many times over.
"""

from __future__ import annotations

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.batching.step_batcher import HYSTERESIS_TURNS
from gpu_runtime.batching.step_times import SMOOTHING, CallShape, StepTimes

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

ESTIMATE_MARGIN = 1.5
"""From a moving average to an upper estimate."""


class Estimates:
    """Measured durations of denoiser calls, decodes and prompt encoding, and what follows from them."""

    def __init__(self) -> None:
        self._calls = StepTimes()
        self._decodes = StepTimes()
        self._encodes = StepTimes()
        self._call_s: float | None = None
        """Moving average over calls of all shapes."""

    def record_call(self, key: BatchKey, rows: int, seconds: float) -> None:
        """One denoiser call of `rows` forward rows."""
        self._calls.record(_shape(key), rows, seconds)
        before = seconds if self._call_s is None else self._call_s
        self._call_s = before + SMOOTHING * (seconds - before)

    def record_decode(self, key: BatchKey, images: int, seconds: float) -> None:
        """One decode."""
        self._decodes.record(_shape(key), images, seconds)

    def record_encode(self, key: BatchKey, seconds: float) -> None:
        """The prompts of one request."""
        self._encodes.record(_encoder(key), 1, seconds)

    def call_cost(self, key: BatchKey, rows: int) -> float:
        """Expected seconds of a call; proportional to the rows before anything was measured."""
        known = self._calls.estimate(_shape(key), rows)
        return float(rows) if known is None else known

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
        call = self._calls.estimate(_shape(key), rows)
        encode = self._encodes.estimate(_encoder(key), 1)
        expected = (UNMEASURED_CALL_S if call is None else call) * (1 + repeated_turns)
        expected += new_requests * (UNMEASURED_ENCODE_S if encode is None else encode)
        return ESTIMATE_MARGIN * (expected if is_resident else expected + UNMEASURED_LOAD_S)

    def decode_s(self, key: BatchKey, *, images: int, is_resident: bool) -> float:
        """Upper estimate of a decode that may load weights first."""
        known = self._decodes.estimate(_shape(key), images)
        expected = UNMEASURED_CALL_S if known is None else known
        return ESTIMATE_MARGIN * (expected if is_resident else expected + UNMEASURED_LOAD_S)


def _shape(key: BatchKey) -> CallShape:
    return CallShape(key.family, key.width, key.height)


def _encoder(key: BatchKey) -> CallShape:
    """Encoding a prompt does not depend on the image's size."""
    return CallShape(key.family, 0, 0)
