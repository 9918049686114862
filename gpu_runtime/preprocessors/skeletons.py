"""Bodies and faces as control images: the drawings that ControlNets for poses and faces were trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from gpu_runtime.people.bodies import Body
from gpu_runtime.people.face_points import LEFT_EYE, OUTER_LIPS, OVAL, RIGHT_EYE
from gpu_runtime.people.faces import Face

Pixels = NDArray[np.uint8]
Joints = list[tuple[float, float] | None]
"""OpenPose's 18 joints in pixels, None where one is not seen."""

COLOURS: tuple[tuple[int, int, int], ...] = (
    *((255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0)),
    *((0, 255, 0), (0, 255, 85), (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255)),
    *((0, 0, 255), (85, 0, 255), (170, 0, 255), (255, 0, 255), (255, 0, 170), (255, 0, 85)),
)
"""RGB of joints 0 to 17, and of limbs 0 to 16. Numbers: OpenPose's drawing of the COCO body."""
LIMBS: tuple[tuple[int, int], ...] = (
    *((1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10)),
    *((1, 11), (11, 12), (12, 13), (1, 0), (0, 14), (14, 16), (0, 15), (15, 17)),
)
FROM_33 = (0, -1, 12, 14, 16, 11, 13, 15, 24, 26, 28, 23, 25, 27, 5, 2, 8, 7)
"""MediaPipe's point for each of OpenPose's joints; the neck (-1) is between the shoulders."""
SHOULDERS = (11, 12)
LIMB_SHADE = 0.6
THICKNESS = 4 / 512
"""Half a limb's width and a joint's radius, in shares of the shorter side."""
SEEN = 0.3

INNER_UPPER_LIP = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
INNER_LOWER_LIP = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
FACE_LINES: tuple[tuple[tuple[int, ...], tuple[int, int, int]], ...] = (
    ((*OVAL, OVAL[0]), (10, 200, 10)),
    ((*LEFT_EYE, LEFT_EYE[0]), (10, 200, 180)),
    ((276, 283, 282, 295, 285), (10, 220, 180)),
    ((300, 293, 334, 296, 336), (10, 220, 180)),
    ((*RIGHT_EYE, RIGHT_EYE[0]), (180, 200, 10)),
    ((46, 53, 52, 65, 55), (180, 220, 10)),
    ((70, 63, 105, 66, 107), (180, 220, 10)),
    ((*OUTER_LIPS, OUTER_LIPS[0]), (10, 180, 10)),
    (INNER_UPPER_LIP, (10, 180, 10)),
    (INNER_LOWER_LIP, (10, 180, 10)),
)
"""Lines of a face and their colours in RGB, as the MediaPipe-face ControlNet has them."""
PUPILS = ((RIGHT_EYE, (250, 200, 10)), (LEFT_EYE, (10, 200, 250)))


def joints_of(body: Body) -> Joints:
    """OpenPose's joints of a body; a point that is likely covered or outside is left out."""
    joints: Joints = []
    for index in FROM_33:
        points = SHOULDERS if index < 0 else (index,)
        if min(float(body.seen[point]) for point in points) < SEEN:
            joints.append(None)
        else:
            x, y = body.points[list(points), :2].mean(axis=0)
            joints.append((float(x), float(y)))
    return joints


def draw_bodies(bodies: Iterable[Sequence[tuple[float, float] | None]], width: int, height: int) -> Pixels:
    """[height, width, 3]: limbs in darker colours, joints over them, on black."""
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    radius = max(THICKNESS * min(width, height), 1.0)
    for joints in bodies:
        for (start, end), colour in zip(LIMBS, COLOURS, strict=False):
            one, other = joints[start], joints[end]
            if one is not None and other is not None:
                _draw_limb(canvas, one, other, colour, radius)
        for joint, colour in zip(joints, COLOURS, strict=True):
            if joint is not None:
                place = (round(joint[0] * 16 - 8), round(joint[1] * 16 - 8))
                cv2.circle(canvas, place, round(radius * 16), colour, -1, cv2.LINE_8, shift=4)
    return canvas


def _draw_limb(
    canvas: Pixels,
    one: tuple[float, float],
    other: tuple[float, float],
    colour: tuple[int, int, int],
    radius: float,
) -> None:
    """An ellipse from joint to joint."""
    middle = (round((one[0] + other[0]) / 2), round((one[1] + other[1]) / 2))
    across, down = other[0] - one[0], other[1] - one[1]
    axes = (round(float(np.hypot(across, down)) / 2), round(radius))
    angle = round(float(np.degrees(np.arctan2(down, across))))
    outline = cv2.ellipse2Poly(middle, axes, angle, 0, 360, 1)
    cv2.fillConvexPoly(
        canvas, np.asarray(outline, dtype=np.int32), tuple(int(value * LIMB_SHADE) for value in colour)
    )


def draw_faces(faces: Iterable[Face], width: int, height: int) -> Pixels:
    """[height, width, 3]: outlines of faces, brows, eyes and lips, and pupils as dots, on black."""
    canvas = np.zeros((height, width, 3), dtype=np.uint8)
    thickness = max(round(2 * min(width, height) / 512), 1)
    for face in faces:
        for line, colour in FACE_LINES:
            points = np.round(face.mesh[list(line), :2] * 16 - 8).astype(np.int32)
            cv2.polylines(canvas, [points], False, colour, thickness, cv2.LINE_8, shift=4)
        for eye, colour in PUPILS:
            x, y = face.mesh[list(eye), :2].mean(axis=0)
            cv2.circle(canvas, (round(float(x)), round(float(y))), thickness, colour, -1)
    return canvas
