"""Every class of error, with its exact JSON."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client

from apps.api.a1111.fields import FIELDS, IGNORED, NEUTRAL, describe
from apps.generation.models import GenerationJob
from tests.apps.api import jobs
from tests.apps.api.a1111.conftest import V1, A1111Client, bad_field, refusal
from tests.cast import Cast
from tests.factories import give_plan, make_adapter, make_checkpoint


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("steps", "many", 'steps must be a whole number from 1 to 150, not "many"'),
        ("steps", 0, "steps must be a whole number from 1 to 150, not 0"),
        ("steps", True, "steps must be a whole number from 1 to 150, not true"),
        ("width", 8, "width must be a whole number from 64 to 2055, not 8"),
        ("cfg_scale", 99, "cfg_scale must be a number from 0 to 30, not 99"),
        ("prompt", ["a"], "prompt must be text of at most 10000 characters, not a list"),
        ("prompt", "a\0b", "prompt must not contain the character NUL (U+0000)"),
        ("steps", 1e300, "steps must be a whole number from 1 to 150, not 1e+300"),
        ("subseed_strength", 2, "subseed_strength must be a number from 0 to 1, not 2"),
        ("tiling", "maybe", 'tiling must be true or false, not "maybe"'),
        ("s_churn", 3, f"s_churn {NEUTRAL['s_churn'][1]}"),
        ("s_min_uncond", 3, f"s_min_uncond {NEUTRAL['s_min_uncond'][1]}"),
        ("override_settings", {"x": float("nan")}, "override_settings must not contain NaN or infinities"),
        ("script_args", [float("inf")], "script_args must not contain NaN or infinities"),
        ("override_settings", [], "override_settings must be an object, not a list"),
        (
            "refiner_checkpoint",
            "nope",
            "refiner_checkpoint names no model of this server: 'nope'",
        ),
        ("prompt", "<lora:x:much>", "prompt has a tag whose weight is no number: <lora:x:much>"),
        ("prompt", "<lora:x:9>", "prompt must be -4.0 to 4.0, not 9.0"),
    ],
)
def test_a_wrong_field(ada: A1111Client, field: str, value: Any, message: str) -> None:
    assert bad_field(ada.draw(**{field: value})) == (field, message)
    assert not GenerationJob.objects.exists()


def test_the_whole_body_of_a_wrong_field(ada: A1111Client) -> None:
    response = ada.draw(steps=0)

    assert response.json() == {
        "detail": [
            {
                "loc": ["body", "steps"],
                "msg": "steps must be a whole number from 1 to 150, not 0",
                "type": "value_error",
            }
        ]
    }
    assert response["X-Darkroom-Error"] == "invalid_field"


def test_weights_for_a_model_that_reads_none(ada: A1111Client) -> None:
    make_checkpoint("sana", family="sana")
    sent = {"prompt": "a (red:1.2) fox", "override_settings": {"sd_model_checkpoint": "sana"}}

    assert bad_field(ada.draw(**sent)) == (
        "prompt",
        "prompt has brackets, which give weights; sana takes none: write \\( and \\) for brackets",
    )
    assert ada.draw(**sent | {"prompt": r"a \(red\) fox"}).status_code == 200


def test_too_many_images(ada: A1111Client) -> None:
    assert bad_field(ada.draw(n_iter=4, batch_size=4)) == (
        "batch_size",
        "batch_size times n_iter must be at most 15, not 16: send several requests",
    )


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"hr_prompt": "a blue fox <lora:ink:1>"}, "hr_prompt"),
        ({"hr_prompt": "x" * 32_001}, "hr_prompt"),
        ({"hr_checkpoint_name": "other"}, "hr_checkpoint_name"),
        ({"hr_scale": 1}, "hr_scale"),
        ({"denoising_strength": 0}, "denoising_strength"),
    ],
)
def test_second_passes_that_cannot_be(ada: A1111Client, fields: dict[str, Any], field: str) -> None:
    make_adapter("ink")

    assert bad_field(ada.draw(enable_hr=True, **fields))[0] == field


@pytest.mark.parametrize(
    ("sampler", "field"), [("Euler a", "eta"), ("DDIM", "eta"), ("Heun", "s_churn"), ("DPM++ SDE", "s_noise")]
)
def test_what_a_sampler_reads_and_runs_without(ada: A1111Client, sampler: str, field: str) -> None:
    assert bad_field(ada.draw(sampler_name=sampler, **{field: 0.4}))[0] == field


def test_a_factor_that_the_second_sampler_reads(ada: A1111Client) -> None:
    fields = {"sampler_name": "Euler", "hr_sampler_name": "Euler a", "eta": 0.4}

    assert ada.draw(**fields).status_code == 200
    assert bad_field(ada.draw(**fields, enable_hr=True))[0] == "eta"


def test_a_sampler_of_the_second_pass_that_is_not_there(ada: A1111Client) -> None:
    assert refusal(ada.draw(enable_hr=True, hr_sampler_name="Magic")) == (400, "Sampler not found")


def test_the_second_prompt_is_judged_as_well(ada: A1111Client, cast: Cast) -> None:
    response = ada.draw(enable_hr=True, hr_prompt="a nude ten year old girl")

    assert response.status_code == 400
    assert not GenerationJob.objects.exists()


@pytest.mark.parametrize(
    "fields",
    [{"script_name": "x/y plot"}, {"alwayson_scripts": {"x/y plot": {"args": []}}}],
)
def test_unknown_scripts(ada: A1111Client, fields: dict[str, Any]) -> None:
    assert refusal(ada.draw(**fields)) == (422, "Script 'x/y plot' not found")


def test_a_failed_job(ada: A1111Client, worker: Any) -> None:
    worker(lambda job: jobs.fail(job, "out_of_memory", "It does not fit."))

    assert refusal(ada.draw()) == (500, "It does not fit.")


def test_a_blocked_image(ada: A1111Client, worker: Any) -> None:
    worker(lambda job: jobs.fail(job, "blocked_content", "The image was refused."))

    assert refusal(ada.draw()) == (400, "The image was refused.")


def test_the_days_quota(ada: A1111Client, cast: Cast) -> None:
    give_plan(cast.account, calls_per_day=1)
    ada.draw()

    response = ada.draw()

    assert refusal(response)[0] == 429
    assert int(response["Retry-After"]) > 0
    assert response["X-Darkroom-Error"] == "daily_quota_exhausted"


def test_a_body_that_is_no_json(ada: A1111Client) -> None:
    assert refusal(ada.post("txt2img", '{"a": 1, "a": 2}')) == (
        400,
        'The request body names the field "a" more than once.',
    )


def test_without_a_database(ada: A1111Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: object, **__: object) -> None:
        raise OperationalError

    monkeypatch.setattr("apps.api.a1111.views.read_asked", away)

    response = ada.draw()

    assert refusal(response)[0] == 503
    assert response["Retry-After"] == "5"


def test_what_nobody_foresaw(ada: A1111Client, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret")

    monkeypatch.setattr("apps.api.a1111.views.read_asked", broken)

    status, detail = refusal(ada.draw())

    assert status == 500
    assert detail.startswith("Internal server error; request id ")
    assert "secret" not in detail


@pytest.mark.parametrize("path", ["/sdapi/v1/nope", "/sdapi/v2/txt2img", "/internal/x", "/controlnet/x"])
@pytest.mark.parametrize("method", ["get", "post"])
def test_unknown_paths(db: None, path: str, method: str) -> None:
    response = getattr(Client(), method)(path)

    assert (response.status_code, response.json()) == (404, {"detail": "Not Found"})


@pytest.mark.parametrize("path", ["interrogate", "txt2img", "png-info", "interrupt"])
def test_get_of_what_is_posted(db: None, path: str) -> None:
    response = Client().get(V1 + path)

    assert (response.status_code, response.json()) == (405, {"detail": "Method Not Allowed"})
    assert "POST" in response["Allow"]


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        ({}, "Not authenticated"),
        ({"Authorization": "Basic bWU6d3Jvbmc="}, "Incorrect username or password"),
        ({"Authorization": "Basic ***"}, "Not authenticated"),
        ({"Authorization": "Bearer wrong"}, "Incorrect username or password"),
    ],
)
def test_no_key(ada: A1111Client, headers: dict[str, str], detail: str) -> None:
    response = Client().get(f"{V1}options", headers=headers)

    assert (response.status_code, response.json()) == (401, {"detail": detail})
    assert response["WWW-Authenticate"] == 'Basic realm="darkroom", charset="UTF-8"'


def test_where_a_key_may_stand(ada: A1111Client, cast: Cast) -> None:
    pairs = [f"anybody:{cast.key_text}", f"{cast.key_text}:", f"{cast.key_text}:x"]
    credentials = [f"Basic {base64.b64encode(pair.encode()).decode()}" for pair in pairs]

    for credential in [*credentials, f"Bearer {cast.key_text}"]:
        answer = Client().get(f"{V1}samplers", headers={"Authorization": credential})
        assert answer.status_code == 200, credential


def test_the_table_of_fields_agrees_with_itself() -> None:
    names = {field.name for field in FIELDS}

    assert names >= NEUTRAL.keys() | IGNORED.keys()
    assert not NEUTRAL.keys() & IGNORED.keys()
    described: Any = describe()
    assert described.keys() == {"txt2img", "img2img"}
    assert "init_images" not in described["txt2img"]["properties"]


def test_pictures_of_units_are_named(ada: A1111Client) -> None:
    units = {"args": [{"image": "!", "module": "canny"}]}

    status, detail = refusal(ada.draw(alwayson_scripts={"controlnet": units}))

    assert status == 500
    assert detail.startswith("Invalid encoded image: alwayson_scripts.ControlNet.args.0.image ")
