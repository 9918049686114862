"""People in a picture, and 33 points of each body, by MediaPipe's two networks. Draws nothing.

Source of the networks: Bazarevsky et al. 2020, arXiv:2006.10204.
"""

from __future__ import annotations

import math
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpu_runtime.people.detections import Detection, Detector, merge
from gpu_runtime.people.onnx_network import Floats, OnnxNetwork
from gpu_runtime.people.regions import Pixels, Points, Region, direction, tiles, whole

DETECTOR_PX = 224
DETECTOR_STRIDES = (8, 16, 32, 32, 32)
BODY_PX = 256
VALUES = 5
"""x, y, depth, and logits of being seen and of being in the picture."""
POINTS = 33
HIPS, REACH = 33, 34
"""Two further points: the middle of the hips, and one on the circle around the whole body."""

HEAD_AND_SHOULDERS = (0, 11, 12)
HEAT_CELLS = 64
HEAT_REACH = 3

SURE = 0.5
SURE_IN_TILE = 0.6
IS_BODY = 0.5
MARGIN = 1.25
SMALLEST_TILE_PX = 256
LARGEST_CROWD = 16


@dataclass(frozen=True, slots=True, eq=False)
class Body:
    """One person, in pixels of the picture."""

    score: float
    points: Points
    """[33, 3]; they may lie outside the picture."""
    seen: Floats
    """[33], 0 to 1: how likely each point is in the picture and not covered."""


@dataclass(frozen=True, slots=True)
class BodyNetworks:
    """Both networks of this module."""

    detector: Detector
    landmarks: OnnxNetwork


def open_bodies(folder: Path) -> BodyNetworks:
    """From the folder of mediapipe-pose."""
    detector = Detector(
        network=OnnxNetwork(folder / "detection.onnx"), input_px=DETECTOR_PX, strides=DETECTOR_STRIDES
    )
    return BodyNetworks(detector, OnnxNetwork(folder / "landmarks.onnx"))


def find_bodies(picture: Pixels, networks: BodyNetworks) -> Generator[float, None, list[Body]]:
    """All people, most certain first; yields shares done."""
    bodies: list[Body] = []
    found = networks.detector.find(picture, whole(picture), threshold=SURE)
    yield 0.2
    yield from _add(bodies, picture, networks, found, 0.3)
    if max(picture.shape[:2]) / 2 >= SMALLEST_TILE_PX:
        found = []
        for tile in tiles(picture, 1 / 2):
            found += networks.detector.find(picture, tile, threshold=SURE_IN_TILE)
            yield 0.4
        yield from _add(bodies, picture, networks, found, 0.9)
    return bodies


def _add(
    bodies: list[Body], picture: Pixels, networks: BodyNetworks, found: list[Detection], share: float
) -> Generator[float, None, None]:
    """What was found in the whole picture comes first: tiles cut people in two."""
    for detection in merge(found)[: LARGEST_CROWD - len(bodies)]:
        body = body_of(picture, networks.landmarks, detection)
        if body is not None and not any(_is_same(body, other) for other in bodies):
            bodies.append(body)
        yield share


def body_of(picture: Pixels, network: OnnxNetwork, detection: Detection) -> Body | None:
    """The body's points, or None where the network sees nobody.

    Runs twice: the points of the first run say better than the detector where the body is.
    """
    region = _around(detection.points[0], detection.points[1])
    body: Body | None = None
    for _ in range(2):
        outputs = network.run(region.crop(picture, BODY_PX).astype(np.float32) / np.float32(255))
        if float(outputs[1].reshape(-1)[0]) < IS_BODY:
            return body
        values = _refined(outputs[0].reshape(-1, VALUES), outputs[3].reshape(HEAT_CELLS, HEAT_CELLS, -1))
        points = region.bring_back(values[:, :3] / np.float32(BODY_PX))
        body = Body(detection.score, points[:POINTS], _seen(values[:POINTS]))
        region = _around(points[HIPS], points[REACH])
    return body


def _refined(values: Floats, heat: Floats) -> Floats:
    """Points moved to the middle of the warmth around them, where the network's heat maps are sure of it.

    `heat`: logits [cells, cells, points].
    """
    refined = values.copy()
    for index, (x, y) in enumerate(values[:, :2] * (HEAT_CELLS / BODY_PX)):
        left, top = max(int(x) - HEAT_REACH, 0), max(int(y) - HEAT_REACH, 0)
        around = heat[top : int(y) + HEAT_REACH + 1, left : int(x) + HEAT_REACH + 1, index]
        if not around.size or around.max() < 0:
            continue
        warmth = 1 / (1 + np.exp(-np.clip(around, -50, 50)))
        rows, columns = np.indices(warmth.shape)
        refined[index, 0] = (left + float((columns * warmth).sum() / warmth.sum())) * BODY_PX / HEAT_CELLS
        refined[index, 1] = (top + float((rows * warmth).sum() / warmth.sum())) * BODY_PX / HEAT_CELLS
    return refined


def _seen(values: Floats) -> Floats:
    """A point is covered, or outside, when either of the two says so."""
    return 1 / (1 + np.exp(-np.clip(values[:, 3:5].min(axis=1), -50, 50)))


def _around(centre: Points, reach: Points) -> Region:
    """The square around the circle through `reach`, which is above the head of somebody upright."""
    radius = math.hypot(float(reach[0] - centre[0]), float(reach[1] - centre[1]))
    angle = direction(centre[:2], reach[:2]) + math.pi / 2
    return Region(float(centre[0]), float(centre[1]), max(2 * radius * MARGIN, 8.0), angle)


def _is_same(one: Body, other: Body) -> bool:
    """Two detections may lead to one body: heads and shoulders are then in one place."""
    first, second = (body.points[HEAD_AND_SHOULDERS, :2] for body in (one, other))
    breadth = max(float(np.linalg.norm(points[1] - points[2])) for points in (first, second))
    return float(np.linalg.norm(first - second, axis=1).mean()) < 0.4 * breadth
