"""A warped face laid over another one: in the target's colours and light, its edges lost. numpy and cv2."""

from __future__ import annotations

from collections.abc import Generator

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_runtime.people.face_points import (
    EYE_LIDS,
    INNER_LIPS,
    LEFT_BROW,
    LEFT_EYE,
    LIPS_ACROSS,
    OUTER_LIPS,
    OVAL,
    RIGHT_BROW,
    RIGHT_EYE,
    openness,
)
from gpu_runtime.people.face_warp import Warped
from gpu_runtime.people.regions import Pixels, Points
from gpu_runtime.postprocess.blurs import blurred

Floats = NDArray[np.float32]

POISSON_PX = 320
"""Side at which the seam is solved. What Poisson's equation adds to a face is smooth: it enlarges well."""
LARGEST_SEAM = 16.0
"""Of 255."""
CLOSED_EYE = 0.12
OPEN_MOUTH = 0.08
SKIN_SPREAD = 3.5
"""Standard deviations from a face's own skin within which a pixel of its forehead is skin and not hair."""


def blend(
    target: Pixels, target_mesh: Points, warped: Warped, source_mesh: Points
) -> Generator[float, None, Pixels]:
    """The target with the warped face, all in the frame's pixels; its own pixels where nothing is laid.

    The light that falls on the target's face stays: its colours' means and spreads, and its slow changes.
    Yields shares done.
    """
    size = _size(target_mesh)
    cover = covering(target, target_mesh, warped, source_mesh)
    yield 0.3
    skin = _polygons(target.shape[:2], warped.mesh, [OVAL]) * warped.seen
    for feature in (RIGHT_EYE, LEFT_EYE, OUTER_LIPS):
        skin *= 1 - _polygons(target.shape[:2], warped.mesh, [feature])
    matched = relit(warped.pixels, target, skin * (cover > 0.3), sigma=0.12 * size)
    yield 0.6
    joined = without_seam(matched, target, cover)
    yield 0.8
    share = cover[:, :, None]
    mixed = joined * share + target.astype(np.float32) * (1 - share)
    return np.round(np.clip(mixed, 0, 255)).astype(np.uint8)


def covering(target: Pixels, target_mesh: Points, warped: Warped, source_mesh: Points) -> Floats:
    """[h, w], 0 to 1: how far each pixel is the source's. Soft at the outline; hair stays."""
    shape, size = target.shape[:2], _size(target_mesh)
    cover = _polygons(shape, warped.mesh, [OVAL]) * warped.seen
    cover = _shrink(cover, 0.035 * size)
    cover *= _bare_forehead(target, warped, size)
    for eye, lids in ((RIGHT_EYE, EYE_LIDS[0]), (LEFT_EYE, EYE_LIDS[1])):
        states = [openness(mesh, lids) < CLOSED_EYE for mesh in (target_mesh, source_mesh)]
        if states[0] != states[1]:
            cover *= 1 - _grow(_polygons(shape, warped.mesh, [eye]), 0.03 * size)
    mouth, own_mouth = openness(target_mesh, LIPS_ACROSS), openness(source_mesh, LIPS_ACROSS)
    if mouth > OPEN_MOUTH and own_mouth < mouth / 2:
        # The source's closed lips hold no teeth to show: the target's own stay.
        cover *= 1 - _polygons(shape, warped.mesh, [INNER_LIPS])
    elif own_mouth > OPEN_MOUTH and mouth < own_mouth / 2:
        # Its teeth would be squeezed between closed lips: the target's own lips stay.
        cover *= 1 - _grow(_polygons(shape, warped.mesh, [OUTER_LIPS]), 0.02 * size)
    return _soften(cover, 0.035 * size)


def _bare_forehead(target: Pixels, warped: Warped, size: float) -> Floats:
    """[h, w]: 0 where hair lies over a forehead, in the target or in the source; 1 elsewhere."""
    shape = target.shape[:2]
    above = _forehead(shape, warped.mesh)
    face = _polygons(shape, warped.mesh, [OVAL]) * warped.seen * (1 - above)
    for feature in (RIGHT_EYE, LEFT_EYE, RIGHT_BROW, LEFT_BROW, OUTER_LIPS):
        face *= 1 - _polygons(shape, warped.mesh, [feature])
    bare = np.minimum(_skin(target, face), _skin(warped.pixels, face))
    closed = cv2.morphologyEx(bare, cv2.MORPH_CLOSE, _disc(0.02 * size))
    bare = _shrink(np.asarray(closed, dtype=np.float32), 0.015 * size)
    return (1 - above * (1 - bare)).astype(np.float32)


def _forehead(shape: tuple[int, ...], mesh: Points) -> Floats:
    """What lies between the brows and the top of the outline."""
    temples = (*OVAL[-8:], *OVAL[:9])
    brows = (*LEFT_BROW[5:][::-1], *RIGHT_BROW[5:])
    return _polygons(shape, mesh, [(*temples, *brows)])


