"""Faces, their points and bodies against what MediaPipe 0.10.21 itself says of the same photograph."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest

from gpu_runtime.errors import WeightsCorrupt
from gpu_runtime.people.bodies import Body, find_bodies, open_bodies
from gpu_runtime.people.faces import Face, FaceNetworks, find_faces, open_detector, open_mesh
from gpu_runtime.people.onnx_network import OnnxNetwork
from gpu_runtime.utility.shipped import WEIGHTS
from tests.gpu_runtime.operations.photographs import NOSE, Pixels, astronaut, coffee, turned, two_people

T = TypeVar("T")

MEDIAPIPE_FACE = {
    1: (224.1, 131.2, -23.3),
    10: (227.5, 72.4, -11.2),
    13: (223.5, 142.7, -5.8),
    14: (223.1, 149.6, -3.4),
    33: (194.6, 100.9, 3.9),
    61: (201.8, 139.5, 6.9),
    152: (221.3, 175.5, 8.7),
    234: (179.0, 111.1, 41.4),
    263: (256.7, 104.1, 4.5),
    291: (245.9, 142.2, 7.2),
    454: (270.9, 116.3, 42.1),
}
"""x, y and depth in pixels: FaceMesh(static_image_mode=True) on the astronaut."""
MEDIAPIPE_BODY = {
    0: (222.7, 128.0),
    2: (248.9, 112.5),
    5: (205.0, 103.3),
    7: (268.0, 122.8),
    8: (190.4, 107.4),
    11: (306.2, 256.6),
    12: (112.7, 240.0),
}
"""Pose(static_image_mode=True, model_complexity=1): head and shoulders."""

NETWORKS = FaceNetworks(
    open_detector(WEIGHTS / "mediapipe-face-detection"), open_mesh(WEIGHTS / "mediapipe-face-mesh")
)
BODIES = open_bodies(WEIGHTS / "mediapipe-pose")


def result(work: Generator[float, None, T]) -> T:
    while True:
        try:
            next(work)
        except StopIteration as stop:
            value: T = stop.value
            return value


def faces_of(picture: Pixels) -> list[Face]:
    return result(find_faces(picture, NETWORKS))


def bodies_of(picture: Pixels) -> list[Body]:
    return result(find_bodies(picture, BODIES))


def test_points_of_the_face_are_mediapipes() -> None:
    [face] = faces_of(astronaut())
    mine = face.mesh[list(MEDIAPIPE_FACE)]
    theirs = np.array(list(MEDIAPIPE_FACE.values()))
    assert float(np.linalg.norm(mine[:, :2] - theirs[:, :2], axis=1).mean()) < 1.0
    assert mine == pytest.approx(theirs, abs=2.5)
    assert face.score > 0.8


@pytest.mark.parametrize("degrees", [-50, 30, 90, 180, 270])
def test_turned_faces_are_found_with_their_eyes_where_they_are(degrees: float) -> None:
    [face] = faces_of(turned(astronaut(), degrees))
    [straight] = faces_of(astronaut())
    angle = np.radians(-degrees)
    rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    expected = (straight.mesh[:, :2] - 256) @ rotation + 256
    assert float(np.linalg.norm(face.mesh[:, :2] - expected, axis=1).mean()) < 4


def test_several_faces_come_largest_first() -> None:
    faces = faces_of(two_people())
    assert len(faces) == 2
    assert faces[0].size > faces[1].size
    left, top, right, bottom = faces[0].box
    assert left < NOSE[0] < right
    assert top < NOSE[1] < bottom
    assert faces[1].box[0] > 512


def test_small_faces_of_large_pictures_are_found() -> None:
    canvas = np.full((1200, 1600, 3), 110, dtype=np.uint8)
    canvas[600:1112, 1000:1512] = astronaut()
    [face] = faces_of(canvas)
    left, _, right, _ = face.box
    assert left < 1000 + NOSE[0] < right


@pytest.mark.parametrize(
    "picture", [coffee(), np.zeros((64, 48, 3), np.uint8), np.full((1, 1, 3), 9, np.uint8)]
)
def test_nobody_is_found_where_nobody_is(picture: Pixels) -> None:
    assert faces_of(picture) == []
    assert bodies_of(picture) == []


def test_points_of_the_body_are_near_mediapipes() -> None:
    [body] = bodies_of(astronaut())
    apart = np.linalg.norm(
        body.points[list(MEDIAPIPE_BODY), :2] - np.array(list(MEDIAPIPE_BODY.values())), axis=1
    )
    # The region that both networks see is three times as large as the picture: 12 of its pixels are 1 %.
    assert float(apart.mean()) < 12
    assert float(body.seen[[0, 11, 12]].min()) > 0.9
    assert float(body.seen[[27, 28]].max()) < 0.6


def test_two_people_are_two_bodies() -> None:
    bodies = bodies_of(two_people())
    assert len(bodies) == 2
    assert {bool(body.points[0, 0] > 512) for body in bodies} == {False, True}


def test_a_file_that_is_no_network_is_named(tmp_path: Path) -> None:
    file = tmp_path / "detection.onnx"
    file.write_bytes(b"no network")
    with pytest.raises(WeightsCorrupt, match=r"detection\.onnx"):
        OnnxNetwork(file)
