"""Faces of a picture, and 468 points of each, by MediaPipe's two networks. Knows nothing about swapping.

Sources: Bazarevsky et al. 2019 (arXiv:1907.05047) and Kartynnik et al. 2019 (arXiv:1907.06724).
"""

from __future__ import annotations

import math
from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from gpu_runtime.people.detections import Detection, Detector, merge
from gpu_runtime.people.onnx_network import OnnxNetwork
from gpu_runtime.people.regions import Pixels, Points, Region, direction, tiles, whole

DETECTOR_PX = 128
DETECTOR_STRIDES = (8, 16, 16, 16)
MESH_PX = 192

SURE = 0.5
"""Score of a detection in the whole picture."""
SURE_IN_TILE = 0.65
"""Tiles are many: each would bring its own mistakes."""
IS_FACE_LOGIT = 0.0
"""The mesh network's own opinion of what it was shown: even odds."""
CERTAIN = 0.85
"""Below, the face is looked at again, closer and turned by quarters."""
TURNS = (1, 3, 2)
"""Quarters of a turn."""
CLOSER = 2.5
"""Side of that second look, in sizes of the face."""
MARGIN = 1.5
"""The mesh network was trained on regions that much larger than the face."""
SMALLEST_TILE_PX = 192
LARGEST_FACES = 32
"""Found at most; a crowd beyond that has faces of a few pixels."""

RIGHT_EYE_OUTER, LEFT_EYE_OUTER = 33, 263
"""Of the person; the right eye is on the left of the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face, in pixels of the picture."""

    score: float
    mesh: Points
    """[468, 3]; depth in pixels, 0 at the head's middle, negative towards the camera."""

    @property
    def box(self) -> tuple[float, float, float, float]:
        """left, top, right, bottom"""
        left, top = self.mesh[:, :2].min(axis=0)
        right, bottom = self.mesh[:, :2].max(axis=0)
        return float(left), float(top), float(right), float(bottom)

    @property
    def size(self) -> float:
        """Area of its box."""
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


@dataclass(frozen=True, slots=True)
class FaceNetworks:
    """Both networks of this module."""

    detector: Detector
    mesh: OnnxNetwork


def open_detector(folder: Path) -> Detector:
    """From the folder of mediapipe-face-detection."""
    network = OnnxNetwork(folder / "detection.onnx")
    return Detector(network=network, input_px=DETECTOR_PX, strides=DETECTOR_STRIDES)


def open_mesh(folder: Path) -> OnnxNetwork:
    """From the folder of mediapipe-face-mesh."""
    return OnnxNetwork(folder / "landmarks.onnx")


def find_faces(picture: Pixels, networks: FaceNetworks) -> Generator[float, None, list[Face]]:
    """All faces, largest first; yields shares done.

    Looks at the whole picture and at tiles of it, for the detector sees only faces above a seventh of its
    input; when nothing is there, at the picture turned by quarters.
    """
    found: list[Detection] = []
    looks = _looks(picture)
    for index, (region, threshold) in enumerate(looks):
        found += networks.detector.find(picture, region, threshold=threshold)
        yield 0.8 * (index + 1) / len(looks)
    if not found:
        for quarters in TURNS:
            found += [d for look in looks[:1] for d in _turned(picture, networks.detector, look[0], quarters)]
            yield 0.8
    faces: list[Face] = []
    for detection in merge(found)[:LARGEST_FACES]:
        face = mesh_of(picture, networks.mesh, _set_upright(picture, networks.detector, detection))
        if face is not None and not any(_is_same(face, other) for other in faces):
            faces.append(face)
        yield 0.9
    return sorted(faces, key=lambda face: -face.size)


def _looks(picture: Pixels) -> list[tuple[Region, float]]:
    longer = max(picture.shape[:2])
    shares = [share for share in (1 / 2, 1 / 4) if longer * share >= SMALLEST_TILE_PX]
    return [(whole(picture), SURE)] + [
        (tile, SURE_IN_TILE) for share in shares for tile in tiles(picture, share)
    ]


def _turned(picture: Pixels, detector: Detector, region: Region, quarters: int) -> list[Detection]:
    turned = replace(region, angle=quarters * math.pi / 2)
    return detector.find(picture, turned, threshold=SURE)


def _set_upright(picture: Pixels, detector: Detector, detection: Detection) -> Detection:
    """The same face with its eyes where they are: some faces on their head are taken for upright ones."""
    if detection.score >= CERTAIN:
        return detection
    x, y = (float(value) for value in detection.centre[0])
    closer = Region(x, y, detection.size * CLOSER)
    others = [other for quarters in (0, *TURNS) for other in _turned(picture, detector, closer, quarters)[:1]]
    return max([detection, *others], key=lambda other: other.score)


def mesh_of(picture: Pixels, network: OnnxNetwork, detection: Detection) -> Face | None:
    """The face's points, or None where the network sees no face.

    Runs twice: the points of the first run say better than the detector where and how turned the face is.
    """
    right_eye, left_eye = detection.points[0], detection.points[1]
    x, y = (float(value) for value in detection.centre[0])
    region = Region(x, y, detection.size * MARGIN, direction(right_eye, left_eye))
    face: Face | None = None
    for _ in range(2):
        points, logit = network.run(region.crop(picture, MESH_PX).astype(np.float32) / np.float32(255))
        if float(logit.reshape(-1)[0]) < IS_FACE_LOGIT:
            return face
        mesh = region.bring_back(points.reshape(-1, 3) / np.float32(MESH_PX))
        face = Face(detection.score, mesh)
        region = _region_of(mesh)
    return face


def _region_of(mesh: Points) -> Region:
    """The square around the points, along the line of the eyes."""
    angle = direction(mesh[RIGHT_EYE_OUTER], mesh[LEFT_EYE_OUTER])
    cos, sin = math.cos(angle), math.sin(angle)
    upright = mesh[:, :2] @ np.array([[cos, -sin], [sin, cos]], dtype=np.float32)
    low, high = upright.min(axis=0), upright.max(axis=0)
    x, y = (low + high) / 2
    side = float((high - low).max()) * MARGIN
    return Region(float(x * cos - y * sin), float(x * sin + y * cos), side, angle)


def _is_same(one: Face, other: Face) -> bool:
    """Two detections may lead to one face: their noses are then in one place."""
    apart = float(np.linalg.norm(one.mesh[:, :2].mean(axis=0) - other.mesh[:, :2].mean(axis=0)))
    return apart < 0.3 * math.sqrt(min(one.size, other.size))


def descriptions(faces: list[Face]) -> list[Mapping[str, object]]:
    """What a caller is told of the faces: boxes in whole pixels and scores."""
    return [{"box": [round(value) for value in face.box], "score": round(face.score, 3)} for face in faces]
