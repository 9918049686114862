from __future__ import annotations

from collections.abc import Generator
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from skimage.feature import canny as other_canny

from gpu_runtime.errors import PictureUnusable, UnsupportedCombination
from gpu_runtime.people.bodies import Body
from gpu_runtime.postprocess.edges import HED as HED_CLASS
from gpu_runtime.postprocess.edges import load_hed
from gpu_runtime.preprocessors.skeletons import COLOURS, LIMBS, draw_bodies, joints_of
from gpu_runtime.utility.shipped import WEIGHTS
from tests.gpu_runtime.operations.photographs import FACE_ASSETS, Pixels, astronaut, coffee, two_people
from tests.gpu_runtime.operations.running import context_of, run, run_one, shipped

HED = {"model": shipped("hed")}
POSE = {"model": shipped("mediapipe-pose")}
SMALL = np.ascontiguousarray(cv2.resize(astronaut(), (160, 128), interpolation=cv2.INTER_AREA))

TYPES = ["canny", "softedge", "scribble", "lineart", "mlsd", "threshold", "tile", "shuffle", "blur", "gray"]


def detect(kind: str, picture: Pixels, **settings: Any) -> Pixels:
    assets = HED if kind in ("softedge", "scribble") else {}
    made: Pixels = run_one(f"detect.{kind}", {"image": picture}, assets=assets, **settings)
    return made


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize(
    "picture", [SMALL, SMALL[:, :, 0], np.dstack([SMALL, SMALL[:, :, 0]]), SMALL[:9, :7]]
)
def test_maps_are_rgb_of_the_pictures_size(kind: str, picture: Pixels) -> None:
    made = detect(kind, np.ascontiguousarray(picture), resolution=64)
    assert made.shape == (*picture.shape[:2], 3)
    assert made.dtype == np.uint8


def test_canny_is_cv2s() -> None:
    grey = cv2.Canny(astronaut(), 100, 200)
    assert np.array_equal(detect("canny", astronaut())[:, :, 0], grey)
    chosen = detect("canny", astronaut(), threshold_a=30.0, threshold_b=60)[:, :, 2]
    assert np.array_equal(chosen, cv2.Canny(astronaut(), 30, 60))


def test_canny_agrees_with_another_implementation() -> None:
    """skimage's, of different thresholds and smoothing: most of its edges are within two pixels of ours."""
    theirs = other_canny(cv2.cvtColor(astronaut(), cv2.COLOR_RGB2GRAY) / 255, sigma=1.0)
    near = cv2.dilate(detect("canny", astronaut(), threshold_a=40, threshold_b=100)[:, :, 0], np.ones((5, 5)))
    assert float((near[theirs] > 0).mean()) > 0.85


