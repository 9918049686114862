"""The `openai` library, as its makers ship it, against a real appliance with the starter model."""

from __future__ import annotations

import asyncio
import base64
import io
import subprocess
import urllib.request
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from PIL import Image

from deploy.appliance.environment import REPOSITORY
from tests.acceptance.conftest import Quickstart
from tests.acceptance.pictures import is_same, pixels
from tests.harness.waits import wait_until

pytestmark = pytest.mark.slow

HOLE = (32, 32, 96, 96)
LIMITED_KEY = """
from apps.core import clock
from tests.factories import give_plan, make_account, make_key
account = make_account("limited")
give_plan(account, calls_per_day=0)
print("key", make_key(account).plaintext)
"""


@pytest.fixture(scope="module")
def client(quickstart: Quickstart) -> Iterator[OpenAI]:
    # Strict: the library otherwise takes whatever it gets for what it expects.
    with OpenAI(
        base_url=f"{quickstart.url}/v1", api_key=quickstart.key, _strict_response_validation=True
    ) as client:
        yield client


@pytest.fixture(scope="module")
def apple(client: OpenAI) -> Image.Image:
    answer = client.images.generate(model="starter", prompt="a red apple", extra_body={"seed": 3})
    return image_of(answer)


def image_of(answer: Any, index: int = 0) -> Image.Image:
    """Any: one of the library's answers, or an event of a stream."""
    item = answer.data[index] if hasattr(answer, "data") else answer
    return Image.open(io.BytesIO(base64.b64decode(item.b64_json)))


