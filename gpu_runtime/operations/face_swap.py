"""`faces.swap`: faces of one picture replaced by the face of another.

Without a network for swapping: the source's own pixels, bent into the target's pose and expression
(`people.face_warp`) and brought into its light (`people.face_blend`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Final

import numpy as np

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.operations.context import Context, Picture
from gpu_runtime.operations.faces import require_faces, rgb
from gpu_runtime.people.face_blend import blend
from gpu_runtime.people.face_likeness import likeness_of, most_like
from gpu_runtime.people.face_warp import warp_face
from gpu_runtime.people.faces import Face
from gpu_runtime.people.regions import Pixels
from gpu_runtime.postprocess.channels import has_alpha
from gpu_runtime.postprocess.pieces import within

LARGEST, REFERENCE, ALL = "largest", "reference", "all"
CHOICES: Final = (LARGEST, REFERENCE, ALL)

AROUND = 0.35
"""What of the target is worked on beyond the face's box, in sizes of it: light is compared there."""


def swap(context: Context) -> Iterator[float]:
    """target, source, [reference] -> the target with the largest face of the source.

    `which`: the target's "largest" face, "all", or the one most like the largest face of `reference`. Notes
    "faces" (replaced), "faces_found" (in the target), "chosen_by" and "source_face_px", the new face's width
    in its own picture: much smaller than in the target, it looks blurred. Raises PictureUnusable (no_face).
    """
    which = context.text("which", LARGEST)
    if which not in CHOICES:
        raise UnsupportedCombination(f"which must be one of {', '.join(CHOICES)}, not {which!r}")
    source_faces = yield from within(require_faces(context, "source"), 0.0, 0.2)
    target_faces = yield from within(require_faces(context, "target"), 0.2, 0.4)
    chosen = yield from within(_choose(context, which, target_faces), 0.4, 0.5)
    made = rgb(context, "target").copy()
    source = rgb(context, "source")
    # Smallest first: nearer faces, which are larger, are laid over those behind them.
    for index, face in enumerate(reversed(chosen)):
        for done in _replace(made, face, source, source_faces[0]):
            yield 0.5 + 0.5 * (index + done) / len(chosen)
    context.note("faces", len(chosen))
    context.note("source_face_px", round(source_faces[0].box[2] - source_faces[0].box[0]))
    context.note("faces_found", len(target_faces))
    context.put("image", _with_alpha(made, context.picture("target")))


def _choose(context: Context, which: str, faces: list[Face]) -> Generator[float, None, list[Face]]:
    if which == ALL:
        context.note("chosen_by", "all faces that were found")
        return faces
    if which == LARGEST:
        context.note("chosen_by", "size")
        return faces[:1]
    wanted = yield from require_faces(context, "reference")
    target = rgb(context, "target")
    likeness = likeness_of(rgb(context, "reference"), wanted[0])
    index = most_like(likeness, [likeness_of(target, face) for face in faces])
    context.note("chosen_by", "likeness in shape, shades and colour; no network for identities is used")
    return [faces[index]]


def _replace(target: Picture, face: Face, source: Pixels, source_face: Face) -> Generator[float, None, None]:
    """Write the new face into the target; yields shares done."""
    height, width = target.shape[:2]
    left, top, right, bottom = face.box
    around = AROUND * max(right - left, bottom - top)
    first_x, first_y = max(int(left - around), 0), max(int(top - around), 0)
    last_x, last_y = min(int(right + around) + 1, width), min(int(bottom + around) + 1, height)
    if last_x - first_x < 3 or last_y - first_y < 3:
        return
    frame = np.ascontiguousarray(target[first_y:last_y, first_x:last_x])
    mesh = face.mesh - np.array([first_x, first_y, 0], dtype=np.float32)
    warped = warp_face(source, source_face.mesh, mesh, (last_x - first_x, last_y - first_y))
    yield 0.2
    target[first_y:last_y, first_x:last_x] = yield from blend(frame, mesh, warped, source_face.mesh)
    yield 1.0


def _with_alpha(made: Picture, original: Picture) -> Picture:
    return np.dstack([made, original[:, :, 3]]) if has_alpha(original) else made