def test_resolution_is_of_the_shorter_side() -> None:
    large = cv2.resize(coffee(), (1200, 800), interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(large, (600, 400), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(cv2.Canny(small, 100, 200), (1200, 800), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(detect("canny", large, resolution=400)[:, :, 0], expected)
    assert np.array_equal(detect("canny", large, resolution=0)[:, :, 0], cv2.Canny(large, 100, 200))
    with pytest.raises(UnsupportedCombination, match="resolution"):
        detect("canny", large, resolution=-1)


def test_soft_edges_are_the_networks() -> None:
    network = load_hed(load_file(WEIGHTS / "hed" / "weights.safetensors"))
    with torch.inference_mode():
        edges = network(torch.from_numpy(SMALL).permute(2, 0, 1)[None].float() / 255)[0, 0]
        made = detect("softedge", SMALL)
    assert np.abs(made[:, :, 0] - (edges * 255).numpy()).max() <= 0.5 + 1e-3


def test_scribbles_are_black_and_white_and_follow_the_outline() -> None:
    picture = cv2.resize(coffee(), (300, 200), interpolation=cv2.INTER_AREA)
    made = detect("scribble", picture)
    assert set(np.unique(made)) == {0, 255}
    assert 0.02 < float((made > 0).mean()) < 0.35
    soft = detect("softedge", picture)
    assert float(soft[made > 0].mean()) > 3 * float(soft[made == 0].mean())


def test_scribbles_need_no_weights() -> None:
    made: Pixels = run_one("detect.scribble", {"image": coffee()})
    assert set(np.unique(made)) == {0, 255}


@pytest.mark.parametrize("kind", ["softedge", "scribble"])
def test_networks_are_shown_no_more_than_they_have_memory_for(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    def parts(_self: object, image: torch.Tensor) -> Generator[float, None, torch.Tensor]:
        shown.append(tuple(image.shape))
        yield 1.0
        return image[:, :1]

    monkeypatch.setattr(HED_CLASS, "parts", parts)
    made = detect(kind, np.zeros((40, 6000, 3), dtype=np.uint8), resolution=0)
    assert shown == [(1, 3, 10, 1536)]
    assert made.shape == (40, 6000, 3)


def drawn_box() -> Pixels:
    """A dark rectangle on paper, with noise."""
    noise = np.random.default_rng(3).integers(-4, 5, (256, 320, 3))
    picture = np.full((256, 320, 3), 230, dtype=np.uint8)
    cv2.rectangle(picture, (60, 50), (260, 200), (40, 40, 40), 3)
    return (picture + noise).clip(0, 255).astype(np.uint8)


def test_line_art_draws_the_lines_and_not_the_paper() -> None:
    made = detect("lineart", drawn_box())[:, :, 0]
    assert float(made[50, 80:240].mean()) > 150
    assert float(made[100:150, 100:200].max()) < 20
    fainter = detect("lineart", drawn_box(), threshold_a=64.0)
    assert fainter.mean() >= made.mean()
    with pytest.raises(UnsupportedCombination, match="threshold_a"):
        detect("lineart", drawn_box(), threshold_a=65)


def test_straight_lines_are_found_and_circles_are_not() -> None:
    made = detect("mlsd", drawn_box())[:, :, 0]
    for row in (48, 199):
        assert float((made[row - 3 : row + 5, 80:240].max(axis=0) > 100).mean()) > 0.9
    assert made[70:180, 80:240].max() == 0
    none = detect("mlsd", drawn_box(), threshold_b=0.95)
    assert none.max() == 0
    assert detect("mlsd", np.full((64, 64, 3), 128, np.uint8)).max() == 0


def test_threshold_cuts_brightness() -> None:
    grey = cv2.cvtColor(SMALL, cv2.COLOR_RGB2GRAY)
    assert np.array_equal(detect("threshold", SMALL, threshold_a=90)[:, :, 1] > 0, grey > 90)


def test_tile_keeps_the_picture_and_coarsens_on_request() -> None:
    assert np.array_equal(detect("tile", SMALL), SMALL)
    coarse = detect("tile", SMALL, threshold_a=8.0)
    assert coarse.astype(float).mean() == pytest.approx(SMALL.mean(), abs=2)
    assert (
        np.abs(np.diff(coarse.astype(int), axis=1)).mean()
        < np.abs(np.diff(SMALL.astype(int), axis=1)).mean() / 2
    )


def test_shuffle_follows_the_seed_and_keeps_the_colours() -> None:
    one, same, other = (detect("shuffle", astronaut(), seed=seed) for seed in (7, 7, 8))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    assert np.corrcoef(one[:, :, 0].ravel(), astronaut()[:, :, 0].ravel())[0, 1] < 0.5
    histograms = [cv2.calcHist([each], [0, 1, 2], None, [4] * 3, [0, 256] * 3) for each in (one, astronaut())]
    assert cv2.compareHist(*[each / each.sum() for each in histograms], cv2.HISTCMP_CORREL) > 0.5


def test_blur_and_gray() -> None:
    assert np.array_equal(detect("blur", SMALL, threshold_a=2.0), cv2.GaussianBlur(SMALL, (0, 0), 2.0))
    assert np.array_equal(detect("gray", SMALL)[:, :, 2], cv2.cvtColor(SMALL, cv2.COLOR_RGB2GRAY))
    with pytest.raises(UnsupportedCombination, match="threshold_a"):
        detect("blur", SMALL, threshold_a=0.0)


def test_inpaint_blackens_what_the_mask_marks() -> None:
    mask = np.zeros((128, 160), dtype=np.uint8)
    mask[20:60, 30:90] = 255
    made = run_one("detect.inpaint", {"image": SMALL, "mask": mask})
    assert made[20:60, 30:90].max() == 0
    assert np.array_equal(made[70:], SMALL[70:])
    with pytest.raises(UnsupportedCombination, match="mask"):
        run_one("detect.inpaint", {"image": SMALL})


def standing() -> Body:
    """Upright and facing the camera: MediaPipe's points of a drawn figure; the left ankle is covered."""
    points = np.zeros((33, 3), dtype=np.float32)
    places = {
        0: (200, 60),
        2: (210, 50),
        5: (190, 50),
        7: (222, 55),
        8: (178, 55),
        11: (240, 120),
        12: (160, 120),
    }
    places |= {13: (255, 190), 14: (145, 190), 15: (260, 250), 16: (140, 250), 23: (225, 260), 24: (175, 260)}
    places |= {25: (225, 340), 26: (175, 340), 27: (225, 420), 28: (175, 420)}
    for index, place in places.items():
        points[index, :2] = place
    seen = np.ones(33, dtype=np.float32)
    seen[27] = 0.1
    return Body(1.0, points, seen)


def test_bodies_are_drawn_as_openpose_draws_them() -> None:
    joints = joints_of(standing())
    assert joints[1] == (200, 120)
    assert joints[13] is None
    assert (joints[2], joints[5]) == ((160, 120), (240, 120))
    canvas = draw_bodies([joints], 400, 512)
    for joint, colour in zip(joints, COLOURS, strict=True):
        if joint is not None:
            assert tuple(canvas[round(joint[1]), round(joint[0])]) == colour
    for (start, end), colour in zip(LIMBS, COLOURS, strict=False):
        one, other = joints[start], joints[end]
        if one is not None and other is not None and np.hypot(one[0] - other[0], one[1] - other[1]) > 20:
            x, y = (one[0] + other[0]) / 2, (one[1] + other[1]) / 2
            assert tuple(canvas[round(y), round(x)]) == tuple(int(value * 0.6) for value in colour)
    assert not canvas[380:430, 215:240].any()


def test_pose_of_a_photograph() -> None:
    context = run(context_of("detect.openpose", {"image": two_people()}, assets=POSE))
    made = context.outputs["image"]
    assert context.notes["people"] == 2
    assert made.shape == two_people().shape
    assert 0.002 < float(made.any(axis=2).mean()) < 0.1
    red = np.argwhere((made == (255, 0, 0)).all(axis=2))
    assert np.abs(red - (122, 222)).max(axis=1).min() < 15


def test_faces_of_a_photograph() -> None:
    context = run(context_of("detect.face", {"image": two_people()}, assets=FACE_ASSETS))
    made = context.outputs["image"]
    assert context.notes["faces"] == 2
    rows, columns = np.nonzero(made.any(axis=2))
    assert (columns.min(), rows.min()) == pytest.approx((179, 70), abs=6)
    assert made[:, 600:].any()
    one = run(context_of("detect.face", {"image": two_people()}, assets=FACE_ASSETS, threshold_a=1.0))
    assert not one.outputs["image"][:, 600:].any()


@pytest.mark.parametrize(("kind", "code"), [("openpose", "no_person"), ("face", "no_face")])
def test_nobody_in_the_picture_is_said(kind: str, code: str) -> None:
    context = context_of(f"detect.{kind}", {"image": coffee()}, assets=POSE | FACE_ASSETS)
    with pytest.raises(PictureUnusable, match="in the image") as caught:
        run(context)
    assert caught.value.code == code
