"""POST img2img: pictures, masks, and how they are read."""

from __future__ import annotations

from typing import Any

import pytest

from apps.generation.choices import Fill, Kind, Resize
from tests.apps.api.a1111.conftest import A1111Client, bad_field, picture, refusal, the_job


def test_from_a_picture(ada: A1111Client) -> None:
    response = ada.redraw(denoising_strength=0.4, resize_mode=1, width=128)

    resolved = the_job().resolved
    assert response.status_code == 200
    assert (resolved.kind, resolved.strength, resolved.resize) == (Kind.IMG2IMG, 0.4, Resize.CROP)
    assert (resolved.width, resolved.height) == (128, 64)


def test_pictures_are_echoed_only_on_request(ada: A1111Client) -> None:
    image = picture()

    silent = ada.redraw(init_images=[image]).json()["parameters"]
    echoed = ada.redraw(init_images=[image], include_init_images=True).json()["parameters"]

    assert (silent["init_images"], silent["mask"]) == (None, None)
    assert echoed["init_images"] == [image]


def test_data_urls_are_taken(ada: A1111Client) -> None:
    assert ada.redraw(init_images=[f"data:image/png;base64,{picture()}"]).status_code == 200


def test_inpainting_by_upstreams_defaults(ada: A1111Client) -> None:
    ada.redraw(mask=picture(colour="white"))

    resolved = the_job().resolved
    options = resolved.mask_options
    assert (resolved.kind, resolved.strength) == (Kind.INPAINT, 0.75)
    assert (options.blur_px, options.fill, options.is_only_masked) == (4, Fill.BLUR, True)
    assert (options.padding_px, options.is_inverted) == (0, False)


@pytest.mark.parametrize(
    ("number", "fill"), [(0, Fill.BLUR), (1, Fill.ORIGINAL), (2, Fill.NOISE), (3, Fill.GREY)]
)
def test_what_lies_under_the_mask(ada: A1111Client, number: int, fill: Fill) -> None:
    ada.redraw(mask=picture(colour="white"), inpainting_fill=number)

    assert the_job().resolved.mask_options.fill is fill


def test_every_choice_of_inpainting(ada: A1111Client) -> None:
    ada.redraw(
        mask=picture(colour="white"),
        mask_blur=9,
        inpaint_full_res=False,
        inpaint_full_res_padding=32,
        inpainting_mask_invert=1,
    )

    options = the_job().resolved.mask_options
    assert (options.blur_px, options.is_only_masked, options.padding_px) == (9, False, 32)
    assert options.is_inverted


@pytest.mark.parametrize("images", [None, [], [""]])
def test_a_missing_picture(ada: A1111Client, images: Any) -> None:
    assert refusal(ada.redraw(init_images=images)) == (404, "Init image not found")


def test_an_unreadable_picture(ada: A1111Client) -> None:
    status, detail = refusal(ada.redraw(init_images=["bm90IGEgcGljdHVyZQ=="]))

    assert status == 500
    assert detail.startswith("Invalid encoded image: init_images ")


def test_an_unreadable_mask_is_named(ada: A1111Client) -> None:
    status, detail = refusal(ada.redraw(mask="!"))

    assert (status, detail) == (500, "Invalid encoded image: mask is neither an address nor base64")


def test_several_pictures(ada: A1111Client) -> None:
    field, message = bad_field(ada.redraw(init_images=[picture(), picture(colour="red")]))

    assert (field, message) == (
        "init_images",
        "init_images must be one picture: send a request for each",
    )


def test_masks_are_softened_alike_in_both_directions(ada: A1111Client) -> None:
    field, _ = bad_field(ada.redraw(mask=picture(), mask_blur_x=2, mask_blur_y=9))

    assert field == "mask_blur_y"
