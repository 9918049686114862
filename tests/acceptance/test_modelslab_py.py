"""ModelsLab's own Python library, as it is, against a whole appliance with the starter model.

Only its base URL is another. What it prints and how it waits are its own affair.
"""

from __future__ import annotations

import base64
import io
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from modelslab_py.core.apis.community import Community
from modelslab_py.core.apis.deepfake import DeepFake
from modelslab_py.core.apis.image_editing import Image_editing
from modelslab_py.core.apis.realtime import Realtime
from modelslab_py.core.client import Client
from modelslab_py.schemas.community import ControlNet, Image2Image, Inpainting, Text2Image
from modelslab_py.schemas.deepfake import MultipleFaceSwap, SpecificFaceSwap
from modelslab_py.schemas.image_editing import (
    BackgroundRemoverSchema,
    CaptionSchema,
    InpaintingSchema,
    ObjectRemovalSchema,
    OutpaintingSchema,
    SuperResolutionSchema,
)
from modelslab_py.schemas.realtime import RealtimeText2ImageSchema
from PIL import Image
from skimage import data

from tests.acceptance.conftest import Quickstart
from tests.acceptance.pictures import is_same, pixels

# What the library calls of pydantic is its own affair.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

SIDE = 128


@pytest.fixture(scope="module")
def client(quickstart: Quickstart) -> Client:
    client = Client(api_key=quickstart.key, fetch_retry=60, fetch_timeout=1)
    client.base_url = f"{quickstart.url}/api/"
    return client


