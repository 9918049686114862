"""The pictures that the contact sheet is made of: photographs of scikit-image's wheel, and masks for them.

Nothing is downloaded. All are uint8 RGB [H, W, 3]; masks are grey [H, W], white where something is to change.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray

from gpu_runtime.images import resize
from tests.gpu_runtime.operations.photographs import astronaut, coffee, other_person, two_people

Pixels = NDArray[np.uint8]
Points = Sequence[tuple[float, float]]
"""Corners, x and y in shares of the sides."""


def cat() -> Pixels:
    """451 x 300, close up."""
    return np.asarray(skimage.data.chelsea())


def eye_of_the_cat() -> Pixels:
    """176 x 112 of the same: small enough for the slowest upscaler, and full of hair."""
    return np.ascontiguousarray(cat()[76:188, 110:286])


def rocket() -> Pixels:
    """640 x 427, at dusk."""
    return np.asarray(skimage.data.rocket())


def motorcycle() -> Pixels:
    """741 x 497, in a garage."""
    return np.asarray(skimage.data.stereo_motorcycle()[0])


def cameraman() -> Pixels:
    """512 x 512, from the side; its shades without colour."""
    return np.repeat(skimage.data.camera()[:, :, None], 3, axis=2)


def cup_on_paper() -> Pixels:
    """The coffee's cup and saucer before a plain backdrop, as shops photograph things."""
    picture = coffee()
    saucer = marked(picture, HANDLE, ellipse=(0.463, 0.545, 0.332, 0.424))
    things = np.maximum(saucer, marked(picture, [], ellipse=(0.48, 0.3, 0.192, 0.255)))
    share = cv2.GaussianBlur(things, (0, 0), 0.8)[:, :, None] / np.float32(255)
    backdrop = np.array([206, 216, 226], dtype=np.float32)
    return np.round(picture * share + backdrop * (1 - share)).astype(np.uint8)


def clay_balls() -> Pixels:
    """A drawing of three balls of the colour of skin, which the safety check takes for more than that."""
    canvas = np.full((256, 256, 3), 60, dtype=np.float32)
    down, across = np.mgrid[:256, :256].astype(np.float32)
    for x, y, width, height in ((136, 96, 80, 96), (64, 192, 80, 128), (168, 64, 120, 88)):
        depth = ((across - x) / width) ** 2 + ((down - y) / height) ** 2
        light = np.clip(1.05 - 0.45 * depth - 0.25 * (across - x) / width, 0.2, 1.1)
        inside = np.clip((1 - depth) * width / 2, 0, 1)[:, :, None]
        colour = np.array([214, 150, 120], dtype=np.float32) * light[:, :, None]
        canvas = canvas * (1 - inside) + colour * inside
    return np.clip(canvas, 0, 255).astype(np.uint8)


def marked(
    picture: Pixels, corners: Points, *, ellipse: tuple[float, float, float, float] | None = None
) -> Pixels:
    """A mask as large as the picture: a polygon, and an ellipse of centre and half axes in shares."""
    height, width = picture.shape[:2]
    mask = np.zeros((height, width), dtype=np.uint8)
    if corners:
        points = np.array([(x * width, y * height) for x, y in corners])
        cv2.fillPoly(mask, [points.astype(np.int32)], 255, lineType=cv2.LINE_AA)
    if ellipse is not None:
        x, y, across, down = ellipse
        centre, axes = (round(x * width), round(y * height)), (round(across * width), round(down * height))
        cv2.ellipse(mask, centre, axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
    return mask


HANDLE: Final = ((0.665, 0.2), (0.685, 0.165), (0.703, 0.175), (0.7, 0.25), (0.66, 0.5))
"""Of the spoon."""
SHUTTLE: Final = (
    (0.735, 0),
    (0.905, 0),
    (0.905, 0.34),
    (0.925, 0.545),
    (0.67, 0.545),
    (0.67, 0.4),
    (0.73, 0.26),
)
TOWER: Final = ((0.305, 0.26), (0.325, 0.26), (0.345, 0.92), (0.25, 0.92))
SPOON: Final = ((0.665, 0.14), (0.735, 0.14), (0.725, 0.3), (0.69, 0.56), (0.6, 0.62), (0.655, 0.45))

PHOTOGRAPHS: Final[Mapping[str, Callable[[], Pixels]]] = {
    "astronaut": astronaut,
    "coffee": coffee,
    "cat": cat,
    "eye of the cat": eye_of_the_cat,
    "rocket": rocket,
    "motorcycle": motorcycle,
    "cameraman": cameraman,
    "another person": other_person,
    "two people": two_people,
    "cup on paper": cup_on_paper,
    "clay balls": clay_balls,
    "mask of the shuttle": lambda: marked(astronaut(), SHUTTLE),
    "mask of the badge": lambda: marked(astronaut(), [], ellipse=(0.333, 0.752, 0.085, 0.085)),
    "mask of the tower": lambda: marked(rocket(), TOWER),
    "mask of the spoon": lambda: marked(coffee(), SPOON, ellipse=(0.61, 0.7, 0.1, 0.16)),
    "mask of the cup": lambda: marked(coffee(), [], ellipse=(0.48, 0.36, 0.2, 0.33)),
}


def photograph(name: str, *, longest_px: int = 0) -> Pixels:
    """By its name above, no side longer than `longest_px` unless that is 0."""
    picture = PHOTOGRAPHS[name]()
    scale = longest_px / max(picture.shape[:2]) if longest_px else 1.0
    if scale >= 1.0:
        return picture
    height, width = (max(1, round(side * scale)) for side in picture.shape[:2])
    return resize(picture, width=width, height=height)
