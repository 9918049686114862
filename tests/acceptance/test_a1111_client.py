"""What third-party clients of stable-diffusion-webui do, by plain HTTP, against a real appliance.

In the order of an interface: it looks for what there is, draws while it asks how far that is, stops, paints
over a part of a picture, enlarges it, and reads back what a file says of itself.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import httpx2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.acceptance.conftest import Quickstart
from tests.acceptance.pictures import is_same
from tests.harness.waits import wait_until

pytestmark = pytest.mark.slow

HOLE = (32, 32, 96, 96)
ASKED: dict[str, Any] = {
    "prompt": "a red apple",
    "negative_prompt": "blue",
    "seed": 7,
    "steps": 12,
    "cfg_scale": 4.5,
    "sampler_name": "Euler a",
    "width": 128,
    "height": 128,
}
LONG: dict[str, Any] = {"prompt": "a red apple", "steps": 150, "batch_size": 8, "width": 128, "height": 128}


class WebUI:
    """A client with the key as its password."""

    def __init__(self, quickstart: Quickstart) -> None:
        self.http = httpx2.Client(base_url=quickstart.url, auth=("user", quickstart.key), timeout=120)

    def get(self, path: str) -> Any:
        answer = self.http.get(f"/sdapi/v1/{path}")
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None) -> Any:
        answer = self.http.post(f"/sdapi/v1/{path}", json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()


@pytest.fixture(scope="module")
def webui(quickstart: Quickstart) -> Iterator[WebUI]:
    client = WebUI(quickstart)
    with client.http:
        yield client


@pytest.fixture(scope="module")
def apple(webui: WebUI) -> str:
    """A finished image, base64."""
    image: str = webui.post("txt2img", ASKED)["images"][0]
    return image


def opened(text: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(text, validate=True)))


def pixels(text: str) -> NDArray[np.int16]:
    return np.asarray(opened(text).convert("RGB"), dtype=np.int16)


def distance(one: NDArray[np.int16], other: NDArray[np.int16]) -> float:
    """Mean difference of the channels, 0 to 255."""
    return float(np.abs(one - other).mean())


def mask() -> str:
    """White in the middle: that is to be made anew."""
    image = Image.new("L", (128, 128))
    image.paste(255, HOLE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def in_background(act: Callable[[], Any]) -> Future[Any]:
    threads = ThreadPoolExecutor(max_workers=1)
    future = threads.submit(act)
    threads.shutdown(wait=False)
    return future


def test_what_an_interface_asks_first(webui: WebUI) -> None:
    options = webui.get("options")
    models = webui.get("sd-models")
    samplers = [row["name"] for row in webui.get("samplers")]

    assert options["sd_model_checkpoint"] in [model["title"] for model in models]
    assert {"Euler a", "DPM++ 2M"} <= set(samplers)
    assert len(webui.get("schedulers")) == 12
    assert webui.get("upscalers")[0]["name"] == "None"
    assert webui.get("progress")["state"]["job_count"] == 0
    assert webui.post("options", {"sd_model_checkpoint": models[0]["title"]}) is None
    for path in ("loras", "embeddings", "sd-vae", "memory", "cmd-flags", "scripts", "script-info"):
        webui.get(path)


def test_the_ui_of_another_server_is_not_mistaken_for_this(webui: WebUI) -> None:
    assert webui.http.get("/system_stats").status_code == 404
    assert webui.http.get("/sdapi/v1/interrogate").status_code == 405
    assert webui.http.get("/sdapi/v1/interrogate", auth=("user", "wrong")).status_code == 405
    wrong = webui.http.get("/sdapi/v1/options", auth=("user", "wrong"))
    assert (wrong.status_code, wrong.headers["WWW-Authenticate"][:5]) == (401, "Basic")


def test_drawing_and_asking_how_far_it_is(webui: WebUI) -> None:
    drawing = in_background(
        lambda: webui.post("txt2img", LONG | {"steps": 40, "batch_size": 2, "force_task_id": "task(a)"})
    )

    def with_preview() -> Any:
        state = webui.get("progress")
        return state if state["current_image"] else None

    seen = wait_until(with_preview, what="a preview", timeout_s=60)
    assert 0 < seen["progress"] <= 1
    assert seen["current_task"] == "task(a)"
    assert 0 < seen["state"]["sampling_step"] <= seen["state"]["sampling_steps"]
    assert opened(seen["current_image"]).format == "JPEG"

    assert len(drawing.result(timeout=120)["images"]) == 2
    assert webui.get("progress")["progress"] == 0


def test_stopping(webui: WebUI) -> None:
    drawing = in_background(lambda: webui.post("txt2img", LONG))
    wait_until(lambda: webui.get("progress")["state"]["sampling_step"], what="a step", timeout_s=60)

    assert webui.post("interrupt") == {}

    answer = drawing.result(timeout=60)
    assert answer["images"] == []
    assert json.loads(answer["info"])["steps"] == 150


def test_hanging_up_cancels(webui: WebUI) -> None:
    with pytest.raises(httpx2.TimeoutException):
        webui.http.post("/sdapi/v1/txt2img", json=LONG | {"force_task_id": "task(gone)"}, timeout=1.0)

    def is_over() -> bool:
        answer = webui.http.post("/internal/progress", json={"id_task": "task(gone)"}).json()
        return bool(answer["completed"])

    # Nobody writes to the connection meanwhile: the server looks every few seconds whether it is there.
    wait_until(is_over, what="the end of a request that nobody waits for", timeout_s=30)


def test_the_same_seed_gives_the_same_image(webui: WebUI, apple: str) -> None:
    again = webui.post("txt2img", ASKED)["images"][0]

    assert is_same(pixels(again), pixels(apple))


def test_inpainting_keeps_what_is_not_masked(webui: WebUI, apple: str) -> None:
    sent = ASKED | {
        "init_images": [f"data:image/png;base64,{apple}"],
        "mask": mask(),
        "mask_blur": 0,
        "inpaint_full_res": False,
        "denoising_strength": 1.0,
        "inpainting_fill": 1,
        "prompt": "a green leaf",
        "seed": 11,
    }

    answer = webui.post("img2img", sent)

    before, after = pixels(apple), pixels(answer["images"][0])
    outside = np.ones(before.shape[:2], dtype=bool)
    outside[HOLE[1] : HOLE[3], HOLE[0] : HOLE[2]] = False
    assert (before[outside] == after[outside]).all()
    assert np.abs(before[~outside] - after[~outside]).mean() > 5
    assert answer["parameters"]["init_images"] is None


def test_enlarging(webui: WebUI, apple: str) -> None:
    sent = {"image": apple, "upscaler_1": "Lanczos", "upscaling_resize": 2}

    answer = webui.post("extra-single-image", sent)

    assert opened(answer["image"]).size == (256, 256)


def test_a_second_seed_leads_from_one_image_to_the_other(webui: WebUI) -> None:
    # Other samplers draw noise at every step, all of it from the first seed, as there.
    asked = ASKED | {"sampler_name": "Euler"}
    one, other = (pixels(webui.post("txt2img", asked | {"seed": seed})["images"][0]) for seed in (7, 8))
    near, far = (
        pixels(webui.post("txt2img", asked | {"subseed": 8, "subseed_strength": share})["images"][0])
        for share in (0.1, 1.0)
    )

    assert 0 < distance(near, one) < distance(near, other)
    assert distance(far, other) < 1


def test_a_texture_goes_on_at_its_edges(webui: WebUI, apple: str) -> None:
    seamless = pixels(webui.post("txt2img", ASKED | {"tiling": True})["images"][0])

    for axis in (0, 1):
        across = distance(seamless.take([0], axis), seamless.take([-1], axis))
        inside = np.abs(np.diff(seamless, axis=axis)).mean()
        assert across < 3 * inside
    assert distance(seamless, pixels(apple)) > 1


def test_an_upscaler_between_two_passes(webui: WebUI) -> None:
    [name] = [row["name"] for row in webui.get("upscalers") if row["name"] == "R-ESRGAN 4x+"]
    # A network that enlarges takes a core 15 s for a picture of twice these sides.
    small = {"width": 64, "height": 64, "steps": 4}
    sent = ASKED | small | {"enable_hr": True, "hr_scale": 2, "denoising_strength": 0.4}
    made = {
        upscaler: webui.post("txt2img", sent | {"hr_upscaler": upscaler}) for upscaler in (name, "Latent")
    }

    images = {upscaler: pixels(answer["images"][0]) for upscaler, answer in made.items()}
    assert {image.shape for image in images.values()} == {(128, 128, 3)}
    assert distance(images[name], images["Latent"]) > 1


def test_a_retry_gets_the_same_answer(webui: WebUI) -> None:
    answers = [
        webui.http.post("/sdapi/v1/txt2img", json=ASKED | {"seed": -1}, headers={"Idempotency-Key": "once"})
        for _ in range(2)
    ]

    assert answers[0].content == answers[1].content
    assert [answer.headers.get("Idempotent-Replayed") for answer in answers] == [None, "true"]


def test_detecting_edges(webui: WebUI, apple: str) -> None:
    answer = webui.http.post(
        "/controlnet/detect", json={"controlnet_module": "canny", "controlnet_input_images": [apple]}
    )

    assert answer.status_code == 200, answer.text
    [edges] = answer.json()["images"]
    assert set(np.unique(pixels(edges))) <= {0, 255}


def test_a_file_says_what_was_asked(webui: WebUI, apple: str) -> None:
    answer = webui.post("png-info", {"image": apple})

    said = answer["parameters"]
    assert (said["Prompt"], said["Negative prompt"]) == (ASKED["prompt"], ASKED["negative_prompt"])
    assert (int(said["Seed"]), int(said["Steps"])) == (ASKED["seed"], ASKED["steps"])
    assert (float(said["CFG scale"]), said["Sampler"]) == (ASKED["cfg_scale"], ASKED["sampler_name"])
    assert (said["Size-1"], said["Size-2"]) == ("128", "128")
    assert said["Model"] == webui.get("options")["sd_model_checkpoint"].partition(".")[0]
    repeated = webui.post("txt2img", {"infotext": answer["info"]})["images"][0]
    assert is_same(pixels(repeated), pixels(apple))
