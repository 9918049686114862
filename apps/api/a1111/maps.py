"""Maps that ControlNet units follow, which are appended to the images of a request.

A map that a detector makes is a job of its own, beside that of the images: it counts as a call, and
`save_detected_map: false` in a unit does without it. A picture that is a map already is appended as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from apps.api.a1111.jobs import artifacts_of, require_success
from apps.api.a1111.modules import find_module
from apps.api.a1111.render import encoded, encoded_picture
from apps.api.a1111.translation import Taken
from apps.api.a1111.units import Unit, module_missing, resolution_of, threshold_of
from apps.apikeys.models import ApiKey
from apps.core import clock
from apps.generation.choices import ControlType, Kind
from apps.generation.models import GenerationJob
from apps.generation.request import GenerationRequest
from apps.generation.services import job_for
from apps.generation.wishes import DetectWish, StoredPicture


def map_requests(
    units: Sequence[Unit], taken: Taken, guided: GenerationRequest, key: ApiKey
) -> list[GenerationRequest]:
    """One for each map that a detector makes for `guided`. Raises as `submit_generation`."""
    if not any(_is_made(unit, taken) for unit in units):
        return []
    resolved = job_for(account=key.account, api_key=key, request=guided, now=clock.now()).resolved
    short_side = min(resolved.width, resolved.height)
    return [
        map_request(str(unit.values["module"]), unit.values, picture, short_side=short_side, mask=taken.mask)
        for unit, picture in zip(units, taken.controls, strict=True)
        if _is_made(unit, taken)
    ]


def _is_made(unit: Unit, taken: Taken) -> bool:
    """Not for inpainting without a mask of the request: what is looked at then is the picture itself."""
    if unit.is_hint or not unit.values["save_detected_map"]:
        return False
    row = find_module(str(unit.values["module"]))
    return row is None or row.type is not ControlType.INPAINT or taken.mask is not None


def map_request(
    module: str,
    values: Mapping[str, Any],
    picture: StoredPicture,
    *,
    short_side: int,
    mask: StoredPicture | None = None,
) -> GenerationRequest:
    """A detector by itself. Raises Refusal for a module that is not there, InvalidField."""
    row = find_module(module)
    if row is None:
        raise module_missing(module)
    return GenerationRequest(
        kind=Kind.DETECT,
        image=picture,
        mask=mask if row.type is ControlType.INPAINT else None,
        detect=DetectWish(
            type=row.type,
            resolution_px=resolution_of(values, short_side),
            threshold_a=threshold_of(values["threshold_a"]),
            threshold_b=threshold_of(values["threshold_b"]),
        ),
    )


def maps_of(units: Sequence[Unit], taken: Taken, made: Sequence[GenerationJob]) -> list[str]:
    """Base64, in the order of the units. Raises Refusal when a detector failed."""
    waiting = iter(made)
    found: list[str] = []
    for unit, picture in zip(units, taken.controls, strict=True):
        if _is_made(unit, taken):
            found += [encoded(artifact) for artifact in artifacts_of(require_success(next(waiting)))]
        elif unit.values["save_detected_map"]:
            found.append(encoded_picture(picture))
    return found
