"""Which of the 468 points of MediaPipe's face mesh are where, and what a mesh says of pose and shape.

Right and left are the person's. Numbers: MediaPipe's canonical face model.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_runtime.people.regions import Points

OVAL: tuple[int, ...] = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152),
    *(148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
"""Around the face, from the top of the forehead by the person's left."""
RIGHT_EYE = (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246)
LEFT_EYE = (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466)
RIGHT_BROW = (46, 53, 52, 65, 55, 107, 66, 105, 63, 70)
LEFT_BROW = (276, 283, 282, 295, 285, 336, 296, 334, 293, 300)
OUTER_LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185)
INNER_LIPS = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191)

FOREHEAD_TOP, CHIN = 10, 152
RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263
EYE_LIDS = ((159, 145, 33, 133), (386, 374, 263, 362))
"""Of each eye: upper lid, lower lid, both corners."""
LIPS_ACROSS = (13, 14, 78, 308)
"""Upper and lower inner lip, both corners."""

LEAST_GAP = 0.024
"""Between upper and lower lip while triangles are sought, in distances of the eyes."""


def openness(mesh: Points, points: Sequence[int]) -> float:
    """How far two points of an eye or mouth are apart, in shares of the distance of its corners."""
    upper, lower, one, other = (mesh[index] for index in points)
    return float(np.linalg.norm(upper - lower) / max(float(np.linalg.norm(one - other)), 1e-6))


def frontal(mesh: Points) -> Points:
    """[468, 3]: the head upright and looking ahead; 1 is the distance of the eyes' outer corners."""
    across = mesh[LEFT_EYE_OUTER] - mesh[RIGHT_EYE_OUTER]
    width = float(np.linalg.norm(across))
    x = across / max(width, 1e-6)
    down = mesh[CHIN] - mesh[FOREHEAD_TOP]
    down = down - x * float(down @ x)
    y = down / max(float(np.linalg.norm(down)), 1e-6)
    axes = np.stack([x, y, np.cross(x, y)], axis=1)
    return ((mesh - mesh.mean(axis=0)) @ axes / max(width, 1e-6)).astype(np.float32)


def posed(mesh: Points, like: Points) -> Points:
    """[468, 3]: a head's shape moved, turned and scaled to where another one is.

    Source: Umeyama 1991, least squares over all points.
    """
    own, other = mesh - mesh.mean(axis=0), like - like.mean(axis=0)
    left, strengths, right = np.linalg.svd(other.T @ own)
    signs = np.ones(3)
    signs[2] = np.sign(np.linalg.det(left @ right))
    turn = left @ np.diag(signs) @ right
    scale = float((strengths * signs).sum() / max(float((own**2).sum()), 1e-9))
    return (scale * own @ turn.T + like.mean(axis=0)).astype(np.float32)


def triangles_of(mesh: Points) -> NDArray[np.int32]:
    """[count, 3]: the face's surface as triangles of points, by Delaunay over its frontal view."""
    flat = _with_parted_lips(frontal(mesh)[:, :2])
    flat = ((flat - flat.min(axis=0)) / np.ptp(flat, axis=0) * 1000 + 1).astype(np.float32)
    division = cv2.Subdiv2D((0, 0, 1003, 1003))
    division.insert([(float(x), float(y)) for x, y in flat])
    number = {(float(x), float(y)): index for index, (x, y) in enumerate(flat)}
    corners = np.asarray(division.getTriangleList(), dtype=np.float32).reshape(-1, 3, 2)
    found = [[number.get((float(x), float(y)), -1) for x, y in triangle] for triangle in corners]
    return np.array([triangle for triangle in found if min(triangle) >= 0], dtype=np.int32)


def _with_parted_lips(flat: Points) -> Points:
    """Frontal points whose mouth is a little open: closed lips touch, and would be sewn to one another."""
    parted = flat.copy()
    half = len(INNER_LIPS) // 2
    for step in range(1, half):
        lower, upper = INNER_LIPS[step], INNER_LIPS[-step]
        missing = LEAST_GAP - float(flat[lower, 1] - flat[upper, 1])
        if missing > 0:
            parted[lower, 1] += missing / 2
            parted[upper, 1] -= missing / 2
    return parted
