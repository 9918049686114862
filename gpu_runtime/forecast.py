"""How long the engine's next step may take, of what it holds now and what it measured before."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.estimates import UNMEASURED_LOAD_S, Estimates
from gpu_runtime.finishing import Finisher
from gpu_runtime.held import HeldRequest


def expected_step_s(
    estimates: Estimates,
    *,
    waiting: Mapping[BatchKey, int],
    finisher: Finisher,
    held: Collection[HeldRequest],
    resident: Collection[str],
    max_rows: int,
    is_warming: bool,
) -> float:
    """Upper estimate in seconds, whichever kind of step it is; 0 without work.

    `waiting` are the keys that may come next with the forward rows of each.
    """
    steps = [
        estimates.turn_s(
            key,
            rows=rows,
            new_requests=min(_count_new(held, key), max_rows),
            is_resident=key.checkpoint in resident,
            repeated_turns=0 if key.checkpoint in resident else repeated_turns(held, key.checkpoint),
        )
        for key, rows in waiting.items()
    ]
    due = finisher.next_decode()
    if due is not None:
        is_resident = due.checkpoint.digest in resident
        decode_s = estimates.decode_s(due.key, images=due.images, is_resident=is_resident)
        # All of them at once when a turn has to load: they are decoded before their weights leave.
        is_loading = any(key.checkpoint not in resident for key in waiting)
        steps.append(decode_s)
        steps = [each + finisher.decodes_waiting() * decode_s * is_loading for each in steps]
    if is_warming:
        steps.append(UNMEASURED_LOAD_S)
    return max(steps, default=0.0)


def repeated_turns(held: Collection[HeldRequest], checkpoint: str) -> int:
    """Turns of a checkpoint's rows that are done again when its weights come back to the device."""
    return max((each.repeated_turns for each in held if each.key.checkpoint == checkpoint), default=0)


def _count_new(held: Collection[HeldRequest], key: BatchKey) -> int:
    """Requests of this key whose prompts the next turn may have to encode first."""
    return sum(each.conditioning is None for each in held if each.key == key)
