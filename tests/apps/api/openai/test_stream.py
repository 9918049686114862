"""`stream: true`: partial images while a job runs, each image when it is done, failures as events."""

from __future__ import annotations

import base64
import io
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PIL import Image, ImageColor

from apps.generation.lifecycle import lease_of
from apps.generation.models import GenerationJob
from apps.generation.progress import keep_previews
from gpu_runtime.messages import Preview
from tests.apps.api import jobs
from tests.apps.api.openai.conftest import Act, OpenAIClient, deliver, error_of, picture, the_job
from tests.factories import make_adapter

NOON = 1_772_452_800
Event = tuple[str, dict[str, Any]]


def events_of(response: Any) -> list[Event]:
    """Names and data; comments are left out."""
    assert response["Content-Type"] == "text/event-stream"
    text = b"".join(response.streaming_content).decode()
    found = []
    for block in text.split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if lines:
            found.append((lines["event"], json.loads(lines["data"])))
    return found


def break_off(response: Any) -> None:
    """Read one event and close, as gunicorn does when its client is gone."""
    assert next(iter(response.streaming_content)) == b": still here\n\n"
    # By the test client's own wrapper, which leaves the test its connection.
    response._iterator.close()


def jpeg(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), colour).save(buffer, "JPEG")
    return buffer.getvalue()


COLOURS = {5: "black", 10: "navy", 15: "blue", 20: "teal", 25: "white"}
"""What the previews of a job show, by the steps it has done of 25."""


def run_slowly(lag: int = 0) -> Callable[..., Iterator[GenerationJob]]:
    """In place of `follow_job`: a worker that tells its progress, and shows what was `lag` steps before."""

    def follow(job: GenerationJob, *, timeout_s: float) -> Iterator[GenerationJob]:
        yield job
        claimed = jobs.claim(job)
        for step in COLOURS:
            jobs.progress(claimed, step)
            if step > lag:
                shown = Preview(request_id="", index=0, step=step - lag, data=jpeg(COLOURS[step - lag]))
                keep_previews({lease_of(claimed): shown})
            job.refresh_from_db()
            yield job
        deliver(claimed)
        job.refresh_from_db()
        yield job

    return follow


