"""What must hold between two steps of the engine. Called by `Engine.check_invariants`."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from gpu_runtime.batching.batch_key import BatchKey
from gpu_runtime.batching.turns import RowId
from gpu_runtime.held import HeldImage, HeldRequest


def check_places(
    held: Mapping[str, HeldRequest],
    waiting: Mapping[str, Sequence[int]],
    keys: Collection[BatchKey],
    finishing: Sequence[RowId],
) -> None:
    """Every image is in exactly one place and nothing outlives its request.

    `waiting` are the batcher's rows by request and `keys` theirs, `finishing` the finisher's rows. Raises
    AssertionError.
    """
    _require(len(set(finishing)) == len(finishing), "an image is being finished twice")
    _require(set(waiting) <= set(held), "the batcher knows a request that the engine forgot")
    _require({row.request_id for row in finishing} <= set(held), "latents outlive their request")
    wanted: set[BatchKey] = set()
    for request_id, request in held.items():
        own = [row for row in finishing if row.request_id == request_id]
        _check_request(request, waiting.get(request_id, ()), own)
        wanted |= {request.keys[image.stage] for image in request.images if not image.is_denoised}
    _require(wanted == set(keys), "the batcher has a key that no image waits for, or lacks one")


def _check_request(request: HeldRequest, to_do: Sequence[int], finishing: Sequence[RowId]) -> None:
    name = request.request_id
    delivered = [index for index, image in enumerate(request.images) if image.is_delivered]
    away = [index for index, image in enumerate(request.images) if image.is_away]
    places = [*to_do, *(row.index for row in finishing), *away, *delivered]
    _require(sorted(places) == list(range(len(request.images))), f"{name}: an image is lost or doubled")
    for row in finishing:
        _require(row == request.row_id(row.index), f"{name}: an image is finished in another pass")
    for index, image in enumerate(request.images):
        _require(image.is_denoised == (index not in to_do), f"{name}: an image is not where it is said to be")
        _check_image(name, image, passes=len(request.passes))
    _require(set(request.conditioning) <= set(range(len(request.passes))), f"{name}: an unknown pass")


def _check_image(name: str, image: HeldImage, *, passes: int) -> None:
    _require(image.row is None or not image.is_denoised, f"{name}: latents outlive their last step")
    _require(0 <= image.stage < passes, f"{name}: an image is in a pass that the request does not have")
    if image.is_delivered:
        _require(image.stage == passes - 1, f"{name}: an image was delivered before its last pass")
    if image.stage > 0 and not image.is_denoised:
        has_start = image.start.latents is not None or image.start.pixels is not None
        _require(has_start or image.row is not None, f"{name}: a later pass begins from nothing")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
