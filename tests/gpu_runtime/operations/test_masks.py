from __future__ import annotations

import numpy as np
import pytest
from skimage import data

from gpu_runtime.errors import PictureUnusable, UnsupportedCombination
from gpu_runtime.images import resize
from gpu_runtime.postprocess.boxes import Box, box_around
from gpu_runtime.postprocess.membranes import stretch
from tests.gpu_runtime.operations.running import context_of, run, run_one

COFFEE = data.coffee()
"""600 x 400."""
HEIGHT, WIDTH = COFFEE.shape[:2]


def square(*, left: int = 200, top: int = 100, side: int = 80) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[top : top + side, left : left + side] = 255
    return mask


def prepared(picture: np.ndarray, **settings: object) -> np.ndarray:
    return run(context_of("mask.prepare", {"mask": picture}, **settings)).outputs["mask"]


def test_grey_becomes_black_and_white_at_half() -> None:
    ramp = np.arange(256, dtype=np.uint8)[None, :].repeat(4, axis=0)
    assert np.array_equal(prepared(ramp)[0], np.where(np.arange(256) >= 128, 255, 0))


def test_luma_decides_of_colours_and_transparent_white_is_black() -> None:
    picture = np.zeros((1, 3, 4), np.uint8)
    picture[0] = [(0, 255, 0, 255), (255, 0, 0, 255), (255, 255, 255, 0)]
    assert prepared(picture).tolist() == [[255, 0, 0]]


def test_transparency_marks_when_asked() -> None:
    picture = np.zeros((1, 3, 4), np.uint8)
    picture[0, :, 3] = (255, 127, 0)
    assert prepared(picture, from_alpha=True).tolist() == [[0, 255, 255]]


def test_a_mask_without_alpha_cannot_mark_by_it() -> None:
    with pytest.raises(PictureUnusable, match="no alpha channel") as refused:
        prepared(COFFEE, from_alpha=True)
    assert refused.value.code == "mask_without_transparency"


def test_size_inversion_and_blur() -> None:
    mask = prepared(square(), width=300, height=200, is_inverted=True, blur=3.0)
    assert mask.shape == (200, 300)
    assert mask[70, 120] == 0
    assert mask[5, 5] == 255
    assert 100 < mask[70, 100] < 200


@pytest.mark.parametrize(("grow", "side"), [(0, 80), (10, 100), (-10, 60)])
def test_marks_grow_and_shrink_by_pixels(grow: int, side: int) -> None:
    mask = prepared(square(), grow=grow)
    assert (mask[140] == 255).sum() == side
    assert (mask[:, 240] == 255).sum() == side


def test_corners_grow_round() -> None:
    mask = prepared(square(), grow=10)
    assert mask[100, 191] == 255
    assert mask[91, 191] == 0


@pytest.mark.parametrize("fill", ["blur", "noise", "grey"])
def test_filling_leaves_the_rest_bit_for_bit(fill: str) -> None:
    mask = square()
    made = run_one("mask.fill", {"image": COFFEE, "mask": mask}, fill=fill)
    assert np.array_equal(made[mask == 0], COFFEE[mask == 0])
    assert not np.array_equal(made[mask > 0], COFFEE[mask > 0])


def test_the_original_is_no_fill() -> None:
    assert np.array_equal(run_one("mask.fill", {"image": COFFEE, "mask": square()}), COFFEE)


def test_blur_brings_the_surroundings_in() -> None:
    made = run_one("mask.fill", {"image": COFFEE, "mask": square()}, fill="blur").astype(int)
    inside = made[100:180, 200:280]
    assert np.abs(inside[:, 0] - made[100:180, 199]).mean() < 8
    assert np.abs(np.diff(inside, axis=1)).mean() < 2
    assert np.ptp(inside, axis=(0, 1)).max() > 20


def test_noise_follows_the_seed_and_not_the_picture() -> None:
    inputs = {"image": COFFEE, "mask": square()}
    one, same, other = (run_one("mask.fill", inputs, fill="noise", seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_film_over_a_hole_meets_its_rim_and_has_no_hills() -> None:
    y, x = np.mgrid[0:101, 0:133].astype(np.float32)
    plane = 3 * x - 2 * y
    known = np.zeros(plane.shape, dtype=np.bool_)
    known[[0, -1]] = known[:, [0, -1]] = True
    film = stretch(np.where(known, plane, np.nan), known)
    assert np.array_equal(film[known], plane[known])
    assert np.abs(film - plane).max() < 0.02 * np.ptp(plane)


def test_nothing_known_is_nothing() -> None:
    assert not stretch(np.ones((4, 5, 3), np.float32), np.zeros((4, 5), dtype=np.bool_)).any()


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 512), Box(left=168, top=68, width=144, height=144)),
        ((1024, 512), Box(left=96, top=68, width=288, height=144)),
        ((512, 1024), Box(left=168, top=0, width=144, height=288)),
    ],
)
def test_the_crop_has_the_proportions_and_lies_inside(size: tuple[int, int], expected: Box) -> None:
    assert box_around(square(), padding_px=32, width=size[0], height=size[1]) == expected