def png(image: Image.Image, name: str = "image.png") -> tuple[str, bytes, str]:
    """As the library takes files."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return name, buffer.getvalue(), "image/png"


def mask_for(image: Image.Image) -> tuple[str, bytes, str]:
    """Transparent in the middle: that is to be made anew."""
    mask = Image.new("RGBA", image.size, (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), HOLE)
    return png(mask, "mask.png")


def shell(quickstart: Quickstart, code: str) -> list[str]:
    """The words that `code` prints in the appliance, the first of them left out."""
    answer = subprocess.run(
        [str(REPOSITORY / "deploy" / "manage"), "shell", "--no-imports", "-c", code],
        env={
            "DARKROOM_HOME": str(quickstart.home),
            "PATH": "/usr/bin:/bin",
            "HOME": str(quickstart.home),
            "PYTHONPATH": str(REPOSITORY),
        },
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout.strip().splitlines()[-1].split()[1:]


def states(quickstart: Quickstart) -> dict[int, str]:
    """Of the newest jobs, by their ids."""
    answer = httpx2.get(
        f"{quickstart.url}/v1/jobs?limit=100", headers={"Authorization": f"Bearer {quickstart.key}"}
    )
    return {job["id"]: job["state"] for job in answer.json()["items"]}


def test_generate(client: OpenAI) -> None:
    answer = client.images.generate(
        model="starter", prompt="a red apple", n=2, size="128x128", quality="low", user="u-1"
    )

    assert answer.data is not None
    first, second = (image_of(answer, index) for index in range(2))
    assert (first.format, first.size, len(answer.data)) == ("PNG", (128, 128), 2)
    assert pixels(first).std() > 10
    assert (pixels(first) != pixels(second)).any()
    assert (answer.size, answer.quality, answer.output_format) == ("128x128", "low", "png")
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens


def test_the_same_seed_gives_the_same_image(client: OpenAI, apple: Image.Image) -> None:
    again = client.images.generate(
        model="gpt-image-1", prompt="a red apple", extra_body={"seed": 3, "negative_prompt": ""}
    )

    assert is_same(pixels(image_of(again)), pixels(apple))


def test_links(client: OpenAI) -> None:
    answer = client.images.generate(
        model="dall-e-3", prompt="a cat", style="natural", quality="hd", response_format="url"
    )

    assert answer.data is not None and answer.data[0].url is not None
    assert answer.data[0].revised_prompt == "a cat, natural colours, soft light"
    with urllib.request.urlopen(answer.data[0].url, timeout=30) as response:
        assert Image.open(io.BytesIO(response.read())).size == (128, 128)


def test_a_transparent_background(client: OpenAI) -> None:
    answer = client.images.generate(
        model="starter", prompt="a red apple", background="transparent", output_format="webp"
    )

    image = image_of(answer)
    assert (image.format, image.mode, answer.background) == ("WEBP", "RGBA", "transparent")
    assert image.getchannel("A").getextrema()[0] == 0


def test_an_edit_changes_what_the_mask_lets_through(client: OpenAI, apple: Image.Image) -> None:
    answer = client.images.edit(
        model="starter",
        image=png(apple),
        mask=mask_for(apple),
        prompt="a yellow banana",
        extra_body={"seed": 5, "steps": 8},
    )

    edited, before = pixels(image_of(answer)), pixels(apple)
    left, top, right, bottom = HOLE
    is_inside = np.zeros(before.shape[:2], dtype=bool)
    is_inside[top:bottom, left:right] = True
    assert (edited[~is_inside] == before[~is_inside]).all()
    assert np.abs(edited[is_inside] - before[is_inside]).mean() > 10


def test_an_edit_without_a_mask_begins_from_the_picture(client: OpenAI, apple: Image.Image) -> None:
    strengths = {"high": 0.0, "low": 0.0}
    for fidelity in strengths:
        answer = client.images.edit(
            model="starter",
            image=[png(apple)],
            prompt="a green apple",
            input_fidelity=fidelity,  # type: ignore[arg-type]  # one of their two words
            extra_body={"seed": "5"},
        )
        strengths[fidelity] = float(np.abs(pixels(image_of(answer)) - pixels(apple)).mean())

    assert 0 < strengths["high"] < strengths["low"]


def test_variations(client: OpenAI, apple: Image.Image) -> None:
    with pytest.warns(DeprecationWarning):
        answer = client.images.create_variation(
            model="starter", image=png(apple), n=2, response_format="b64_json"
        )

    first, second = (pixels(image_of(answer, index)) for index in range(2))
    assert first.shape == pixels(apple).shape
    assert (first != second).any()
    assert (first != pixels(apple)).any()


def test_a_stream_of_an_image_in_the_making(client: OpenAI) -> None:
    events = list(
        client.images.generate(
            model="starter",
            prompt="a red apple",
            stream=True,
            partial_images=2,
            size="256x256",
            extra_body={"steps": 60},
        )
    )

    assert [event.type for event in events[:-1]] == ["image_generation.partial_image"] * (len(events) - 1)
    assert len(events) >= 2
    assert [event.partial_image_index for event in events if hasattr(event, "partial_image_index")] == list(
        range(len(events) - 1)
    )
    assert events[-1].type == "image_generation.completed"
    assert {image_of(event).size for event in events} == {(256, 256)}
    assert events[-1].usage.output_tokens == 64


def test_a_stream_of_an_edit(client: OpenAI, apple: Image.Image) -> None:
    events = list(
        client.images.edit(
            model="starter", image=png(apple), mask=mask_for(apple), prompt="a banana", stream=True
        )
    )

    assert [event.type for event in events] == ["image_edit.completed"]


def test_models(client: OpenAI, quickstart: Quickstart) -> None:
    assert [model.id for model in client.models.list()] == ["starter"]
    assert client.models.retrieve("starter").object == "model"
    # The native API lives at the same path.
    request = urllib.request.Request(
        f"{quickstart.url}/v1/models", headers={"Authorization": f"Bearer {quickstart.key}"}
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        assert b'"items"' in response.read()


def test_several_at_once_from_the_asynchronous_client(quickstart: Quickstart, apple: Image.Image) -> None:
    async def ask() -> list[Any]:
        async with AsyncOpenAI(base_url=f"{quickstart.url}/v1", api_key=quickstart.key) as client:
            edit = client.images.edit(model="starter", image=png(apple), mask=mask_for(apple), prompt="a cat")
            images = [client.images.generate(model="starter", prompt=f"a {each}") for each in ("dog", "cat")]
            return [
                *await asyncio.gather(edit, *images),
                await last_event(client),
                await client.models.list(),
            ]

    async def last_event(client: AsyncOpenAI) -> Any:
        stream = await client.images.generate(model="starter", prompt="a dog", stream=True)
        return [event async for event in stream][-1]

    edited, dog, cat, event, models = asyncio.run(ask())
    assert {image_of(each).size for each in (edited, dog, cat, event)} == {(128, 128)}
    assert models.data[0].id == "starter"


@pytest.mark.parametrize(
    ("fields", "error", "code", "param"),
    [
        ({"model": "nothing"}, openai.NotFoundError, "model_not_found", "model"),
        ({"n": 11}, openai.BadRequestError, "invalid_value", "n"),
        ({"size": "7x7"}, openai.BadRequestError, "invalid_value", "size"),
        ({"prompt": ""}, openai.BadRequestError, "missing_required_parameter", "prompt"),
        ({"extra_body": {"nonsense": 1}}, openai.BadRequestError, "unknown_parameter", "nonsense"),
    ],
)
def test_refusals_are_the_librarys_errors(
    client: OpenAI, fields: dict[str, Any], error: type[openai.APIStatusError], code: str, param: str
) -> None:
    with pytest.raises(error) as caught:
        client.images.generate(**{"model": "starter", "prompt": "x"} | fields)

    assert (caught.value.code, caught.value.param) == (code, param)
    assert caught.value.type == "invalid_request_error"
    assert str(caught.value.request_id).startswith("req_")


def test_a_wrong_key(client: OpenAI) -> None:
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(api_key="sk-wrong").models.list()

    assert caught.value.code == "invalid_api_key"


def test_a_spent_quota_is_asked_for_once(quickstart: Quickstart) -> None:
    [key] = shell(quickstart, LIMITED_KEY)
    sent: list[httpx2.Request] = []
    counting = httpx2.Client(event_hooks={"request": [sent.append]})

    with (
        OpenAI(base_url=f"{quickstart.url}/v1", api_key=key, http_client=counting) as client,
        pytest.raises(openai.RateLimitError) as caught,
    ):
        client.images.generate(model="starter", prompt="x")

    assert (caught.value.code, len(sent)) == ("insufficient_quota", 1)


def test_who_gives_up_waiting_leaves_nothing_behind(client: OpenAI, quickstart: Quickstart) -> None:
    before = states(quickstart)

    with pytest.raises(openai.APITimeoutError):
        client.with_options(timeout=1.0, max_retries=1).images.generate(
            model="starter", prompt="x", n=8, size="256x256", extra_body={"steps": 150}
        )

    def ended() -> list[str]:
        made = [state for job, state in states(quickstart).items() if job not in before]
        return made if "queued" not in made and "running" not in made else []

    # Sent twice, and nobody can fetch either.
    assert wait_until(ended, what="the end of both jobs") == ["canceled"] * 2


def test_a_form_without_a_length(quickstart: Quickstart, apple: Image.Image) -> None:
    """As the library for JavaScript sends it."""
    boundary = b"a-boundary"
    fields = {"model": b"starter", "prompt": b"a banana", "stream": b"false"}
    parts = [
        b'--%b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n' % (boundary, name.encode(), value)
        for name, value in fields.items()
    ]
    file = b'--%b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' % boundary
    parts += [file, png(apple)[1], b"\r\n--%b--\r\n" % boundary]

    answer = httpx2.post(
        f"{quickstart.url}/v1/images/edits",
        content=iter(parts),
        headers={
            "Authorization": f"Bearer {quickstart.key}",
            "Content-Type": f"multipart/form-data; boundary={boundary.decode()}",
        },
        timeout=60,
    )

    assert answer.request.headers["Transfer-Encoding"] == "chunked"
    assert (answer.status_code, answer.json()["size"]) == (200, "128x128"), answer.text[:300]
