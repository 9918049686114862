"""Short ways to fill a step batcher and to take turns, each a unit of time unless a test says otherwise."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.batching.step_batcher import StepBatcher
from gpu_runtime.batching.turns import UNLIMITED_ROWS, Device, Turn


def key(checkpoint: str = "c", side: int = 512, isolated: str = "") -> BatchKey:
    return BatchKey(checkpoint=checkpoint, family="sd15", width=side, height=side, isolated_request=isolated)


def add(batcher: StepBatcher, request_id: str, *, images: int = 1, **changes: Any) -> None:
    fields: dict[str, Any] = {
        "account": request_id,
        "weight": 1.0,
        "key": key(),
        "row_cost": 1.0,
        "forward_rows": 1,
    }
    batcher.add(request_id, images=images, **{**fields, **changes})


def device(
    *, resident: tuple[str, ...] = ("c", "d"), linear: bool = True, limit: int = UNLIMITED_ROWS
) -> Device:
    """`linear`: a call's cost is proportional to its rows, as on a CPU; else it does not depend on them."""
    return Device(
        resident=resident,
        call_cost=lambda _key, rows: float(rows) if linear else 1.0,
        row_limit=lambda _key: limit,
    )


def plan(batcher: StepBatcher, where: Device | None = None) -> Turn:
    turn = batcher.plan(where or device())
    assert turn is not None
    return turn


def requests_of(turn: Turn) -> Counter[str]:
    return Counter(row.request_id for row in turn.rows)
