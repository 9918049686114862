"""webuiapi, a Python client of AUTOMATIC1111's API, run unmodified against a real appliance.

All that is its caller's: the address, and the key as the password.
"""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import webuiapi
from PIL import Image

from tests.acceptance.conftest import Quickstart
from tests.acceptance.pictures import is_same

pytestmark = pytest.mark.slow

SMALL = {"prompt": "a red apple", "width": 128, "height": 128, "steps": 8, "cfg_scale": 4.5}


@pytest.fixture(scope="module")
def api(quickstart: Quickstart) -> webuiapi.WebUIApi:
    return webuiapi.WebUIApi(host="127.0.0.1", port=quickstart.port, username="user", password=quickstart.key)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    picture = skimage.data.astronaut()  # type: ignore[no-untyped-call]
    return Image.fromarray(picture).resize((128, 128))


def test_what_there_is(api: webuiapi.WebUIApi) -> None:
    name = api.util_get_model_names()[0]

    api.util_set_model(name)

    assert api.util_get_current_model() == name
    assert "Euler a" in api.util_get_sampler_names()
    assert "karras" in api.util_get_scheduler_names()
    assert api.get_upscalers()[0]["name"] == "None"
    api.util_wait_for_ready()


def test_options(api: webuiapi.WebUIApi) -> None:
    before = api.get_options()["samples_format"]

    api.set_options({"samples_format": "jpg"})
    result = api.txt2img(**SMALL)
    api.set_options({"samples_format": before})

    assert result.image.format == "JPEG"
    assert api.get_options()["samples_format"] == before


def test_drawing(api: webuiapi.WebUIApi) -> None:
    result = api.txt2img(**SMALL, negative_prompt="blue", seed=7, n_iter=2)
    again = api.txt2img(**SMALL, negative_prompt="blue", seed=7, n_iter=2)

    assert [image.size for image in result.images] == [(128, 128), (128, 128)]
    assert result.info["all_seeds"] == [7, 8]
    assert result.parameters["negative_prompt"] == "blue"
    assert is_same(_pixels(result.images[1]), _pixels(again.images[1]))


def test_a_second_pass(api: webuiapi.WebUIApi) -> None:
    result = api.txt2img(
        **SMALL,
        enable_hr=True,
        hr_scale=2,
        hr_upscaler=webuiapi.HiResUpscaler.Latent,
        hr_prompt="a green apple",
        hr_sampler_name="DPM++ 2M",
        denoising_strength=0.6,
    )

    assert result.image.size == (256, 256)
    assert result.info["extra_generation_params"]["Hires prompt"] == "a green apple"


def test_redrawing_several_pictures(api: webuiapi.WebUIApi, photo: Image.Image) -> None:
    result = api.img2img(
        images=[photo, photo.rotate(90)], **SMALL, seed=5, batch_size=2, denoising_strength=0.3
    )

    assert result.info["all_seeds"] == [5, 6]
    for image, source in zip(result.images, (photo, photo.rotate(90)), strict=True):
        assert _distance(image, source) < 60
    assert _distance(*result.images) > 20


def test_painting_over_a_part(api: webuiapi.WebUIApi, photo: Image.Image) -> None:
    mask = Image.new("L", photo.size)
    mask.paste(255, (64, 0, 128, 128))

    result = api.img2img(
        images=[photo], mask_image=mask, mask_blur=0, inpaint_full_res=False, **SMALL, denoising_strength=1.0
    )

    kept, drawn = (0, 0, 64, 128), (64, 0, 128, 128)
    assert _distance(result.image.crop(kept), photo.crop(kept)) == 0
    assert _distance(result.image.crop(drawn), photo.crop(drawn)) > 5


def test_enlarging(api: webuiapi.WebUIApi, photo: Image.Image) -> None:
    small = photo.resize((48, 48))

    one = api.extra_single_image(small, upscaler_1=webuiapi.Upscaler.ESRGAN_4x, upscaling_resize=2)
    both = api.extra_batch_images([small, photo], upscaler_1=webuiapi.Upscaler.Lanczos, upscaling_resize=1.5)

    assert one.image.size == (96, 96)
    assert [image.size for image in both.images] == [(72, 72), (192, 192)]


def test_controlnet(api: webuiapi.WebUIApi, photo: Image.Image) -> None:
    assert "canny" in api.controlnet_module_list()
    assert api.controlnet_version() >= 2

    edges = api.controlnet_detect([photo], module="canny").image

    assert set(np.unique(_pixels(edges))) <= {0, 255}
    assert isinstance(api.controlnet_model_list(), list)


def test_a_controlnet_that_is_not_there(api: webuiapi.WebUIApi, photo: Image.Image) -> None:
    unit = webuiapi.ControlNetUnit(image=photo, module="canny", model="no such network")

    with pytest.raises(RuntimeError, match="no such network"):
        # The client keeps units in that argument's default, for every later call.
        api.txt2img(**SMALL, controlnet_units=[unit], alwayson_scripts={})


def test_what_a_file_says(api: webuiapi.WebUIApi) -> None:
    drawn = api.txt2img(**SMALL, seed=7)

    said = api.png_info(drawn.image)

    assert said.info.startswith("a red apple")
    assert "Seed: 7" in said.info


def test_nothing_to_stop(api: webuiapi.WebUIApi) -> None:
    assert api.interrupt() == {}
    assert api.skip() is None
    assert api.get_progress()["progress"] == 0


def _pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("RGB"), dtype=np.int16)


def _distance(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of the channels, 0 to 255."""
    return float(np.abs(_pixels(one) - _pixels(other)).mean())
