"""POST /v1/images/generations: what is asked for, and what comes back."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image

from apps.api.openai.limits import duration
from apps.generation.choices import Kind, Replacement
from apps.generation.models import GenerationJob
from tests.apps.api import jobs
from tests.apps.api.openai.conftest import OpenAIClient, picture, the_job
from tests.clocks import FrozenClock
from tests.factories import make_adapter, make_checkpoint

NOON = 1_772_452_800
"""Of 2 March 2026, UTC, in Unix seconds."""


def image_of(item: dict[str, str]) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(item["b64_json"], validate=True)))


def test_the_whole_answer(ada: OpenAIClient) -> None:
    response = ada.generate(n=2, size="64x96")

    body = response.json()
    pictures = [image_of(item) for item in body["data"]]
    assert response.status_code == 200
    assert response["Content-Type"] == "application/json"
    assert [(picture.format, picture.size) for picture in pictures] == [("PNG", (64, 96))] * 2
    assert body == {
        "created": NOON,
        "data": [{"b64_json": item["b64_json"]} for item in body["data"]],
        "background": "opaque",
        "output_format": "png",
        "quality": "medium",
        "size": "64x96",
        "usage": {
            "input_tokens": 3,
            "input_tokens_details": {"text_tokens": 3, "image_tokens": 0},
            "output_tokens": 12,
            "output_tokens_details": {"text_tokens": 0, "image_tokens": 12},
            "total_tokens": 15,
        },
    }


def test_headers_name_request_job_tier_and_quota(ada: OpenAIClient) -> None:
    response = ada.generate()

    assert response["X-Request-Id"].startswith("req_")
    assert response["X-Darkroom-Job"] == str(the_job().pk)
    assert response["X-Darkroom-Tier"] == "standard"
    assert response["X-RateLimit-Remaining"] == "99"
    assert response["Cache-Control"] == "no-store"


def test_limits_have_openais_names_too(ada: OpenAIClient) -> None:
    for response in (ada.generate(), ada.generate(stream=True), ada.generate(n=0)):
        limits = {name: value for name, value in response.items() if name.endswith("-Requests")}
        assert limits.keys() == {
            "X-RateLimit-Limit-Requests",
            "X-RateLimit-Remaining-Requests",
            "X-RateLimit-Reset-Requests",
        }
        assert limits["X-RateLimit-Limit-Requests"] == "100"
        assert limits["X-RateLimit-Remaining-Requests"] == response["X-RateLimit-Remaining"]
        assert limits["X-RateLimit-Reset-Requests"] == "12h0m0s"
    assert "X-RateLimit-Limit-Requests" not in ada.get("/v1/models")


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (45, "45s"), (60, "1m0s"), (3661, "1h1m1s"), (86_400, "24h0m0s")]
)
def test_durations_as_go_writes_them(seconds: int, text: str) -> None:
    assert duration(seconds) == text


def test_a_slash_at_the_end_is_as_good_as_none(ada: OpenAIClient) -> None:
    assert ada.post("/v1/images/generations/", {"prompt": "a red fox", "model": "tiny"}).status_code == 200
    assert ada.form("/openai/v1/images/variations/", {"model": "tiny", "image": picture()}).status_code == 200


def test_headers_of_organisations_and_projects_mean_nothing_here(ada: OpenAIClient) -> None:
    headers = {"OpenAI-Organization": "org-1", "OpenAI-Project": "proj_1", "OpenAI-Beta": "assistants=v2"}

    assert ada.generate(headers).status_code == 200


def test_what_is_not_said_is_the_models_own(ada: OpenAIClient) -> None:
    ada.generate()

    resolved = the_job().resolved
    assert (resolved.kind, resolved.checkpoint, resolved.prompt) == (Kind.TXT2IMG, "tiny", "a red fox")
    assert (resolved.width, resolved.height, resolved.num_images) == (64, 64, 1)
    assert (resolved.steps, resolved.guidance_scale, resolved.tier) == (25, 4.0, "standard")
    assert (resolved.check, resolved.background, resolved.upscale) == (None, None, None)
    assert (resolved.output.media_type, resolved.output.quality) == ("image/png", 100)


def test_extra_fields_of_our_own(ada: OpenAIClient) -> None:
    make_adapter("ink")

    ada.generate(
        negative_prompt="rain",
        seed=7,
        steps=9,
        guidance_scale=2.5,
        tier="exact",
        loras=[{"name": "ink", "scale": 0.5}],
    )

    resolved = the_job().resolved
    assert (resolved.negative_prompt, resolved.seed, resolved.steps) == ("rain", 7, 9)
    assert (resolved.guidance_scale, resolved.tier) == (2.5, "exact")
    assert [(lora.name, lora.scale) for lora in resolved.adapters.loras] == [("ink", 0.5)]


@pytest.mark.parametrize("loras", ["ink:0.5", ["ink:0.5"], {"ink": 0.5}, [{"name": "ink", "scale": "0.5"}]])
def test_loras_in_any_spelling(ada: OpenAIClient, loras: Any) -> None:
    make_adapter("ink")

    ada.generate(loras=loras)

    assert [(lora.name, lora.scale) for lora in the_job().resolved.adapters.loras] == [("ink", 0.5)]


@pytest.mark.parametrize(
    ("quality", "steps", "tier", "named"),
    [
        ("auto", 25, "standard", "medium"),
        ("standard", 25, "standard", "medium"),
        ("low", 12, "fast", "low"),
        ("medium", 25, "standard", "medium"),
        ("high", 38, "standard", "high"),
        ("hd", 38, "standard", "high"),
        ("xhigh", 38, "standard", "xhigh"),
        ("max", 50, "standard", "max"),
    ],
)
def test_quality_is_steps_and_tier(
    ada: OpenAIClient, quality: str, steps: int, tier: str, named: str
) -> None:
    body = ada.generate(quality=quality).json()

    assert (the_job().resolved.steps, the_job().resolved.tier) == (steps, tier)
    assert body["quality"] == named


def test_steps_win_over_quality(ada: OpenAIClient) -> None:
    ada.generate(quality="max", steps=3)

    assert the_job().resolved.steps == 3


def test_the_best_qualities_enlarge_with_the_upscaler(ada: OpenAIClient) -> None:
    make_checkpoint("small", max_native_side_px=128)
    make_adapter("realesrgan-x4plus", kind="upscaler", family="")

    body = ada.generate(model="small", size="512x256", quality="max").json()

    resolved = the_job().resolved
    assert resolved.upscale is not None
    assert (resolved.width, resolved.height) == (128, 64)
    assert (resolved.upscale.width, resolved.upscale.height) == (512, 256)
    assert body["size"] == "512x256"
    assert image_of(body["data"][0]).size == (512, 256)


def test_the_same_size_in_plain_quality_is_resampled(ada: OpenAIClient) -> None:
    make_checkpoint("small", max_native_side_px=128)

    ada.generate(model="small", size="512x256", quality="high")

    assert the_job().resolved.upscale is None
    assert the_job().resolved.delivered_size == (512, 256)


def test_what_is_larger_than_anything_made_here_is_enlarged(ada: OpenAIClient) -> None:
    make_adapter("realesrgan-x4plus", kind="upscaler", family="")

    ada.generate(size="3840x2160")

    resolved = the_job().resolved
    assert (resolved.width, resolved.height) == (2048, 1152)
    assert resolved.delivered_size == (3840, 2160)


def test_transparent_background(ada: OpenAIClient) -> None:
    make_adapter("cutout", kind="background_removal", family="", variant="general")

    body = ada.generate(background="transparent", output_format="webp").json()

    background = the_job().resolved.background
    assert background is not None and background.wish.is_transparent
    assert (body["background"], body["output_format"]) == ("transparent", "webp")


@pytest.mark.parametrize(
    ("fields", "media_type", "quality", "file_format"),
    [
        ({"output_format": "jpeg"}, "image/jpeg", 100, "JPEG"),
        ({"output_format": "jpeg", "output_compression": 40}, "image/jpeg", 40, "JPEG"),
        ({"output_format": "webp", "output_compression": 0}, "image/webp", 1, "WEBP"),
        ({"output_format": "png", "output_compression": 100}, "image/png", 100, "PNG"),
    ],
)
def test_file_types(
    ada: OpenAIClient, fields: dict[str, Any], media_type: str, quality: int, file_format: str
) -> None:
    body = ada.generate(**fields).json()

    output = the_job().resolved.output
    assert (output.media_type, output.quality) == (media_type, quality)
    assert image_of(body["data"][0]).format == file_format
    assert body["output_format"] == fields["output_format"]


def test_moderation_auto_hides_what_is_unsuitable(ada: OpenAIClient) -> None:
    make_adapter("nsfw", kind="safety", family="", variant="image")

    ada.generate(moderation="auto")

    check = the_job().resolved.check
    assert check is not None
    assert check.replacement == Replacement.BLUR


def test_moderation_low_leaves_it_to_the_account(ada: OpenAIClient) -> None:
    ada.generate(moderation="low")

    assert the_job().resolved.check is None


def test_style_is_told_as_a_revised_prompt(ada: OpenAIClient) -> None:
    body = ada.generate(style="natural").json()

    revised = "a red fox, natural colours, soft light"
    assert the_job().resolved.prompt == revised
    assert body["data"][0]["revised_prompt"] == revised


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"safety_identifier": "u-1"}, "u-1"),
        ({"user": "u-2"}, "u-2"),
        ({"user": "u-2", "safety_identifier": "u-1"}, "u-1"),
    ],
)
def test_the_end_user_is_echoed(ada: OpenAIClient, fields: dict[str, str], expected: str) -> None:
    assert ada.generate(**fields).json()["safety_identifier"] == expected


@pytest.mark.parametrize(
    ("fields", "form"),
    [
        ({"model": "tiny"}, "b64_json"),
        ({"model": "tiny", "response_format": "url"}, "url"),
        ({"model": "gpt-image-1"}, "b64_json"),
        ({"model": "dall-e-3"}, "url"),
        ({"model": "dall-e-2", "response_format": "b64_json"}, "b64_json"),
        ({"model": None}, "url"),
    ],
)
def test_links_or_base64(ada: OpenAIClient, fields: dict[str, Any], form: str) -> None:
    [item] = ada.generate(**fields).json()["data"]

    assert item.keys() == {form}


def test_links_lead_to_the_image(ada: OpenAIClient) -> None:
    [item] = ada.generate(response_format="url").json()["data"]

    assert item["url"].startswith("http://testserver/media/")
    assert ada.http.get(item["url"])["Content-Type"] == "image/png"


def test_the_longest_prompt_is_kept_whole(ada: OpenAIClient) -> None:
    prompt = "fox " * 7_999 + "jump"

    assert ada.generate(prompt=prompt).status_code == 200
    assert the_job().resolved.prompt == prompt


def test_nulls_are_not_said(ada: OpenAIClient) -> None:
    assert ada.generate(n=None, size=None, quality=None, stream=None, seed=None).status_code == 200


def test_one_call_is_charged(ada: OpenAIClient, clock: FrozenClock) -> None:
    ada.generate(n=3)

    job = the_job()
    assert (job.state, job.num_images) == ("succeeded", 3)
    assert jobs.traces()[1] == 0


def test_a_form_is_as_good_as_json(ada: OpenAIClient) -> None:
    response = ada.form("/v1/images/generations", {"prompt": "x", "n": "2", "model": "tiny"})

    assert len(response.json()["data"]) == 2


def test_the_same_answer_below_a_path_of_its_own(ada: OpenAIClient) -> None:
    response = ada.post("/openai/v1/images/generations", {"prompt": "x", "model": "tiny"})

    assert response.status_code == 200
    assert GenerationJob.objects.count() == 1
