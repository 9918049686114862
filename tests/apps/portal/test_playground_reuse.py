"""Settings taken from what was made before: a job, a file of ours, a file of somebody else's."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.test import Client
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from apps.api.native.jobs_translation import read_asked
from apps.audit.models import AuditEvent
from apps.generation.models import GenerationJob
from tests.apps.api.client import ApiClient
from tests.cast import Cast
from tests.factories import make_adapter, make_checkpoint, png_bytes

PAGE = "/portal/playground"
A1111 = (
    "a lighthouse <lora:ink:0.7>\nNegative prompt: fog\n"
    "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 42, Size: 512x768, Model: tiny, Clip skip: 2"
)


def png_with(**texts: str) -> bytes:
    info = PngInfo()
    for name, text in texts.items():
        info.add_text(name, text)
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def settings_of(browser: Client, data: bytes) -> Any:
    response = browser.post(f"{PAGE}/picture", data, "image/png")
    assert response.status_code == 200, response.content
    return response.json()


def submitted(cast: Cast, **fields: Any) -> GenerationJob:
    make_checkpoint("tiny")
    response = ApiClient(cast.key_text).post("/v1/jobs", {"model": "tiny", "prompt": "a fox"} | fields)
    assert response.status_code == 202, response.content
    return GenerationJob.objects.get(pk=response.json()["id"])


def test_settings_of_a_job_ask_for_the_same(ada: Client, cast: Cast) -> None:
    make_adapter("ink")
    make_adapter("sharp", kind="vae")
    asked = {
        "negative_prompt": "fog",
        "width": 256,
        "height": 128,
        "num_images": 2,
        "steps": 9,
        "guidance_scale": 3.5,
        "seed": 42,
        "sampler": "euler",
        "schedule": "karras",
        "clip_skip": 1,
        "prompt_style": "weighted",
        "tier": "exact",
        "loras": [{"name": "ink", "scale": 0.5}],
        "vae": "sharp",
        "hires": {"width": 512, "height": 256, "steps": 4, "strength": 0.5},
        "variation": {"seed": 1, "strength": 0.25},
        "output": {"media_type": "image/webp", "quality": 80},
    }
    job = submitted(cast, **asked)

    again = ada.get(f"{PAGE}/jobs/{job.pk}").json()["fields"]

    read_asked(again)
    for name, value in asked.items():
        if isinstance(value, dict):
            assert value.items() <= again[name].items(), name
        else:
            assert again[name] == value, name
    response = ApiClient(cast.key_text).post("/v1/jobs", again)
    assert response.status_code == 202, response.content
    assert GenerationJob.objects.get(pk=response.json()["id"]).request == job.request


def test_settings_of_a_job_with_pictures(ada: Client, cast: Cast) -> None:
    make_checkpoint("tiny")
    client = ApiClient(cast.key_text)
    upload = client.http.post(
        "/v1/uploads", png_bytes(width=64, height=64), "image/png", headers=client.headers
    )
    digest = upload.json()["id"]
    body = {"kind": "img2img", "model": "tiny", "prompt": "a fox", "image": digest, "strength": 0.4}
    job_id = client.post("/v1/jobs", body).json()["id"]

    again = ada.get(f"{PAGE}/jobs/{job_id}").json()["fields"]

    assert again["image"] == digest
    assert (again["kind"], again["strength"]) == ("img2img", 0.4)
    response = client.post("/v1/jobs", again)
    assert response.status_code == 202, response.content


def test_settings_of_a_strangers_job_are_not_found_and_noted(cleo: Client, cast: Cast) -> None:
    job = submitted(cast)

    assert cleo.get(f"{PAGE}/jobs/{job.pk}").status_code == 404
    assert AuditEvent.objects.filter(name="portal.foreign_id").count() == 1
    assert cleo.get(f"{PAGE}/jobs/{'9' * 30}").status_code == 404


def test_settings_of_our_own_file(ada: Client, cast: Cast) -> None:
    own = {
        "software": "Darkroom",
        "kind": "txt2img",
        "checkpoint": "tiny",
        "prompt": "a fox",
        "steps": 9,
        "seed": 3,
    }

    found = settings_of(ada, png_with(darkroom=json.dumps(own), parameters="a fox\nSteps: 9, Seed: 3"))

    assert found == {
        "fields": {"kind": "txt2img", "model": "tiny", "prompt": "a fox", "steps": 9, "seed": 3},
        "source": "darkroom",
    }


def test_settings_of_a_file_of_automatic1111(ada: Client, cast: Cast) -> None:
    make_checkpoint("tiny")

    found = settings_of(ada, png_with(parameters=A1111))

    assert found["fields"] == {
        "kind": "txt2img",
        "model": "tiny",
        "prompt": "a lighthouse",
        "negative_prompt": "fog",
        "width": 512,
        "height": 768,
        "steps": 20,
        "guidance_scale": 6.5,
        "seed": 42,
        "sampler": "dpmpp_2m",
        "schedule": "karras",
        "clip_skip": 1,
        "prompt_style": "weighted",
        "loras": [{"name": "ink", "scale": 0.7}],
    }


def test_a_model_that_is_not_here_is_left_out(ada: Client, cast: Cast) -> None:
    make_checkpoint("tiny", owner=cast.strangers_account, visibility="private")

    assert "model" not in settings_of(ada, png_with(parameters=A1111))["fields"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"nonsense",
        png_bytes(),
        png_with(darkroom="[1, 2"),
        png_with(darkroom='{"kind": "nonsense"}'),
        png_with(darkroom="[]", parameters=""),
    ],
)
def test_files_that_say_nothing(ada: Client, data: bytes) -> None:
    assert settings_of(ada, data)["fields"] == {}


def test_values_that_the_api_would_refuse_are_left_out(ada: Client, cast: Cast) -> None:
    own = {
        "kind": "txt2img",
        "prompt": "x\0y",
        "steps": 10**9,
        "seed": "many",
        "sampler": ["euler"],
        "width": {"a": 1},
        "loras": "ink",
        "adapters": {"loras": [{"name": 7}, "x", {"name": "ink", "scale": "1e400"}], "vae": "x"},
        "output": {"media_type": "text/html"},
        "hires": {"output_width": -1},
    }

    fields = settings_of(ada, png_with(darkroom=json.dumps(own)))["fields"]

    assert fields == {"kind": "txt2img", "loras": [{"name": "ink"}]}
