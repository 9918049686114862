"""One face's pixels bent into the place, pose and expression of another. Geometry; colours are left alone.

Piecewise affine over the triangles of the face's surface; what is turned away in either picture is left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_runtime.people.face_points import (
    INNER_LIPS,
    LEFT_EYE,
    LEFT_EYE_OUTER,
    LIPS_ACROSS,
    OUTER_LIPS,
    OVAL,
    RIGHT_EYE,
    RIGHT_EYE_OUTER,
    frontal,
    openness,
    posed,
    triangles_of,
)
from gpu_runtime.people.regions import Pixels, Points

OWN_SHAPE = 0.55
"""How far features lie where the source's face has them: 0 keeps the target's proportions, 1 the source's."""
RIM = 0.35
"""That far from the outline (in distances of the eyes) features move fully, at the outline not at all."""
CLOSED_MOUTH = 0.05
"""In shares of its width."""
LEAST_AREA = 0.1
"""Twice a triangle's area in square pixels."""
FINER, FINE_PX = 2, 640
"""Small frames are drawn larger and averaged: the edges of triangles would show as steps."""
NOSTRIL = 0.05
"""Gaps that small, in sizes of the face, are closed: nostrils face down in every picture."""
LEAST_SEEN = 0.2
"""A triangle that the source shows smaller, in shares of its frontal size, has no pixels worth showing."""


@dataclass(frozen=True, slots=True)
class Warped:
    """The source's face in the target's frame."""

    pixels: Pixels
    """[h, w, 3], of the frame's size; black where nothing is."""
    seen: NDArray[np.float32]
    """[h, w], 1 where the face is and the source shows it, else 0."""
    mesh: Points
    """Its points in the frame."""


def warp_face(source: Pixels, source_mesh: Points, target_mesh: Points, size: tuple[int, int]) -> Warped:
    """The source's face as it would look where the target's is. `size`: the target frame's width and height.

    Both meshes are in pixels of their pictures.
    """
    finer = FINER if max(size) <= FINE_PX else 1
    warped = _warp(source, source_mesh, placed(source_mesh, target_mesh) * np.float32(finer), size, finer)
    return replace(warped, mesh=warped.mesh / np.float32(finer))


