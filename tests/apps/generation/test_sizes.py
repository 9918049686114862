"""Sides in pixels: of pictures that come, of images that are made, and of those that are enlarged."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.core.errors import InvalidField
from apps.generation.sizes import hires_size, size_of_picture, upscaled_size
from apps.generation.wishes import HiresWish, UpscaleWish

SIDES = st.integers(1, 16_384)


@pytest.mark.parametrize(
    ("picture", "fitted"),
    [
        ((512, 512), (512, 512)),
        ((513, 509), (512, 512)),
        ((4000, 3000), (2048, 1536)),
        ((3000, 4000), (1536, 2048)),
        ((30, 20), (96, 64)),
        ((1, 1), (64, 64)),
        # As long as may be; the proportions of such a strip cannot be kept.
        ((10_000, 10), (2048, 64)),
        ((1, 4096), (64, 2048)),
    ],
)
def test_a_pictures_size_is_fitted_into_the_models_limits(
    picture: tuple[int, int], fitted: tuple[int, int]
) -> None:
    assert size_of_picture(picture, shortest_px=64, longest_px=2048) == fitted


@given(SIDES, SIDES, st.integers(8, 512), st.integers(512, 4096))
def test_a_fitted_size_is_always_one_that_the_model_takes(
    width: int, height: int, shortest_px: int, longest_px: int
) -> None:
    for side in size_of_picture((width, height), shortest_px=shortest_px, longest_px=longest_px):
        assert side % 8 == 0
        # The lower limit may lie between two multiples.
        assert shortest_px - 4 <= side <= longest_px


@given(st.integers(64, 2048), st.integers(64, 2048))
def test_sizes_within_the_limits_change_by_rounding_alone(width: int, height: int) -> None:
    fitted = size_of_picture((width, height), shortest_px=64, longest_px=2048)
    assert abs(fitted[0] - width) <= 4 and abs(fitted[1] - height) <= 4


@pytest.mark.parametrize(
    ("wish", "size"),
    [
        (UpscaleWish(), (1280, 960)),
        (UpscaleWish(factor=2), (640, 480)),
        (UpscaleWish(factor=3), (960, 720)),
        (UpscaleWish(factor=8), (2560, 1920)),
        (UpscaleWish(width=1000), (1000, 750)),
        (UpscaleWish(height=8192), None),
        (UpscaleWish(width=100, height=8192), (100, 8192)),
    ],
)
def test_upscaled_sizes(wish: UpscaleWish, size: tuple[int, int] | None) -> None:
    if size is not None:
        assert upscaled_size((320, 240), wish) == size
        return
    with pytest.raises(
        InvalidField, match=r"^upscale would make 10923 x 8192 of 320 x 240; at most 8192 pixels"
    ):
        upscaled_size((320, 240), wish)


@pytest.mark.parametrize(
    ("wish", "size"),
    [
        (HiresWish(), (1024, 768)),
        (HiresWish(scale=1.3), (672, 496)),
        (HiresWish(width=1024), (1024, 768)),
        (HiresWish(height=768), (1024, 768)),
        (HiresWish(width=640, height=640), (640, 640)),
    ],
)
def test_sizes_of_a_second_pass(wish: HiresWish, size: tuple[int, int]) -> None:
    assert hires_size((512, 384), wish, longest_px=2048, multiple_px=16) == size


@pytest.mark.parametrize(
    ("wish", "problem"),
    [
        (HiresWish(scale=1.001), "hires_scale leaves the size at 512 x 384"),
        (HiresWish(width=256), "hires_width must be 512 to 2048, not 256"),
        (HiresWish(height=2304), "hires_width must be 512 to 2048, not 3072"),
    ],
)
def test_a_second_pass_is_larger_and_not_too_large(wish: HiresWish, problem: str) -> None:
    with pytest.raises(InvalidField) as refusal:
        hires_size((512, 384), wish, longest_px=2048, multiple_px=8)
    assert str(refusal.value) == problem
