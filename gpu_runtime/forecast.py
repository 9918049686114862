"""What the engine expects, of what it holds now and what it measured before: its next step, every end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.batching.queue_forecast import Demand
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
    new_requests = Counter(key for each in held for key in each.keys_to_encode())
    steps = [
        estimates.turn_s(
            key,
            rows=rows,
            new_requests=min(new_requests[key], max_rows),
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


def demands(
    estimates: Estimates, *, waiting: Mapping[BatchKey, int], held: Collection[HeldRequest]
) -> list[Demand]:
    """What each request still wants of the device, decodes and later passes included.

    `waiting` are the keys that may come next with the forward rows of each: rows that share a call share its
    time.
    """
    return [
        Demand(
            request_id=each.request_id,
            account=each.request.account,
            weight=each.request.weight,
            priority=each.request.priority,
            seconds=_seconds_left(estimates, waiting, each),
            alone_s=_seconds_left(estimates, _own_rows(each), each),
        )
        for each in held
    ]


def _own_rows(held: HeldRequest) -> dict[BatchKey, int]:
    """Forward rows that a request brings to a call of each of its passes when all of its images are in it."""
    left = sum(not image.is_delivered for image in held.images)
    return {key: left * each.forward_rows for key, each in zip(held.keys, held.passes, strict=True)}


def _seconds_left(estimates: Estimates, waiting: Mapping[BatchKey, int], held: HeldRequest) -> float:
    seconds = 0.0
    for index, image in enumerate(held.images):
        if image.is_delivered:
            continue
        seconds += estimates.decode_cost(held.keys[-1])
        done = held.steps_done(index)
        for key, each in zip(held.keys, held.passes, strict=True):
            rows = max(each.forward_rows, min(waiting.get(key, 0), estimates.best_rows(key)))
            row_s = estimates.call_cost(key, rows) * each.forward_rows / rows
            seconds += max(0, each.steps - done) * row_s
            done = max(0, done - each.steps)
    return seconds


def repeated_turns(held: Collection[HeldRequest], checkpoint: str) -> int:
    """Turns of a checkpoint's rows that are done again when its weights come back to the device."""
    return max((each.repeated_turns(checkpoint) for each in held), default=0)
