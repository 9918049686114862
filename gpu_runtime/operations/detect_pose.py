"""`detect.openpose`, `detect.face`: people as lines in the colours that ControlNets know."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from gpu_runtime.errors import PictureUnusable
from gpu_runtime.operations.context import Context
from gpu_runtime.operations.faces import require_faces, rgb
from gpu_runtime.people.bodies import BodyNetworks, find_bodies, open_bodies
from gpu_runtime.preprocessors.skeletons import draw_bodies, draw_faces, joints_of

MOST_FACES = 10


def openpose(context: Context) -> Iterator[float]:
    """image -> OpenPose's drawing of the bodies in it. Raises PictureUnusable (no_person)."""
    picture = rgb(context, "image")
    bodies = yield from find_bodies(picture, context.load("model", _build))
    if not bodies:
        raise PictureUnusable(
            "no person was found in the image: use one in which head and shoulders are in view, or send the "
            "pose itself as a ready control image",
            code="no_person",
        )
    height, width = picture.shape[:2]
    context.note("people", len(bodies))
    context.put("image", draw_bodies([joints_of(body) for body in bodies], width, height))
    yield 1.0


def face(context: Context) -> Iterator[float]:
    """image -> outlines of its faces. threshold_a: how many at most, largest first (10); PictureUnusable."""
    faces = yield from require_faces(context, "image")
    kept = faces[: max(int(context.number("threshold_a", MOST_FACES)), 1)]
    height, width = context.picture("image").shape[:2]
    context.note("faces", len(kept))
    context.put("image", draw_faces(kept, width, height))
    yield 1.0


def _build(folder: Path, _device: str) -> BodyNetworks:
    return open_bodies(folder)