def test_an_empty_mask_crops_to_everything() -> None:
    box = box_around(np.zeros((HEIGHT, WIDTH), np.uint8), padding_px=32, width=600, height=400)
    assert box == Box(left=0, top=0, width=WIDTH, height=HEIGHT)


def test_a_box_that_does_not_fit_juts_out_and_comes_back() -> None:
    mask = square(left=10, top=0, side=400)
    done = run(context_of("mask.crop", {"image": COFFEE, "mask": mask}, width=256, height=512))
    assert done.outputs["box"] == Box(left=0, top=-242, width=442, height=884)
    assert done.outputs["image"].shape == (512, 256, 3)
    assert not done.outputs["mask"][:100].any()
    names = {"original": COFFEE, "mask": mask} | {key: done.outputs[key] for key in ("image", "box")}
    back = run_one("mask.paste", names)
    assert np.abs(back.astype(int) - COFFEE).mean() < 12


def test_what_was_cropped_is_pasted_where_it_was() -> None:
    mask = square()
    done = run(context_of("mask.crop", {"image": COFFEE, "mask": mask}, width=576, height=576))
    names = {"original": COFFEE, "mask": mask} | {key: done.outputs[key] for key in ("image", "box")}
    back = run_one("mask.paste", names)
    assert np.array_equal(back[mask == 0], COFFEE[mask == 0])
    assert np.abs(back.astype(int) - COFFEE)[mask > 0].mean() < 2
    moved = names | {"box": Box(left=168 + 20, top=68, width=144, height=144)}
    assert np.abs(run_one("mask.paste", moved).astype(int) - COFFEE)[mask > 0].mean() > 10


@pytest.mark.parametrize("blend", ["feather", "poisson"])
def test_pasting_leaves_the_rest_bit_for_bit(blend: str) -> None:
    other = resize(data.astronaut(), width=WIDTH, height=HEIGHT)
    mask = prepared(square(), blur=6)
    made = run_one("mask.paste", {"image": other, "original": COFFEE, "mask": mask}, blend=blend)
    assert np.array_equal(made[mask == 0], COFFEE[mask == 0])
    assert 0 < (mask > 0).sum() < mask.size


def test_feathering_mixes_by_the_mask() -> None:
    black, white = np.zeros((1, 256, 3), np.uint8), np.full((1, 256, 3), 255, np.uint8)
    mask = np.arange(256, dtype=np.uint8)[None]
    made = run_one("mask.paste", {"image": white, "original": black, "mask": mask})
    assert np.array_equal(made[0, :, 0], np.arange(256))


def test_poisson_takes_a_tint_away_where_feathering_shows_a_step() -> None:
    tinted = np.clip(COFFEE.astype(int) + np.array([25, 10, -20]), 0, 255).astype(np.uint8)
    mask = square(left=260, top=210, side=120)
    names = {"image": tinted, "original": COFFEE, "mask": mask}
    feathered, blended = (
        np.abs(run_one("mask.paste", names, blend=blend).astype(int) - COFFEE)[mask > 0].mean()
        for blend in ("feather", "poisson")
    )
    assert feathered > 12
    assert blended < 3


def test_poisson_needs_no_distance_from_the_border() -> None:
    tinted = np.clip(COFFEE.astype(int) + 20, 0, 255).astype(np.uint8)
    mask = square(left=0, top=0, side=150)
    made = run_one("mask.paste", {"image": tinted, "original": COFFEE, "mask": mask}, blend="poisson")
    assert np.abs(made.astype(int) - COFFEE)[mask > 0].mean() < 3


def test_transparency_of_the_original_stays_outside() -> None:
    original = np.dstack([COFFEE, np.full((HEIGHT, WIDTH), 40, np.uint8)])
    mask = square()
    made = run_one("mask.paste", {"image": COFFEE, "original": original, "mask": mask})
    assert (made[mask == 0][:, 3] == 40).all()
    assert (made[mask > 0][:, 3] == 255).all()


@pytest.mark.parametrize(("name", "asked"), [("mask.fill", {"fill": "x"}), ("mask.paste", {"blend": "x"})])
def test_unknown_words_are_refused(name: str, asked: dict[str, str]) -> None:
    with pytest.raises(UnsupportedCombination, match="choose one of"):
        run_one(name, {"image": COFFEE, "original": COFFEE, "mask": square()}, **asked)