def as_base64(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def astronaut(side: int = 256) -> Image.Image:
    """A photograph of one person."""
    photograph = data.astronaut()  # type: ignore[no-untyped-call]  # skimage does not say its type
    return Image.fromarray(photograph).resize((side, side), Image.Resampling.LANCZOS)


def right_half(side: int) -> str:
    """A mask that is white on the right."""
    mask = Image.new("L", (side, side), 0)
    mask.paste(255, (side // 2, 0, side, side))
    return as_base64(mask)


def delivered(api: Any, answer: dict[str, Any]) -> list[Image.Image]:
    """The images of an answer; one that is not ready is fetched as the library does."""
    if answer["status"] == "processing":
        answer = api.fetch(str(answer["id"]))
    assert answer["status"] == "success", answer
    links = [answer["output"]] if isinstance(answer["output"], str) else answer["output"]
    return [image_of(link) for link in links]


def image_of(link: str) -> Image.Image:
    """Fetched without credentials."""
    with urllib.request.urlopen(link, timeout=30) as response:
        return Image.open(io.BytesIO(response.read()))


def difference(first: Image.Image, second: Image.Image) -> float:
    """Mean absolute difference of two pictures, 0 to 255."""
    return float(np.abs(pixels(first) - pixels(second)).mean())


@pytest.fixture(scope="module")
def apple(client: Client) -> Image.Image:
    [image] = _text(Community(client), prompt="a red apple", seed=3)
    return image


def _text(api: Community, **fields: Any) -> list[Image.Image]:
    asked = {"model_id": "starter", "width": SIDE, "height": SIDE} | fields
    return delivered(api, api.text_to_image(Text2Image(**asked)))


def test_text_to_image(client: Client, apple: Image.Image) -> None:
    again, other = _text(Community(client), prompt="a red apple", seed=3, samples=2)

    assert apple.size == (SIDE, SIDE)
    assert is_same(pixels(apple), pixels(again))
    assert difference(apple, other) > 1


def test_enterprise_text_to_image(client: Client, apple: Image.Image) -> None:
    [image] = _text(Community(client, enterprise=True), prompt="a red apple", seed=3)

    assert is_same(pixels(apple), pixels(image))


def test_image_to_image(client: Client, apple: Image.Image) -> None:
    api = Community(client)
    asked = Image2Image(
        model_id="starter", prompt="a green leaf", init_image=as_base64(apple), strength=0.4, seed=1
    )

    [image] = delivered(api, api.image_to_image(asked))

    assert image.size == apple.size
    assert 1 < difference(apple, image) < 80


def test_inpainting_leaves_what_is_not_marked(client: Client, apple: Image.Image) -> None:
    api = Community(client)
    asked = Inpainting(
        model_id="starter",
        prompt="a yellow star",
        init_image=as_base64(apple),
        mask_image=right_half(SIDE),
        seed=1,
    )

    [image] = delivered(api, api.inpainting(asked))

    left, right = (0, 0, SIDE // 2 - 16, SIDE), (SIDE // 2 + 16, 0, SIDE, SIDE)
    assert difference(apple.crop(left), image.crop(left)) == 0
    assert difference(apple.crop(right), image.crop(right)) > 1


def test_a_missing_controlnet_is_named(client: Client, apple: Image.Image) -> None:
    asked = ControlNet(
        model_id="starter", prompt="x", init_image=as_base64(apple), controlnet_model="canny", strength=None
    )

    with pytest.raises(Exception, match=r"status code 400: .*No ControlNet of type canny"):
        Community(client).controlnet(asked)


def test_realtime(client: Client) -> None:
    api = Realtime(client)

    [image] = delivered(
        api,
        api.text_to_image(RealtimeText2ImageSchema(prompt="a blue fish", width=SIDE, height=SIDE, seed=4)),
    )

    assert image.size == (SIDE, SIDE)


def test_background_removal(client: Client) -> None:
    api = Image_editing(client)

    [image] = delivered(api, api.background_remover(BackgroundRemoverSchema(image=as_base64(astronaut()))))

    alpha = np.asarray(image.convert("RGBA"))[..., 3]
    assert image.size == (256, 256)
    assert alpha[100, 115] > 200, "her face is cut away"
    assert (alpha < 30).mean() > 0.1, "nothing is cut away"


def test_super_resolution(client: Client) -> None:
    api = Image_editing(client)
    small = astronaut(48)

    [image] = delivered(
        api, api.super_resolution(SuperResolutionSchema(init_image=as_base64(small), scale=2))
    )

    assert image.size == (96, 96)
    assert difference(image.resize(small.size, Image.Resampling.BOX), small) < 15


def test_outpainting(client: Client, apple: Image.Image) -> None:
    api = Image_editing(client)
    asked = OutpaintingSchema(
        image=as_base64(apple), prompt="a red apple", width=192, height=SIDE, num_inference_steps=8, seed=2
    )

    [image] = delivered(api, api.outpainting(asked))

    assert image.size == (192, SIDE)
    inner = (64 + 32, 0, 64 + 32 + 32, SIDE)
    kept = (64, 0, 96, SIDE)
    assert difference(image.crop(inner), apple.crop(kept)) < 40


def test_inpainting_of_image_editing(client: Client, apple: Image.Image) -> None:
    api = Image_editing(client)
    asked = InpaintingSchema(
        prompt="a star",
        init_image=as_base64(apple),
        mask_image=right_half(SIDE),
        width=SIDE,
        height=SIDE,
        seed=1,
    )

    [image] = delivered(api, api.inpainting(asked))

    assert image.size == (SIDE, SIDE)


def test_object_removal(client: Client) -> None:
    api = Image_editing(client)
    scene = Image.new("RGB", (96, 96), "skyblue")
    scene.paste((200, 30, 30), (40, 40, 56, 56))
    mask = Image.new("L", (96, 96), 0)
    mask.paste(255, (36, 36, 60, 60))
    asked = ObjectRemovalSchema(init_image=as_base64(scene), mask_image=as_base64(mask))

    [image] = delivered(api, api.object_remover(asked))

    assert difference(image, Image.new("RGB", (96, 96), "skyblue")) < 3


def test_a_caption_model_that_is_not_installed_is_named(client: Client) -> None:
    with pytest.raises(Exception, match=r"status code 400: .*No caption model is installed"):
        Image_editing(client).caption(CaptionSchema(init_image=as_base64(astronaut(64))))


def test_face_swap(client: Client, tmp_path: Path) -> None:
    api = DeepFake(client)
    scene, face = astronaut(), astronaut().transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    asked = SpecificFaceSwap(
        init_image=as_base64(scene), target_image=as_base64(face), reference_image=as_base64(scene)
    )

    [image] = delivered(api, api.specific_face_swap(asked))

    assert (image.size, image.format) == ((256, 256), "JPEG")
    corner = (0, 200, 60, 256)
    assert difference(image.crop(corner), scene.crop(corner)) < 6


def test_a_picture_without_a_face_is_an_error_that_says_so(client: Client) -> None:
    plain = as_base64(Image.new("RGB", (128, 128), "gray"))
    api = DeepFake(Client(api_key=client.api_key, fetch_retry=1, fetch_timeout=0))
    api.base_url, api.client.base_url = DeepFake(client).base_url, client.base_url

    answer = api.multiple_face_swap(MultipleFaceSwap(init_image=plain, target_image=as_base64(astronaut())))

    assert answer["status"] == "error", answer
    assert "face" in answer["message"]


def test_a_wrong_key_is_refused(client: Client) -> None:
    stranger = Client(api_key="dkr_wrong")
    stranger.base_url = client.base_url

    with pytest.raises(Exception, match=r"status code 401: .*Invalid API key"):
        _text(Community(stranger), prompt="x")
