"""Second seeds, noise of another size, seamless images, restored faces, and upscalers between two passes."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.generation.wishes import FaceWish
from gpu_runtime.messages import Enlarging
from tests.apps.api.a1111.conftest import (
    A1111Client,
    bad_field,
    last_request,
    opened,
    picture,
    refusal,
    the_job,
)
from tests.factories import make_adapter, make_checkpoint


def make_restorers(*variants: str) -> None:
    """Networks that restore faces, with what finds them."""
    for variant in (*variants, "detection", "landmarks"):
        make_adapter(f"{variant}-net", kind="face", family="", variant=variant)


def info_of(response: Any) -> dict[str, Any]:
    assert response.status_code == 200, response.content
    info: dict[str, Any] = json.loads(response.json()["info"])
    return info


def test_a_second_seed(ada: A1111Client) -> None:
    info = info_of(ada.draw(seed=7, subseed=100, subseed_strength=0.3, n_iter=2))

    resolved = the_job().resolved
    assert resolved.variation is not None
    assert (resolved.seeds, resolved.variation_seeds) == ((7, 7), (100, 101))
    assert resolved.variation.strength == 0.3
    assert (info["all_seeds"], info["all_subseeds"], info["subseed"]) == ([7, 7], [100, 101], 100)
    assert info["subseed_strength"] == 0.3
    assert "Seed: 7, Variation seed: 101, Variation seed strength: 0.3" in info["infotexts"][1]
    assert "Variation seed" not in info["extra_generation_params"]


def test_a_second_seed_may_be_drawn(ada: A1111Client) -> None:
    info = info_of(ada.draw(seed=7, subseed=-1, subseed_strength=1))

    assert info["all_subseeds"] == list(the_job().resolved.variation_seeds)


@pytest.mark.parametrize("subseed", [-1, 5])
def test_a_second_seed_without_strength_has_no_part(ada: A1111Client, subseed: int) -> None:
    info = info_of(ada.draw(seed=7, subseed=subseed, n_iter=2))

    assert the_job().resolved.variation is None
    assert info["all_seeds"] == [7, 8]
    assert info["all_subseeds"] == ([7, 8] if subseed < 0 else [5, 6])


def test_noise_of_another_size(ada: A1111Client) -> None:
    info = info_of(ada.draw(seed=7, seed_resize_from_w=128, seed_resize_from_h=96))

    variation = the_job().resolved.variation
    assert variation is not None
    assert (variation.from_width, variation.from_height, variation.strength) == (128, 96, 0.0)
    assert (info["seed_resize_from_w"], info["seed_resize_from_h"]) == (128, 96)
    assert "Seed resize from: 128x96" in info["infotexts"][0]


@pytest.mark.parametrize("sides", [(-1, -1), (0, 0), (128, -1), (0, 128)])
def test_noise_of_another_size_needs_both_sides(ada: A1111Client, sides: tuple[int, int]) -> None:
    info = info_of(ada.draw(seed_resize_from_w=sides[0], seed_resize_from_h=sides[1]))

    assert the_job().resolved.variation is None
    assert info["seed_resize_from_w"] == -1


def test_noise_of_an_impossible_size(ada: A1111Client) -> None:
    assert bad_field(ada.draw(seed_resize_from_w=32, seed_resize_from_h=64)) == (
        "seed_resize_from_w",
        "seed_resize_from_w must be 64 to 2048, not 32",
    )


def test_seamless_images(ada: A1111Client) -> None:
    info = info_of(ada.draw(tiling=True))

    assert the_job().resolved.is_seamless
    assert "Tiling: True" in info["infotexts"][0]


def test_models_without_seamless_images(ada: A1111Client) -> None:
    make_checkpoint("flux-dev", family="flux")

    field, message = bad_field(ada.draw(tiling=True, override_settings={"sd_model_checkpoint": "flux-dev"}))

    assert field == "tiling"
    assert message.startswith("tiling ")


def test_faces_are_restored_by_what_is_installed(ada: A1111Client) -> None:
    make_restorers("codeformer")

    info = info_of(ada.draw(restore_faces=True))

    [used] = the_job().resolved.faces
    assert used.wish == FaceWish(weight=0.5)
    assert used.assets[0].name == "codeformer-net"
    assert (info["restore_faces"], info["face_restoration_model"]) == (True, "codeformer-net")
    assert opened(ada.draw(restore_faces=True).json()["images"][0]).size == (64, 64)


def test_settings_say_what_restores_faces(ada: A1111Client) -> None:
    make_restorers("codeformer", "gfpgan")
    ada.post("options", {"face_restoration_model": "GFPGAN"})
    assert ada.get("options").json()["face_restoration_model"] == "GFPGAN"

    for settings, expected in (
        ({}, ("gfpgan-net", 0.5)),
        ({"face_restoration_model": "CodeFormer", "code_former_weight": 0.2}, ("codeformer-net", 0.2)),
    ):
        info_of(ada.draw(restore_faces=True, override_settings=settings))
        [used] = last_request().faces
        assert (used.assets[0].name, used.wish.weight) == expected


def test_faces_without_a_model(ada: A1111Client) -> None:
    response = ada.draw(restore_faces=True)

    assert refusal(response)[0] == 400
    assert response["X-Darkroom-Error"] == "model_not_installed"


def test_extras_restore_faces(ada: A1111Client) -> None:
    make_restorers("codeformer", "gfpgan")
    sent = {"gfpgan_visibility": 0.4, "codeformer_visibility": 1, "codeformer_weight": 0.25}

    body = ada.post("extra-single-image", {"image": picture()} | sent).json()

    assert opened(body["image"]).size == (64, 64)
    assert [used.wish for used in last_request().faces] == [
        FaceWish(model="gfpgan", visibility=0.4, weight=0.25),
        FaceWish(model="codeformer", visibility=1.0, weight=0.25),
    ]


@pytest.mark.parametrize("upscale_first", [False, True])
def test_extras_say_what_comes_first(ada: A1111Client, upscale_first: bool) -> None:
    make_restorers("gfpgan")
    sent = {"gfpgan_visibility": 1, "upscaler_1": "Lanczos", "upscale_first": upscale_first}

    body = ada.post("extra-single-image", {"image": picture()} | sent).json()

    assert opened(body["image"]).size == (128, 128)
    assert [used.wish.is_after_upscale for used in last_request().faces] == [upscale_first]


@pytest.mark.parametrize(
    ("name", "enlarging", "model"),
    [
        (None, Enlarging.LATENTS, None),
        ("Latent (bicubic)", Enlarging.LATENTS, None),
        ("Lanczos", Enlarging.LANCZOS, None),
        ("None", Enlarging.LANCZOS, None),
        ("Nearest", Enlarging.NEAREST, None),
        ("R-ESRGAN 4x+", Enlarging.OPERATIONS, "realesrgan-x4plus"),
        ("Sharp-x2", Enlarging.OPERATIONS, "Sharp-x2"),
    ],
)
def test_upscalers_between_two_passes(
    ada: A1111Client, name: str | None, enlarging: Enlarging, model: str | None
) -> None:
    make_adapter("realesrgan-x4plus", kind="upscaler", family="", details={"scale": 4})
    make_adapter("Sharp-x2", kind="upscaler", family="", details={"scale": 2})

    info = info_of(ada.draw(enable_hr=True, hr_upscaler=name, denoising_strength=0.5))

    hires = the_job().resolved.hires
    assert hires is not None
    assert hires.enlarging is enlarging
    assert [asset.name for asset in hires.assets] == ([model] if model else [])
    assert model is None or info["extra_generation_params"]["Hires upscaler"] == model


def test_an_unknown_upscaler_between_two_passes(ada: A1111Client) -> None:
    response = ada.draw(enable_hr=True, hr_upscaler="LDSR")

    assert refusal(response) == (400, "Invalid upscaler: LDSR")
    assert response["X-Darkroom-Error"] == "upscaler_not_found"


def test_a_text_of_an_image_asks_for_the_same_again(ada: A1111Client) -> None:
    make_restorers("gfpgan")
    first = ada.draw(
        seed=7,
        subseed=9,
        subseed_strength=0.25,
        seed_resize_from_w=128,
        seed_resize_from_h=128,
        tiling=True,
        restore_faces=True,
    )
    made = last_request()

    info_of(ada.post("txt2img", {"infotext": info_of(first)["infotexts"][0]}))

    again = last_request()
    assert (again.seeds, again.variation, again.is_seamless) == (made.seeds, made.variation, True)
    assert again.faces == made.faces
