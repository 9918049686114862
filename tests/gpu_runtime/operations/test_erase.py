from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from gpu_runtime.errors import PictureUnusable
from gpu_runtime.postprocess.completion import complete
from tests.gpu_runtime.operations.running import run_one

GRAVEL = np.repeat(data.gravel()[:220, :240, None], 3, axis=2)


def disc(shape: tuple[int, ...], *, x: int = 120, y: int = 110, radius: int = 30) -> np.ndarray:
    mask = np.zeros(shape[:2], np.uint8)
    return np.asarray(cv2.circle(mask, (x, y), radius, 255, -1))


def steps(picture: np.ndarray, where: np.ndarray) -> float:
    """Mean step between neighbours."""
    return float(np.abs(np.diff(picture.astype(int), axis=1)).max(axis=2)[where[:, 1:] > 0].mean())


def test_the_rest_keeps_its_bytes() -> None:
    mask = cv2.GaussianBlur(disc(GRAVEL.shape), (0, 0), 3)
    made = run_one("mask.erase", {"image": GRAVEL, "mask": mask})
    assert np.array_equal(made[mask == 0], GRAVEL[mask == 0])
    assert not np.array_equal(made[mask == 255], GRAVEL[mask == 255])


def test_texture_goes_on_where_diffusion_would_blur() -> None:
    mask = disc(GRAVEL.shape)
    made = run_one("mask.erase", {"image": GRAVEL, "mask": mask})
    blurred = cv2.inpaint(GRAVEL, mask, 5, cv2.INPAINT_TELEA)
    usual = steps(GRAVEL, mask)
    assert steps(made, mask) > 0.7 * usual
    assert steps(blurred, mask) < 0.5 * usual
    assert abs(int(made[mask > 0].mean()) - int(GRAVEL[mask == 0].mean())) < 15


def test_stripes_go_on_across_the_hole() -> None:
    stripes = np.repeat((np.arange(200) // 6 % 2 * 200 + 20).astype(np.uint8)[None, :], 180, axis=0)
    picture = np.repeat(stripes[:, :, None], 3, axis=2)
    mask = disc(picture.shape, x=100, y=90, radius=25)
    made = run_one("mask.erase", {"image": picture, "mask": mask})
    assert np.abs(made.astype(int) - picture)[mask > 0].mean() < 10


def test_a_flat_wall_stays_flat_although_something_else_is_near() -> None:
    picture = np.full((200, 240, 3), (200, 190, 180), np.uint8)
    cv2.circle(picture, (40, 100), 25, (60, 30, 10), -1)
    cv2.circle(picture, (150, 100), 25, (0, 90, 200), -1)
    mask = disc(picture.shape, x=150, y=100, radius=28)
    made = run_one("mask.erase", {"image": picture, "mask": mask})
    assert np.abs(made[mask > 0].astype(int) - (200, 190, 180)).max() <= 2


def test_light_meets_its_surroundings() -> None:
    ramp = np.repeat(np.linspace(40, 220, 240).astype(np.uint8)[None, :], 200, axis=0)
    picture = np.repeat(ramp[:, :, None], 3, axis=2)
    mask = disc(picture.shape, y=100)
    made = run_one("mask.erase", {"image": picture, "mask": mask})
    assert np.abs(made.astype(int) - picture)[mask > 0].max() < 25


@pytest.mark.parametrize(
    ("left", "top", "width", "height"),
    [(0, 0, 60, 50), (200, 180, 40, 40), (0, 90, 240, 20), (119, 0, 1, 220)],
)
def test_holes_at_borders_and_through_the_picture(left: int, top: int, width: int, height: int) -> None:
    mask = np.zeros(GRAVEL.shape[:2], np.uint8)
    mask[top : top + height, left : left + width] = 255
    made = run_one("mask.erase", {"image": GRAVEL, "mask": mask})
    assert np.array_equal(made[mask == 0], GRAVEL[mask == 0])
    assert made[mask > 0].std() > 15


@pytest.mark.parametrize("size", [(1, 2), (5, 5), (9, 30), (40, 7)])
def test_pictures_too_small_for_patches_get_a_film(size: tuple[int, int]) -> None:
    picture = np.ascontiguousarray(GRAVEL[: size[0], : size[1]])
    mask = np.zeros(size, np.uint8)
    mask[0, 0] = 255
    made = run_one("mask.erase", {"image": picture, "mask": mask})
    assert np.array_equal(made[mask == 0], picture[mask == 0])


def test_a_large_hole_is_searched_small_and_filled_at_full_size() -> None:
    hole = disc(GRAVEL.shape) > 0
    work = complete(GRAVEL, hole, reach_px=3, most_px=400, rng=np.random.default_rng(0))
    while True:
        try:
            next(work)
        except StopIteration as end:
            made = end.value
            break
    assert np.array_equal(made[~hole], GRAVEL[~hole])
    assert steps(made, hole) > 0.6 * steps(GRAVEL, hole)


def test_equal_seeds_give_equal_pictures() -> None:
    inputs = {"image": GRAVEL, "mask": disc(GRAVEL.shape)}
    one, same = (run_one("mask.erase", inputs, seed=7) for _ in range(2))
    assert np.array_equal(one, same)


def test_nothing_marked_changes_nothing_and_alpha_stays() -> None:
    picture = np.dstack([GRAVEL, GRAVEL[:, :, 0]])
    nothing = np.zeros(GRAVEL.shape[:2], np.uint8)
    assert run_one("mask.erase", {"image": picture, "mask": nothing}) is picture
    made = run_one("mask.erase", {"image": picture, "mask": disc(GRAVEL.shape)})
    assert np.array_equal(made[:, :, 3], picture[:, :, 3])


def test_a_mask_over_everything_is_refused() -> None:
    full = np.full(GRAVEL.shape[:2], 255, np.uint8)
    with pytest.raises(PictureUnusable, match="nothing is left") as refused:
        run_one("mask.erase", {"image": GRAVEL, "mask": full})
    assert refused.value.code == "mask_full"
