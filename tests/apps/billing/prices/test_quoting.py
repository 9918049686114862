from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.billing.prices.quoting import Book, Quote, Rate, quote

PLAIN = Rate(per_image_micro=2000, per_megapixel_micro=500, included_pixels=4_194_304)
BOOK = Book(
    version=3,
    rates={
        ("", ""): PLAIN,
        ("caption", ""): Rate(per_call_micro=1000),
        ("", "large"): Rate(per_image_micro=9000),
        ("inpaint", ""): Rate(per_image_micro=3000),
        ("inpaint", "large"): Rate(per_image_micro=12000),
    },
)
SIDES = st.integers(64, 8192)


def price(kind: str = "txt2img", model: str = "tiny", *, images: int = 1, pixels: int = 512 * 512) -> int:
    return quote(BOOK, kind=kind, model=model, images=images, pixels=pixels).total_micro


@pytest.mark.parametrize(
    ("kind", "model", "expected"),
    [
        ("txt2img", "tiny", 2000),
        ("txt2img", "large", 9000),
        ("inpaint", "tiny", 3000),
        ("inpaint", "large", 12000),
    ],
)
def test_the_most_particular_price_counts(kind: str, model: str, expected: int) -> None:
    assert price(kind, model) == expected


def test_each_image_costs() -> None:
    assert price(images=4, pixels=4 * 512 * 512) == 8000


def test_words_cost_by_the_call() -> None:
    found = quote(BOOK, kind="caption", model="", images=0, pixels=0)

    assert found.total_micro == 1000
    assert [(line.unit, line.quantity, line.amount_micro) for line in found.lines] == [("call", 1, 1000)]


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [(4_194_304, 2000), (4_194_305, 2001), (4_196_304, 2001), (4_196_305, 2002), (8_388_608, 2000 + 2098)],
)
def test_pixels_beyond_the_included_ones_cost_rounded_up(pixels: int, expected: int) -> None:
    assert price("upscale", "", pixels=pixels) == expected


def test_a_plans_own_price_is_of_any_image() -> None:
    found = quote(BOOK, kind="upscale", model="large", images=2, pixels=10**9, price_per_image_micro=1500)

    assert (found.total_micro, found.book_version) == (3000, 3)


def test_a_plans_own_price_is_not_of_words() -> None:
    found = quote(BOOK, kind="caption", model="", images=0, pixels=0, price_per_image_micro=1500)

    assert found.total_micro == 1000


@given(images=st.integers(0, 15), width=SIDES, height=SIDES, own=st.none() | st.integers(0, 10**9))
def test_a_price_is_the_sum_of_its_lines_and_each_of_them_its_product(
    images: int, width: int, height: int, own: int | None
) -> None:
    found: Quote = quote(
        BOOK,
        kind="upscale",
        model="",
        images=images,
        pixels=images * width * height,
        price_per_image_micro=own,
    )

    assert found.total_micro == sum(line.amount_micro for line in found.lines) >= 0
    for line in found.lines:
        exact = line.quantity * line.unit_micro
        if line.unit == "pixel":
            assert (line.amount_micro - 1) * 1_000_000 < exact <= line.amount_micro * 1_000_000
        else:
            assert line.amount_micro == exact
