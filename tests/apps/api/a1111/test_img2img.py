"""POST img2img: pictures, masks, and how they are read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.generation.choices import Fill, Kind, Resize
from apps.generation.models import GenerationJob
from tests.apps.api.a1111.conftest import A1111Client, bad_field, picture, refusal, the_job
from tests.cast import Cast
from tests.factories import give_plan, make_adapter


def test_from_a_picture(ada: A1111Client) -> None:
    response = ada.redraw(denoising_strength=0.4, resize_mode=1, width=128)

    resolved = the_job().resolved
    assert response.status_code == 200
    assert (resolved.kind, resolved.strength, resolved.resize) == (Kind.IMG2IMG, 0.4, Resize.CROP)
    assert (resolved.width, resolved.height) == (128, 64)


def test_latents_are_stretched_as_pixels_are(ada: A1111Client) -> None:
    ada.redraw(resize_mode=3, width=128)

    assert the_job().resolved.resize is Resize.STRETCH


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


def test_several_pictures_are_a_batch(ada: A1111Client) -> None:
    response = ada.redraw(init_images=[picture(), picture(colour="red")], seed=7, batch_size=2, n_iter=2)

    body = response.json()
    info = json.loads(body["info"])
    made = [job.resolved for job in GenerationJob.objects.order_by("pk")]
    digests = [resolved.image.digest for resolved in made if resolved.image]
    assert response.status_code == 200, body
    assert (len(body["images"]), len(set(digests))) == (4, 2)
    assert (digests[0], digests[1]) == (digests[2], digests[3])
    assert [resolved.seed for resolved in made] == info["all_seeds"] == [7, 8, 9, 10]
    assert len(info["all_prompts"]) == len(info["all_subseeds"]) == len(info["infotexts"]) == 4
    assert (info["batch_size"], body["parameters"]["init_images"]) == (2, None)


def test_several_pictures_whatever_the_batch_size(ada: A1111Client) -> None:
    body = ada.redraw(init_images=[picture(), picture(colour="red"), picture(colour="blue")]).json()

    seeds = json.loads(body["info"])["all_seeds"]
    assert len(body["images"]) == 3
    assert [(seed - seeds[0]) % 2**32 for seed in seeds] == [0, 1, 2]


def test_second_seeds_count_up_through_the_pictures(ada: A1111Client) -> None:
    body = ada.redraw(
        init_images=[picture(), picture(colour="red")], seed=1, subseed=2**32 - 1, subseed_strength=0.5
    ).json()

    assert json.loads(body["info"])["all_subseeds"] == [2**32 - 1, 0]


def test_several_pictures_with_a_unit_get_its_map_once(ada: A1111Client) -> None:
    make_adapter("canny-net", kind="controlnet", variant="canny")
    units = {"controlnet": {"args": [{"module": "canny"}]}}

    body = ada.redraw(init_images=[picture(), picture(colour="red")], alwayson_scripts=units).json()

    assert len(body["images"]) == 3
    kinds = [job.kind for job in GenerationJob.objects.order_by("pk")]
    assert kinds == [Kind.IMG2IMG, Kind.IMG2IMG, Kind.DETECT]


def test_several_pictures_are_submitted_all_or_none(ada: A1111Client, cast: Cast) -> None:
    give_plan(cast.account, calls_per_day=1)

    status, _ = refusal(ada.redraw(init_images=[picture(), picture(colour="red")]))

    assert status == 429
    assert not GenerationJob.objects.exists(), (
        "else the first could end, and count, before the second is refused"
    )


def test_too_many_pictures(ada: A1111Client) -> None:
    field, message = bad_field(ada.redraw(init_images=[picture()] * 10, n_iter=2))

    assert (field, message) == (
        "n_iter",
        "n_iter times the pictures of init_images must be at most 15, not 20: send several requests",
    )


def test_the_unreadable_one_of_several_is_named(ada: A1111Client) -> None:
    status, detail = refusal(ada.redraw(init_images=[picture(), "!"]))

    assert (status, detail) == (500, "Invalid encoded image: init_images.1 is neither an address nor base64")


def test_masks_are_softened_alike_in_both_directions(ada: A1111Client) -> None:
    field, _ = bad_field(ada.redraw(mask=picture(), mask_blur_x=2, mask_blur_y=9))

    assert field == "mask_blur_y"
