"""What must hold between two steps of the engine. Called by `Engine.check_invariants`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gpu_runtime.batching.step_batcher import RowId
from gpu_runtime.held import HeldRequest


def check_places(
    held: Mapping[str, HeldRequest], waiting: Mapping[str, Sequence[int]], finishing: Sequence[RowId]
) -> None:
    """Every image is in exactly one place and nothing outlives its request.

    `waiting` are the batcher's rows by request, `finishing` the finisher's. Raises AssertionError.
    """
    _require(len(set(finishing)) == len(finishing), "an image is being finished twice")
    _require(set(waiting) <= set(held), "the batcher knows a request that the engine forgot")
    _require({row.request_id for row in finishing} <= set(held), "latents outlive their request")
    for request_id, request in held.items():
        to_do = set(waiting.get(request_id, ()))
        in_finish = {row.index for row in finishing if row.request_id == request_id}
        places = [*to_do, *in_finish, *request.delivered]
        _require(sorted(places) == list(range(request.images)), f"{request_id}: an image is lost or doubled")
        _require(request.denoised == in_finish | request.delivered, f"{request_id}: denoised set is wrong")
        _require(set(request.rows) <= to_do, f"{request_id}: latents outlive their last step")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
