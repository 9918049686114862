from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from gpu_runtime.errors import UnsupportedCombination
from gpu_runtime.images import resize
from tests.gpu_runtime.operations.running import context_of, run, run_one

CAT = data.cat()
"""451 x 300."""


@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
@pytest.mark.parametrize("size", [(64, 200), (200, 64), (451, 300), (7, 501), (1, 1)])
def test_picture_gets_the_size(mode: str, size: tuple[int, int]) -> None:
    width, height = size
    assert run_one("canvas.fit", {"image": CAT}, width=width, height=height, mode=mode).shape == (
        height,
        width,
        3,
    )


@pytest.mark.parametrize("picture", [CAT[:, :, 0], np.dstack([CAT, CAT[:, :, :1]])], ids=["grey", "rgba"])
@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
def test_channels_are_kept(picture: np.ndarray, mode: str) -> None:
    made = run_one("canvas.fit", {"image": picture}, width=90, height=90, mode=mode)
    assert made.shape == (90, 90, *picture.shape[2:])


def test_cropping_keeps_the_middle_and_the_proportions() -> None:
    made = run_one("canvas.fit", {"image": CAT}, width=300, height=300, mode="crop")
    # 451 - 300 is odd: the middle lies between two pixels, so the cut is within half a pixel of either.
    nearest = min(np.abs(made.astype(int) - CAT[:, left : left + 300]).mean() for left in (75, 76))
    assert nearest < 5
    assert np.abs(made.astype(int) - CAT[:, 60:360]).mean() > 10


def test_padding_shows_the_whole_picture_unchanged() -> None:
    made = run_one("canvas.fit", {"image": CAT}, width=451, height=500, mode="pad")
    assert np.array_equal(made[100:400], CAT)


def test_padding_goes_on_where_the_picture_ends() -> None:
    made = run_one("canvas.fit", {"image": CAT}, width=651, height=300, mode="pad").astype(int)
    at_the_seam = np.abs(made[:, 99] - made[:, 100]).mean()
    assert at_the_seam < 2 * np.abs(np.diff(CAT.astype(int), axis=1)).mean()


def test_without_a_size_the_picture_keeps_its_own() -> None:
    assert np.array_equal(run_one("canvas.fit", {"image": CAT}), CAT)


def test_unknown_mode_is_refused() -> None:
    with pytest.raises(UnsupportedCombination, match="choose one of stretch, crop, pad"):
        run_one("canvas.fit", {"image": CAT}, width=8, height=8, mode="melt")


def test_expanding_keeps_the_picture_and_marks_what_is_new() -> None:
    done = run(context_of("canvas.expand", {"image": CAT}, left=40, bottom=25, overlap=0))
    image, mask = done.outputs["image"], done.outputs["mask"]
    assert image.shape == (325, 491, 3)
    assert np.array_equal(image[:300, 40:], CAT)
    assert mask.shape == (325, 491)
    assert not mask[:300, 40:].any()
    assert (mask[:, :40] == 255).all()
    assert (mask[300:] == 255).all()


def test_the_mask_fades_into_the_picture_at_extended_sides_only() -> None:
    mask = run(context_of("canvas.expand", {"image": CAT}, left=40, overlap=16)).outputs["mask"]
    row = mask[150].astype(int)
    assert (row[:40] == 255).all()
    assert (np.diff(row[39:57]) < 0).all()
    assert not row[57:].any()
    assert (mask == mask[150]).all()


def test_larger_borders_than_the_picture_are_filled() -> None:
    small = resize(CAT, width=9, height=5)
    made = run_one("canvas.expand", {"image": small}, left=200, right=200, top=200, bottom=200)
    assert made.shape == (405, 409, 3)
    assert np.array_equal(made[200:205, 200:209], small)
    assert made.std() < CAT.std()


def test_a_single_pixel_is_carried_on() -> None:
    made = run_one("canvas.expand", {"image": np.full((1, 1, 3), 77, np.uint8)}, left=3, top=2)
    assert made.shape == (3, 4, 3)
    assert (made == 77).all()
