from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from gpu_runtime.people.detections import Detection, anchor_centres, merge
from gpu_runtime.people.face_points import INNER_LIPS, frontal, posed, triangles_of
from gpu_runtime.people.regions import Region, tiles, whole


def gradient(width: int = 160, height: int = 120) -> np.ndarray:
    """Red is x, green is y."""
    rows, columns = np.indices((height, width))
    return np.stack([columns, rows, np.zeros_like(rows)], axis=2).astype(np.uint8)


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2, -2.5])
def test_points_of_a_crop_are_brought_back_to_where_they_were(angle: float) -> None:
    region = Region(80, 60, 40, angle)
    crop = region.crop(gradient(), 80)
    for x, y in ((20, 20), (60, 33), (40, 70)):
        place = np.array([[(x + 0.5) / 80, (y + 0.5) / 80]], dtype=np.float32)
        back = region.bring_back(place)[0]
        assert crop[y, x, :2].astype(float) == pytest.approx(back[:2] - 0.5, abs=1.01)


def test_large_regions_are_averaged_and_not_sampled() -> None:
    stripes = np.zeros((512, 512, 3), dtype=np.uint8)
    stripes[:, ::2] = 255
    crop = Region(256, 256, 512).crop(stripes, 64)
    assert abs(float(crop.mean()) - 127.5) < 2
    assert float(crop.std()) < 20


def test_what_leaves_the_picture_is_black() -> None:
    crop = Region(0, 0, 40).crop(np.full((50, 50, 3), 200, dtype=np.uint8), 40)
    assert crop[:19, :19].max() == 0
    assert crop[21:, 21:].min() == 200


def test_tiles_cover_the_picture_and_overlap() -> None:
    picture = gradient(400, 130)
    seen = np.zeros((130, 400), dtype=int)
    for tile in tiles(picture, 1 / 4):
        left, top = round(tile.centre_x - 50), round(tile.centre_y - 50)
        assert 0 <= left <= 300
        seen[max(top, 0) : top + 100, left : left + 100] += 1
    assert seen.min() >= 1
    assert seen.max() > 1
    assert whole(picture) == Region(200, 65, 400)


def test_anchors_are_those_of_the_networks() -> None:
    face = anchor_centres(128, (8, 16, 16, 16))
    body = anchor_centres(224, (8, 16, 32, 32, 32))
    assert (len(face), len(body)) == (896, 2254)
    assert face[0].tolist() == face[1].tolist() == [0.5 / 16, 0.5 / 16]
    assert face[2].tolist() == [1.5 / 16, 0.5 / 16]
    assert face[512].tolist() == face[517].tolist() == [0.5 / 8, 0.5 / 8]


def detection(score: float, x: float, y: float, size: float) -> Detection:
    centre = np.array([[x, y]], dtype=np.float32)
    return Detection(score, centre, size, centre + 1)


def test_detections_that_overlap_are_averaged_by_score() -> None:
    merged = merge([detection(0.5, 10, 10, 20), detection(1.0, 13, 10, 20), detection(0.9, 90, 90, 20)])
    assert [each.score for each in merged] == [1.0, 0.9]
    assert merged[0].centre.tolist() == [[12.0, 10.0]]
    assert merged[0].points == pytest.approx(np.array([[13.0, 11.0]]))
    assert merged[1].size == pytest.approx(20)


def test_nothing_merges_to_nothing() -> None:
    assert merge([]) == []


def head(seed: int = 0) -> np.ndarray:
    """A mesh of 468 points on half an ellipsoid, looking ahead."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(468, 3))
    points[:, 2] = -np.abs(points[:, 2])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    points[33], points[263] = (-0.5, -0.3, -0.8), (0.5, -0.3, -0.8)
    points[10], points[152] = (0, -0.9, -0.4), (0, 0.9, -0.4)
    return (points * (70, 100, 80)).astype(np.float32)


def turn(yaw: float, roll: float) -> np.ndarray:
    around = np.array([[math.cos(yaw), 0, math.sin(yaw)], [0, 1, 0], [-math.sin(yaw), 0, math.cos(yaw)]])
    rolled = [[math.cos(roll), -math.sin(roll), 0], [math.sin(roll), math.cos(roll), 0], [0, 0, 1]]
    return (np.array(rolled) @ around).astype(np.float32)


def test_frontal_view_is_the_same_however_a_head_is_held() -> None:
    mesh = head()
    held = 1.7 * mesh @ turn(0.6, 1.2).T + (300, 200, 10)
    assert frontal(held) == pytest.approx(frontal(mesh), abs=1e-3)


def test_a_shape_is_posed_like_another_one() -> None:
    mesh = head()
    held = (0.6 * mesh @ turn(-0.4, 0.3).T + (90, 40, 5)).astype(np.float32)
    assert posed(mesh, held) == pytest.approx(held, abs=0.05)


def with_open_mouth(mesh: np.ndarray) -> np.ndarray:
    half = len(INNER_LIPS) // 2
    for step in range(1, half):
        mesh[INNER_LIPS[step], 1], mesh[INNER_LIPS[-step], 1] = 20 + step, -20 - step
    return mesh


def test_triangles_cover_the_face_once() -> None:
    mesh = with_open_mouth(head())
    triangles = triangles_of(mesh)
    assert len(np.unique(triangles)) == 468
    flat = frontal(mesh)[:, :2]
    one, other = flat[triangles[:, 1]] - flat[triangles[:, 0]], flat[triangles[:, 2]] - flat[triangles[:, 0]]
    areas = np.abs(one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]) / 2
    assert float(areas.sum()) == pytest.approx(
        cv2.contourArea(cv2.convexHull(flat.astype(np.float32))), rel=0.01
    )