def _skin(picture: Pixels, sure: Floats) -> Floats:
    """[h, w]: 1 where the colour is one of those in `sure`, 0 elsewhere."""
    lab = cv2.cvtColor(picture, cv2.COLOR_RGB2LAB).astype(np.float32)
    known = lab[sure > 0.5]
    if len(known) < 16:
        return np.ones(picture.shape[:2], dtype=np.float32)
    middle = np.median(known, axis=0)
    spread = np.median(np.abs(known - middle), axis=0) * 1.48 + np.array([6, 3, 3], dtype=np.float32)
    distance = np.sqrt((((lab - middle) / spread) ** 2).sum(axis=2))
    return (distance < SKIN_SPREAD).astype(np.float32)


def relit(face: Pixels, target: Pixels, skin: Floats, *, sigma: float) -> Floats:
    """[h, w, 3] RGB 0 to 255: the face with the target's colours, and its light where that changes slowly.

    `skin`: where both are compared. `sigma`: pixels; what changes over more than that is light.
    """
    own = cv2.cvtColor(face.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    other = cv2.cvtColor(target.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    where = skin > 0.5
    if where.sum() < 16:
        return face.astype(np.float32)
    means, other_means = own[where].mean(axis=0), other[where].mean(axis=0)
    ratio = np.clip(other[where].std(axis=0) / np.maximum(own[where].std(axis=0), 1e-3), 0.7, 1.4)
    matched = (own - means) * ratio + other_means
    slow = _slow(other - matched, where.astype(np.float32), sigma)
    # All of the light's change, half of the colours': lips and cheeks keep their own.
    matched += slow * np.array([0.9, 0.5, 0.5], dtype=np.float32)
    matched[:, :, 0] = np.clip(matched[:, :, 0], 0, 100)
    rgb = cv2.cvtColor(matched.astype(np.float32), cv2.COLOR_LAB2RGB)
    return np.asarray(np.clip(rgb, 0, 1) * 255, dtype=np.float32)


def _slow(values: Floats, weights: Floats, sigma: float) -> Floats:
    """`values` where there are weights, blurred by sigma as if there were nothing else."""
    sums, totals = blurred(values * weights[:, :, None], sigma), blurred(weights, sigma)
    return np.asarray(sums / np.maximum(totals, 0.02)[:, :, None], dtype=np.float32)


def without_seam(face: Floats, target: Pixels, cover: Floats) -> Floats:
    """[h, w, 3] 0 to 255: the face plus the smooth surface that meets the target around `cover`.

    Source: Pérez et al. 2003, "Poisson image editing".
    """
    height, width = target.shape[:2]
    scale = min(1.0, POISSON_PX / max(height, width))
    size = (max(round(width * scale), 3), max(round(height * scale), 3))
    small_target = cv2.resize(target, size, interpolation=cv2.INTER_AREA)
    small_face = cv2.resize(np.clip(face, 0, 255).astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    inside = (cv2.resize(cover, size, interpolation=cv2.INTER_AREA) > 0.5).astype(np.uint8) * 255
    inside[[0, -1], :] = 0
    inside[:, [0, -1]] = 0
    if not inside.any():
        return face
    left, top, across, down = cv2.boundingRect(inside)
    centre = (left + across // 2, top + down // 2)
    cloned = cv2.seamlessClone(small_face, small_target, inside, centre, cv2.NORMAL_CLONE)
    added = (cloned.astype(np.float32) - small_face) * (inside > 0)[:, :, None]
    # Colours match already: more than this is hair or a hat at the edge, not light, and must not spread.
    added = LARGEST_SEAM * np.tanh(added / LARGEST_SEAM)
    smooth = _slow(added, (inside > 0).astype(np.float32), max(size) / 40)
    return np.asarray(face + cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR))


def _polygons(shape: tuple[int, ...], mesh: Points, polygons: list[tuple[int, ...]]) -> Floats:
    """[h, w]: 1 inside."""
    canvas = np.zeros(shape[:2], dtype=np.uint8)
    for polygon in polygons:
        cv2.fillPoly(canvas, [np.round(mesh[list(polygon), :2] * 16 - 8).astype(np.int32)], 1, shift=4)
    return canvas.astype(np.float32)


def _size(mesh: Points) -> float:
    """A face's, in pixels: the root of its box's area."""
    return float(np.sqrt(np.prod(np.ptp(mesh[:, :2], axis=0))))


def _disc(radius: float) -> NDArray[np.uint8]:
    side = 2 * max(round(radius), 1) + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), dtype=np.uint8)


def _shrink(mask: Floats, radius: float) -> Floats:
    return np.asarray(cv2.erode(mask, _disc(radius), borderValue=0), dtype=np.float32)


def _grow(mask: Floats, radius: float) -> Floats:
    return np.asarray(cv2.dilate(mask, _disc(radius)), dtype=np.float32)


def _soften(mask: Floats, sigma: float) -> Floats:
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), max(sigma, 0.5)), dtype=np.float32)
