from __future__ import annotations

import numpy as np
import pytest

from gpu_runtime.people.face_blend import covering
from gpu_runtime.people.face_points import (
    INNER_LIPS,
    LIPS_ACROSS,
    OUTER_LIPS,
    OVAL,
    frontal,
    openness,
    triangles_of,
)
from gpu_runtime.people.face_warp import placed, warp_face
from gpu_runtime.people.regions import Points
from tests.gpu_runtime.operations.photographs import astronaut, other_person
from tests.gpu_runtime.people.test_finding import faces_of

MESH = faces_of(astronaut())[0].mesh
OTHER = faces_of(other_person())[0].mesh
CENTRE = np.array([256, 256, 0], dtype=np.float32)
HALF = len(INNER_LIPS) // 2


def with_closed_mouth(mesh: Points) -> Points:
    """Its inner lips on one line."""
    closed = mesh.copy()
    for step in range(1, HALF):
        pair = [INNER_LIPS[step], INNER_LIPS[-step]]
        closed[pair] = closed[pair].mean(axis=0)
    return closed


def test_closed_lips_are_not_sewn_to_one_another() -> None:
    """No triangle joins the inner edge of one lip with the outer edge of the other."""
    upper, lower = set(INNER_LIPS[HALF + 1 :]), set(INNER_LIPS[1:HALF])
    lower_rim, upper_rim = set(OUTER_LIPS[2:9]), set(OUTER_LIPS[12:19])
    for triangle in triangles_of(with_closed_mouth(MESH)).tolist():
        corners = set(triangle)
        assert not (corners & upper and corners & lower_rim)
        assert not (corners & lower and corners & upper_rim)


def test_a_face_warped_upon_itself_is_itself() -> None:
    warped = warp_face(astronaut(), MESH, MESH, (512, 512))
    inside = warped.seen > 0.99
    assert float(inside.sum()) > 6_000
    assert float(np.abs(warped.pixels.astype(int) - astronaut())[inside].mean()) < 1.5
    assert not warped.pixels[:50].any()


def test_outline_and_expression_are_the_targets_and_proportions_lean_to_the_source() -> None:
    long = MESH.copy()
    long[[1, 4, 5, 195]] += (0, 8, 0)  # a longer nose
    mesh = placed(long, MESH)
    assert mesh[list(OVAL)] == pytest.approx(MESH[list(OVAL)], abs=1e-4)
    assert mesh[4, 1] - MESH[4, 1] > 2
    wide_open = placed(with_closed_mouth(OTHER), MESH)
    assert openness(wide_open, LIPS_ACROSS) == pytest.approx(openness(MESH, LIPS_ACROSS), rel=0.02)


def test_what_the_source_does_not_show_is_left_out() -> None:
    """A source in profile has one cheek: the other half of the target stays its own."""
    straight = frontal(MESH) * 90
    yaw = np.radians(75)
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    profile = (straight @ turn.T + CENTRE).astype(np.float32)
    target = (straight + CENTRE).astype(np.float32)
    seen = warp_face(astronaut(), profile, target, (512, 512)).seen
    halves = sorted((float(seen[:, :256].sum()), float(seen[:, 256:].sum())))
    assert halves[0] < 0.4 * halves[1]


def test_teeth_of_the_target_stay_where_the_source_has_closed_lips() -> None:
    warped = warp_face(astronaut(), with_closed_mouth(MESH), MESH, (512, 512))
    kept = covering(astronaut(), MESH, warped, with_closed_mouth(MESH))
    taken = covering(astronaut(), MESH, warped, MESH)
    x, y = MESH[[13, 14], :2].mean(axis=0).round().astype(int)
    assert kept[y, x] < taken[y, x] - 0.4


def test_teeth_are_not_squeezed_between_closed_lips() -> None:
    closed = with_closed_mouth(MESH)
    warped = warp_face(astronaut(), MESH, closed, (512, 512))
    kept = covering(astronaut(), closed, warped, MESH)
    taken = covering(astronaut(), closed, warped, closed)
    mouth = closed[list(OUTER_LIPS), :2].mean(axis=0).round().astype(int)
    cheek = closed[205, :2].round().astype(int)
    assert kept[mouth[1], mouth[0]] < taken[mouth[1], mouth[0]] - 0.4
    assert kept[cheek[1], cheek[0]] > 0.95


def test_hair_over_the_forehead_stays() -> None:
    warped = warp_face(astronaut(), MESH, MESH, (512, 512))
    cover = covering(astronaut(), MESH, warped, MESH)
    assert cover[118, 222] > 0.95
    assert cover[74, 255] < 0.2