@pytest.fixture
def slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs show a preview after each fifth of their steps."""
    monkeypatch.setattr("apps.api.openai.outcomes.follow_job", run_slowly())


def colour_of(event: Event) -> str:
    """Which of the previews a partial image shows."""
    picture = Image.open(io.BytesIO(base64.b64decode(event[1]["b64_json"]))).convert("RGB")
    seen = picture.getpixel((8, 8))
    return min(COLOURS.values(), key=lambda name: math.dist(ImageColor.getrgb(name)[:3], seen))


def test_partial_images_and_the_image(ada: OpenAIClient, slowly: None) -> None:
    response = ada.generate(stream=True, partial_images=2, size="64x128", quality="high", steps=25)

    events = events_of(response)
    assert response["X-Accel-Buffering"] == "no"
    assert [name for name, _ in events] == [
        "image_generation.partial_image",
        "image_generation.partial_image",
        "image_generation.completed",
    ]
    said = {"size": "64x128", "quality": "high", "background": "opaque", "output_format": "png"}
    for index, (name, data) in enumerate(events[:2]):
        shown = Image.open(io.BytesIO(base64.b64decode(data.pop("b64_json"))))
        assert (shown.format, shown.size) == ("PNG", (64, 128))
        assert data == {"type": name, "partial_image_index": index, "created_at": NOON, **said}
    done = events[2][1]
    assert Image.open(io.BytesIO(base64.b64decode(done.pop("b64_json")))).size == (64, 128)
    assert done == {
        "type": "image_generation.completed",
        "created_at": NOON,
        **said,
        "usage": {
            "input_tokens": 3,
            "input_tokens_details": {"text_tokens": 3, "image_tokens": 0},
            "output_tokens": 8,
            "output_tokens_details": {"text_tokens": 0, "image_tokens": 8},
            "total_tokens": 11,
        },
    }


@pytest.mark.parametrize(("output_format", "named"), [("jpeg", "JPEG"), ("webp", "WEBP"), ("png", "PNG")])
def test_partial_images_are_of_the_asked_type(
    ada: OpenAIClient, slowly: None, output_format: str, named: str
) -> None:
    events = events_of(ada.generate(stream=True, partial_images=1, output_format=output_format))

    assert Image.open(io.BytesIO(base64.b64decode(events[0][1]["b64_json"]))).format == named


def test_partial_images_are_at_most_1024_pixels(ada: OpenAIClient, slowly: None) -> None:
    events = events_of(ada.generate(stream=True, partial_images=1, size="2048x512"))

    assert Image.open(io.BytesIO(base64.b64decode(events[0][1]["b64_json"]))).size == (1024, 256)


@pytest.mark.parametrize("wanted", [0, 1, 3])
def test_as_many_partial_images_as_were_asked_for(ada: OpenAIClient, slowly: None, wanted: int) -> None:
    events = events_of(ada.generate(stream=True, partial_images=wanted))

    assert len(events) == wanted + 1
    assert the_job().resolved.wants_previews == (wanted > 0)


@pytest.mark.parametrize(
    ("wanted", "lag", "shown"),
    [
        (1, 0, ["teal"]),
        (2, 0, ["blue", "teal"]),
        (3, 0, ["blue", "teal", "white"]),
        # What is shown has had the steps that are due, however far the job is by then.
        (1, 5, ["teal"]),
        (3, 10, ["blue"]),
        (3, 15, []),
    ],
)
def test_which_previews_are_shown(
    ada: OpenAIClient, monkeypatch: pytest.MonkeyPatch, wanted: int, lag: int, shown: list[str]
) -> None:
    monkeypatch.setattr("apps.api.openai.outcomes.follow_job", run_slowly(lag))

    *partials, _ = events_of(ada.generate(stream=True, partial_images=wanted))

    assert [colour_of(each) for each in partials] == shown


def test_without_previews_there_is_the_image_alone(ada: OpenAIClient) -> None:
    assert len(events_of(ada.generate(stream=True, partial_images=3))) == 1


def test_each_of_several_images_is_an_event(ada: OpenAIClient) -> None:
    events = events_of(ada.generate(stream=True, n=2))

    assert [name for name, _ in events] == ["image_generation.completed"] * 2
    assert events[0][1]["b64_json"] != events[1][1]["b64_json"]
    assert [data["usage"]["input_tokens"] for _, data in events] == [3, 0]


def test_edits_have_names_of_their_own(ada: OpenAIClient, slowly: None) -> None:
    events = events_of(ada.edit(image=picture(), stream=True, partial_images="1"))

    assert [name for name, _ in events] == ["image_edit.partial_image", "image_edit.completed"]


def test_a_refusal_comes_before_the_stream(ada: OpenAIClient) -> None:
    assert error_of(ada.generate(stream=True, n=99))[0] == 400


def test_a_failure_is_an_event_that_libraries_raise(ada: OpenAIClient, worker: Callable[[Act], None]) -> None:
    worker(lambda job: jobs.fail(job, "blocked_content", "Not shown."))

    assert events_of(ada.generate(stream=True)) == [
        (
            "error",
            {
                "type": "error",
                "error": {
                    "message": "Not shown.",
                    "type": "image_generation_user_error",
                    "param": None,
                    "code": "moderation_blocked",
                },
            },
        )
    ]


def test_a_stream_that_is_broken_off_cancels_the_job(ada: OpenAIClient, slowly: None) -> None:
    break_off(ada.generate(stream=True))

    assert the_job().state == "canceled"


def test_with_an_idempotency_key_it_can_be_taken_up_again(ada: OpenAIClient, slowly: None) -> None:
    break_off(ada.generate({"Idempotency-Key": "k"}, stream=True))
    assert the_job().state == "queued"

    again = ada.generate({"Idempotency-Key": "k"}, stream=True)

    assert [name for name, _ in events_of(again)] == ["image_generation.completed"]
    assert GenerationJob.objects.count() == 1


def test_nothing_is_shown_that_may_be_replaced(ada: OpenAIClient, slowly: None) -> None:
    make_adapter("nsfw", kind="safety", family="", variant="image")

    ada.generate(stream=True, partial_images=3, moderation="auto")

    assert not the_job().resolved.wants_previews
