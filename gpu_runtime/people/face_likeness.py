"""Which of several faces is most like a given one, by shape and shades. No network for identities ships.

Good at finding the same face of the same photograph again, or of one taken at the same time. It compares how
faces look, light and expression included: one person may look like two in photographs taken years apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_runtime.people.face_points import CHIN, LEFT_EYE_OUTER, OVAL, RIGHT_EYE_OUTER, frontal
from gpu_runtime.people.faces import Face
from gpu_runtime.people.regions import Pixels

SIDE_PX = 48
PLACES = np.array([[11, 16], [37, 16], [24, 45]], dtype=np.float32)
"""Where the eyes' outer corners and the chin come to lie."""
SHAPE_WEIGHT = 8.0
"""A twentieth of the eyes' distance, which is much for a shape, counts as 0.4 of correlation."""
COLOUR_WEIGHT = 0.01


@dataclass(frozen=True, slots=True, eq=False)
class Likeness:
    """What a face is compared by."""

    shape: NDArray[np.float32]
    """[468, 2]: seen from the front, in distances of the eyes."""
    shades: NDArray[np.float32]
    """Of the face's pixels, upright and small: mean 0, length 1."""
    colour: NDArray[np.float32]
    """[2]: Lab's a and b, on average."""


def likeness_of(picture: Pixels, face: Face) -> Likeness:
    """Of one face of a picture."""
    corners = face.mesh[[RIGHT_EYE_OUTER, LEFT_EYE_OUTER, CHIN], :2]
    matrix = cv2.getAffineTransform(corners, PLACES)
    upright = cv2.warpAffine(picture, matrix, (SIDE_PX, SIDE_PX), flags=cv2.INTER_AREA)
    outline = face.mesh[list(OVAL), :2] @ matrix[:, :2].T + matrix[:, 2]
    inside = np.zeros((SIDE_PX, SIDE_PX), dtype=np.uint8)
    cv2.fillPoly(inside, [np.round(outline).astype(np.int32)], 1)
    lab = cv2.cvtColor(cv2.GaussianBlur(upright, (0, 0), 1.0), cv2.COLOR_RGB2LAB).astype(np.float32)
    lab[inside == 0] = lab[inside > 0].mean(axis=0) if inside.any() else 0
    shades = (lab[:, :, 0] - lab[:, :, 0].mean()).reshape(-1)
    return Likeness(
        shape=frontal(face.mesh)[:, :2],
        shades=shades / max(float(np.linalg.norm(shades)), 1e-6),
        colour=lab[:, :, 1:].mean(axis=(0, 1)),
    )


def difference(one: Likeness, other: Likeness) -> float:
    """0 for the same face of the same picture; more for others."""
    shape = float(np.sqrt(((one.shape - other.shape) ** 2).sum(axis=1).mean()))
    shades = 1 - float(one.shades @ other.shades)
    return shades + SHAPE_WEIGHT * shape + COLOUR_WEIGHT * float(np.linalg.norm(one.colour - other.colour))


def most_like(wanted: Likeness, others: Sequence[Likeness]) -> int:
    """Index of the least different one. `others` are not empty."""
    return int(np.argmin([difference(wanted, other) for other in others]))
