"""`faces.restore`: where the restored face lands, and that nothing else of the picture changes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from gpu_runtime.errors import UnsupportedCombination, WeightsCorrupt
from gpu_runtime.operations.context import Context
from gpu_runtime.operations.faces import networks_of
from gpu_runtime.operations.registry import run_of
from gpu_runtime.people.face_restoration import (
    FRAME_POINTS,
    FRAME_PX,
    RestorationNetwork,
    framed,
    is_restorable,
    lay_back,
    to_frame,
)
from gpu_runtime.people.faces import Face, find_faces
from gpu_runtime.postprocess.pieces import finish
from gpu_runtime.work import Asset
from tests.gpu_runtime.onnx_files import DOUBLE, FLOAT, write_cut_out, write_restorer
from tests.gpu_runtime.operations.photographs import FACE_ASSETS, NOSE, astronaut, coffee
from tests.gpu_runtime.operations.running import context_of, run

GREY = (0.0, 0.0, 0.0)
"""A gain that leaves no colour: 0 is the middle of -1 to 1."""
SAME = (1.0, 1.0, 1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("restorers")


def assets(folder: Path, **given: Any) -> dict[str, Asset]:
    name = "-".join(f"{key}{value}" for key, value in given.items())
    write_restorer(folder / name / "restorer" / "model.onnx", **given)
    model = Asset(name=name, path=str(folder / name), digest=str(folder / name), variant="gfpgan")
    return {**FACE_ASSETS, "model": model}


def restored(folder: Path, picture: Any, *, network: dict[str, Any], visibility: float = 1.0) -> Context:
    weights = assets(folder, **network)
    return run(context_of("faces.restore", {"image": picture}, assets=weights, visibility=visibility))


def test_a_network_that_changes_nothing_changes_next_to_nothing(folder: Path) -> None:
    """Into the frame and back: what is lost is the blur of two resamplings."""
    photo = astronaut()
    made = restored(folder, photo, network={"gain": SAME}).outputs["image"]
    difference = np.abs(made.astype(int) - photo)
    assert difference.mean() < 0.5
    assert np.percentile(difference, 99.9) < 16


def test_face_is_replaced_and_the_rest_stays_to_the_byte(folder: Path) -> None:
    photo = astronaut()
    context = restored(folder, photo, network={"gain": GREY})
    made = context.outputs["image"]
    assert context.notes == {"faces": 1}
    assert np.abs(made[NOSE[1], NOSE[0]].astype(int) - 128).max() <= 1
    changed = np.argwhere((made != photo).any(axis=2))
    (top, left), (bottom, right) = changed.min(axis=0), changed.max(axis=0)
    assert top >= 0 and bottom < 260 and left > 100 and right < 340
    assert np.array_equal(made[300:], photo[300:])


def test_edges_of_what_is_laid_back_are_soft(folder: Path) -> None:
    """A grey face over the photograph: no step between neighbours that was not there."""
    flat = np.full_like(astronaut(), 60)
    network = RestorationNetwork(write_restorer(folder / "soft.onnx", gain=GREY))
    matrix = np.array([[2.0, 0, -200.0], [0, 2.0, -100.0]], dtype=np.float32)
    lay_back(flat, network.restored(framed(flat, matrix), 0.5), matrix, visibility=1.0)
    assert flat.max() == 128
    assert np.abs(np.diff(flat.astype(int), axis=0)).max() <= 6
    assert np.abs(np.diff(flat.astype(int), axis=1)).max() <= 6


@pytest.mark.parametrize(("visibility", "expected"), [(1.0, 128), (0.5, 94), (0.0, 60)])
def test_visibility_is_the_share_of_the_restored_face(visibility: float, expected: int) -> None:
    flat = np.full((512, 512, 3), 60, dtype=np.uint8)
    face = np.full((FRAME_PX, FRAME_PX, 3), 128, dtype=np.uint8)
    lay_back(flat, face, np.array([[1.0, 0, 0], [0, 1.0, 0]], dtype=np.float32), visibility=visibility)
    assert abs(int(flat[256, 256, 0]) - expected) <= 1
    assert int(flat[0, 0, 0]) == 60


@pytest.mark.parametrize("kind", [DOUBLE, FLOAT])
def test_weight_reaches_networks_that_take_one(kind: int, folder: Path) -> None:
    network = RestorationNetwork(write_restorer(folder / f"weight{kind}.onnx", weight_type=kind))
    white = np.full((FRAME_PX, FRAME_PX, 3), 255, dtype=np.uint8)
    assert [int(network.restored(white, weight)[0, 0, 0]) for weight in (0.0, 0.5, 1.0)] == [128, 191, 255]


def face_at(angle: float, scale: float, x: float, y: float) -> Face:
    """A face whose five points lie as in the frame, turned, scaled and moved."""
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = FRAME_POINTS @ turn.T + (x, y)
    mesh = np.zeros((468, 3), dtype=np.float32)
    eyes = {number: points[index] for index, eye in enumerate(EYES) for number in eye}
    for number, point in {**eyes, 1: points[2], 61: points[3], 291: points[4]}.items():
        mesh[number, :2] = point
    return Face(1.0, mesh)


EYES = (
    (33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246),
    (263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466),
)


@pytest.mark.parametrize(("angle", "scale"), [(0.0, 1.0), (0.5, 0.3), (-2.5, 2.0), (3.1, 0.7)])
def test_five_points_of_a_face_come_to_where_the_network_knows_them(angle: float, scale: float) -> None:
    face = face_at(angle, scale, 40, -7)
    matrix = to_frame(face)
    points = np.array([face.mesh[each, :2] for each in (33, 263, 1, 61, 291)])
    np.testing.assert_allclose(points @ matrix[:, :2].T + matrix[:, 2], FRAME_POINTS, atol=0.1)


def test_face_of_a_photograph_lies_in_its_frame(folder: Path) -> None:
    """Eyes level and where FFHQ has them, whatever the head does in the picture."""
    turn = cv2.getRotationMatrix2D((256, 256), 25, 0.8)
    turned = np.asarray(cv2.warpAffine(astronaut(), turn, (512, 512)), dtype=np.uint8)
    context = context_of("faces.restore", {"image": turned}, assets=assets(folder, gain=SAME))
    [face] = finish(find_faces(turned, networks_of(context)))
    frame = framed(turned, to_frame(face))
    [again] = finish(find_faces(frame, networks_of(context)))
    right, left = (again.mesh[list(eye), :2].mean(axis=0) for eye in EYES)
    assert np.abs(right - FRAME_POINTS[0]).max() < 25
    assert np.abs(left - FRAME_POINTS[1]).max() < 25
    assert abs(right[1] - left[1]) < 12


def test_no_face_is_no_fault(folder: Path) -> None:
    context = restored(folder, coffee(), network={"gain": GREY})
    assert context.notes == {"faces": 0}
    assert np.array_equal(context.outputs["image"], coffee())


def test_faces_of_a_few_pixels_are_left_alone() -> None:
    assert is_restorable(face_at(0.0, 0.1, 0, 0))
    assert not is_restorable(face_at(0.0, 0.03, 0, 0))


def test_transparency_is_kept(folder: Path) -> None:
    alpha = np.full((512, 512), 90, dtype=np.uint8)
    made = restored(folder, np.dstack([astronaut(), alpha]), network={"gain": GREY}).outputs["image"]
    assert made.shape == (512, 512, 4)
    assert np.array_equal(made[:, :, 3], alpha)


def test_a_slow_network_lets_others_have_their_turns(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(self: RestorationNetwork, frame: Any, weight: float) -> Any:
        time.sleep(0.3)
        return frame

    monkeypatch.setattr(RestorationNetwork, "restored", slow)
    context = context_of("faces.restore", {"image": astronaut()}, assets=assets(folder, gain=SAME))
    shares = list(run_of("faces.restore")(context))
    assert sum(share == 0.3 for share in shares) >= 3
    assert shares[-1] == 1.0


def test_other_files_and_settings_are_refused(folder: Path) -> None:
    cut_out = write_cut_out(folder / "cut-out" / "model.onnx")
    with pytest.raises(WeightsCorrupt, match="no network that restores faces of 512 pixels"):
        RestorationNetwork(cut_out)
    with pytest.raises(UnsupportedCombination, match="visibility must be 0 to 1, not 2"):
        restored(folder, coffee(), network={"gain": SAME}, visibility=2.0)
    with pytest.raises(UnsupportedCombination, match="needs the weights 'model'"):
        run(context_of("faces.restore", {"image": coffee()}, assets=FACE_ASSETS))
