"""Operations stop the more often the more there is to do: a slice has so many pixels at most, at any size."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from gpu_runtime.images import resize
from gpu_runtime.operations.context import Context
from gpu_runtime.operations.registry import run_of
from gpu_runtime.postprocess.blurs import blurred
from gpu_runtime.postprocess.guided_filter import guided, guided_in_parts
from gpu_runtime.postprocess.parts import PART_PX, around, parts_with
from gpu_runtime.postprocess.pieces import finish
from gpu_runtime.preprocessors.censoring import replaced
from tests.gpu_runtime.operations.photographs import FACE_ASSETS, astronaut, other_person
from tests.gpu_runtime.operations.running import context_of, shipped

SIDE = 1024


def photograph(side: int) -> np.ndarray:
    return resize(astronaut(), width=side, height=side)


def marks(side: int) -> np.ndarray:
    mask = np.zeros((side, side), np.uint8)
    mask[side // 8 : side // 3, side // 2 : -side // 8] = 255
    return mask


def background(side: int, **settings: bool) -> Context:
    assets = {"model": shipped("mediapipe-selfie-segmentation")}
    return context_of("background.remove", {"image": photograph(side)}, assets=assets, **settings)


MAKERS: dict[str, tuple[Callable[[int], Context], int]] = {
    "background.remove": (background, 60_000),
    "background.remove, matting": (lambda side: background(side, alpha_matting=True), 30_000),
    "canvas.expand": (
        lambda side: context_of("canvas.expand", {"image": photograph(side)}, left=side // 2),
        90_000,
    ),
    "canvas.fit": (
        lambda side: context_of(
            "canvas.fit", {"image": photograph(side)}, width=2 * side, height=side, mode="pad"
        ),
        60_000,
    ),
    "mask.erase": (
        lambda side: context_of("mask.erase", {"image": photograph(side), "mask": marks(side)}),
        10_000,
    ),
    "mask.fill": (
        lambda side: context_of("mask.fill", {"image": photograph(side), "mask": marks(side)}, fill="blur"),
        250_000,
    ),
    "faces.swap": (
        lambda side: context_of(
            "faces.swap", {"target": photograph(side), "source": other_person()}, assets=FACE_ASSETS
        ),
        20_000,
    ),
}
"""How to ask for it with a picture of some side, and how many pixels of it there are to a slice at most."""


@pytest.mark.parametrize("name", MAKERS)
def test_slices_are_as_many_as_the_pixels_ask_for(name: str) -> None:
    make, most = MAKERS[name]
    context = make(SIDE)
    slices = sum(1 for _ in run_of(context.operation)(context)) + 1
    assert SIDE * SIDE / slices <= most


def test_parts_hold_everything_that_is_wanted_once() -> None:
    wanted = np.zeros((600, 700), dtype=np.bool_)
    wanted[40:60, 10:690] = wanted[520:, 300] = True
    seen = np.zeros(wanted.shape, dtype=np.uint8)
    shares = []
    for share, part in parts_with(wanted):
        seen[part] += 1
        shares.append(share)
    assert (seen[wanted] == 1).all()
    assert seen.max() == 1
    assert not seen[PART_PX : 2 * PART_PX].any()
    assert shares == sorted(shares)
    assert shares[-1] <= 1


def test_a_part_lies_in_what_is_around_it() -> None:
    picture = np.arange(600 * 700).reshape(600, 700)
    for part in ((slice(0, 256), slice(256, 512)), (slice(512, 600), slice(512, 700))):
        seen, inner = around(part, 9)
        assert np.array_equal(picture[seen][inner], picture[part])
        assert picture[seen].size > picture[part].size


def test_the_guided_filter_in_parts_is_the_same_filter() -> None:
    guide = photograph(600).astype(np.float32) / 255
    values = (np.hypot(*np.mgrid[-300:300, -300:300]) < 250).astype(np.float32)
    wanted = np.abs(np.hypot(*np.mgrid[-300:300, -300:300]) - 250) < 20
    made = finish(guided_in_parts(guide, values, wanted, radius_px=6, eps=1e-4))
    whole = guided(guide, values, radius_px=6, eps=1e-4)
    assert np.abs(made - whole)[wanted].max() < 1e-3
    assert np.abs(made - values)[~wanted].max() < 1e-6


@pytest.mark.parametrize("sigma", [2.0, 17.0, 60.0])
def test_large_blurs_look_like_exact_ones(sigma: float) -> None:
    picture, margin = photograph(512), round(2 * sigma)
    exact = cv2.GaussianBlur(picture, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE).astype(int)
    missed = np.abs(blurred(picture, sigma) - exact)
    assert missed[margin:-margin, margin:-margin].max() <= 2
    # At the border, the exact one repeats the grain of the last pixels all the way out.
    assert missed.mean() < 1.5
    assert blurred(picture[:, :, 0], sigma).shape == (512, 512)


def test_a_blur_that_hides_is_blurred_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """At 2048 pixels it took fourteen seconds at its own size, in which nothing else ran."""
    sizes = []
    exact = cv2.GaussianBlur

    def spy(image: np.ndarray, *rest: Any, **named: Any) -> np.ndarray:
        sizes.append(image.shape[0])
        return np.asarray(exact(image, *rest, **named))

    monkeypatch.setattr(cv2, "GaussianBlur", spy)
    assert replaced(photograph(1024), "blur").shape == (1024, 1024, 3)
    assert sizes and max(sizes) < 128
