"""One denoiser call for many rows: gather, forward, guidance. Changes no row, so it may be repeated."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gpu_runtime.device_faults import call_in_halves, nothing_to_spare
from gpu_runtime.execution.calling import calling
from gpu_runtime.execution.wrapping import wrapping_if
from gpu_runtime.families.family import Family, ForwardInputs, Row
from gpu_runtime.feature_cache.features import CallFeatures
from gpu_runtime.messages import Tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What one call gave."""

    combined: Tensor
    """[rows, C, h, w], float32, on the device; meaningless for the rows in `misfits`."""
    finite: tuple[bool, ...]
    """For each row, whether all of its values are finite."""
    misfits: frozenset[int]
    """Rows that did not fit into memory even alone."""
    forward_rows: int
    """Forward rows of the whole call."""
    fitting_rows: int
    """Most forward rows that were computed at once; fewer than `forward_rows` after running out of memory."""
    seconds: float
    """Duration, the device's work included."""
    features: CallFeatures | None
    """What the rows are to remember, to be committed when the call counts; None outside the fast tier, and
    where there was no memory for it."""
    repeats_steps: bool
    """Whether the call did earlier steps as well, so that its duration is not that of one step."""


def predict(
    family: Family,
    rows: Sequence[Row],
    *,
    tier: Tier = Tier.STANDARD,
    is_seamless: bool = False,
    reuse_threshold: float = 0.0,
    is_divisible: bool = True,
    spare: Callable[[], int] = nothing_to_spare,
) -> Prediction:
    """Call the denoiser once for all rows; out of memory, in halves if it `is_divisible`.

    `tier` and `is_seamless` are those of all rows; `reuse_threshold` as in `EngineConfig`. `spare` gives up
    what rows remember and returns how many bytes: the first thing to do where a divisible call runs out of
    memory, which is then repeated in full and remembers nothing. Raises what the family raises.
    """
    started = time.monotonic()
    inputs = family.rows(rows)
    total = inputs.latents.shape[0]
    fitting = 0
    is_reusing = tier is Tier.FAST and reuse_threshold > 0
    features = CallFeatures(rows, inputs, threshold=reuse_threshold) if is_reusing else None

    def forward(part: slice) -> Tensor:
        nonlocal fitting
        with calling(tier, features.part(part) if features else None), wrapping_if(is_seamless):
            predicted = family.forward(inputs, part)
        fitting = max(fitting, part.stop - part.start)
        return predicted

    def give_up() -> int:
        nonlocal features
        # What this call noted so far has no bytes in `spare`, which counts what rows remember.
        was_reusing, features = features is not None, None
        return spare() + was_reusing

    parts = call_in_halves(forward, total, give_up) if is_divisible else forward(slice(0, total)).split(1)
    combined = family.combine(_stack(parts, inputs), inputs)
    # The one point of a turn where the host waits for the device.
    finite = torch.isfinite(combined).flatten(1).all(1).tolist()
    return Prediction(
        combined=combined,
        finite=tuple(finite),
        misfits=frozenset(inputs.owner(i) for i, part in enumerate(parts) if part is None),
        forward_rows=total,
        fitting_rows=max(1, fitting),
        seconds=time.monotonic() - started,
        features=features,
        repeats_steps=inputs.repeats_steps,
    )


def _stack(parts: Sequence[Tensor | None], inputs: ForwardInputs) -> Tensor:
    """The parts as one tensor; zeros where a row did not fit."""
    # A prediction may have fewer channels than the input: mask and masked image are of the input alone.
    like = next((part for part in parts if part is not None), inputs.latents[:1])
    blank = torch.zeros_like(like, dtype=torch.float32)
    return torch.cat([blank if part is None else part for part in parts])