def _warp(source: Pixels, source_mesh: Points, mesh: Points, size: tuple[int, int], finer: int) -> Warped:
    """`mesh` is in pixels of a frame `finer` times as large as `size`; so is the result's."""
    source, source_mesh = _shrunk(source, source_mesh, mesh)
    triangles = triangles_of(mesh)
    painted = _paint_numbers(mesh, triangles, (size[0] * finer, size[1] * finer))
    affine = _affine_maps(mesh[triangles][:, :, :2], source_mesh[triangles][:, :, :2])
    rows, columns = np.indices(painted.shape, dtype=np.float32)
    own = affine[np.maximum(painted, 0)]
    across = own[..., 0, 0] * columns + own[..., 0, 1] * rows + own[..., 0, 2]
    down = own[..., 1, 0] * columns + own[..., 1, 1] * rows + own[..., 1, 2]
    pixels = cv2.remap(source, across, down, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    seen = np.where(painted >= 0, _visible(source_mesh, triangles)[np.maximum(painted, 0)], np.float32(0))
    side = 2 * max(round(NOSTRIL * float(np.ptp(mesh[:, 1]))), 1) + 1
    seen = cv2.morphologyEx(seen.astype(np.float32), cv2.MORPH_CLOSE, np.ones((side, side), dtype=np.uint8))
    seen[painted < 0] = 0
    pixels[painted < 0] = 0
    if finer > 1:
        pixels, seen = (cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in (pixels, seen))
    return Warped(np.asarray(pixels, dtype=np.uint8), np.asarray(seen, dtype=np.float32), mesh)


def placed(source_mesh: Points, target_mesh: Points) -> Points:
    """[468, 3]: the target's outline, pose and expression with features towards the source's proportions.

    Eyes and mouth move as wholes: how far they are open is the target's.
    """
    away = posed(source_mesh, target_mesh)[:, :2] - target_mesh[:, :2]
    for feature in (RIGHT_EYE, LEFT_EYE, OUTER_LIPS + INNER_LIPS):
        away[list(feature)] = away[list(feature)].mean(axis=0)
    mesh = target_mesh.copy()
    if openness(target_mesh, LIPS_ACROSS) < CLOSED_MOUTH:
        _close(mesh)
    flat = frontal(target_mesh)[:, :2]
    to_outline = np.linalg.norm(flat[:, None] - flat[None, list(OVAL)], axis=2).min(axis=1)
    share = np.clip(to_outline / RIM, 0, 1)
    share = share * share * (3 - 2 * share)
    mesh[:, :2] += OWN_SHAPE * share[:, None] * away
    return mesh


def _close(mesh: Points) -> None:
    """Both inner lips on one line: what a source shows between its own has no place there."""
    half = len(INNER_LIPS) // 2
    for step in range(1, half):
        pair = [INNER_LIPS[step], INNER_LIPS[-step]]
        mesh[pair] = mesh[pair].mean(axis=0)


def _shrunk(source: Pixels, mesh: Points, target_mesh: Points) -> tuple[Pixels, Points]:
    """The source at the target's scale where it is larger: sampling alone would skip its pixels."""
    scale = float(np.linalg.norm(np.ptp(target_mesh, axis=0)) / np.linalg.norm(np.ptp(mesh, axis=0)))
    if scale > 0.8:
        return source, mesh
    height, width = source.shape[:2]
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    small = cv2.resize(source, size, interpolation=cv2.INTER_AREA)
    ratio = np.array([size[0] / width, size[1] / height, scale], dtype=np.float32)
    return np.asarray(small, dtype=np.uint8), mesh * ratio


def _paint_numbers(mesh: Points, triangles: NDArray[np.int32], size: tuple[int, int]) -> NDArray[np.int32]:
    """[h, w]: which triangle is seen at each pixel of the frame, -1 for none; nearer ones cover others."""
    painted = np.full((size[1], size[0]), -1, dtype=np.int32)
    corners = np.round(mesh[triangles][:, :, :2] * 16 - 8).astype(np.int32)
    areas = np.abs(_signed_areas(mesh[triangles][:, :, :2]))
    for index in np.argsort(-mesh[triangles][:, :, 2].mean(axis=1), kind="stable"):
        # cv2 draws the outline of what has no inside, too.
        if areas[index] > LEAST_AREA:
            cv2.fillConvexPoly(painted, corners[index], int(index), cv2.LINE_8, shift=4)
    return painted


def _affine_maps(frame: Points, source: Points) -> NDArray[np.float32]:
    """[count, 2, 3]: from a pixel's index in the frame to one in the source; both [count, 3, 2] corners."""
    corners = np.concatenate([frame - 0.5, np.ones((*frame.shape[:2], 1), dtype=np.float32)], axis=2)
    # Triangles seen edge on have no inverse; the pseudo-inverse maps the few pixels they own to their line.
    inverse = np.linalg.pinv(corners.astype(np.float64))
    return np.swapaxes(inverse @ (source - 0.5), 1, 2).astype(np.float32)


def _visible(mesh: Points, triangles: NDArray[np.int32]) -> NDArray[np.float32]:
    """[count]: 1 for triangles that face the camera, 0 for those seen edge on or not at all."""
    straight = frontal(mesh)
    unit = float(np.linalg.norm(mesh[LEFT_EYE_OUTER] - mesh[RIGHT_EYE_OUTER]))
    shown = _signed_areas(mesh[triangles][:, :, :2]) / max(unit * unit, 1e-6)
    whole = _signed_areas(straight[triangles][:, :, :2])
    return (shown * np.sign(whole) > LEAST_SEEN * np.abs(whole)).astype(np.float32)


def _signed_areas(corners: Points) -> NDArray[np.float32]:
    one, other = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
