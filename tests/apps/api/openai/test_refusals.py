"""Refusals: envelope, type, code and parameter as OpenAI's; and whether a library sends the request again."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import OperationalError

from apps.accounts.choices import SafetyRule
from apps.apikeys.choices import Scope
from apps.generation.models import GenerationJob
from tests.apps.api import jobs
from tests.apps.api.openai.conftest import EDIT, GENERATE, OpenAIClient, error_of
from tests.cast import Cast
from tests.factories import give_plan, make_adapter, make_checkpoint, make_key

INVALID = "invalid_request_error"


def expected(message: str, param: str | None, code: str, kind: str = INVALID) -> dict[str, Any]:
    return {"message": message, "type": kind, "param": param, "code": code}


@pytest.mark.parametrize(
    ("fields", "param", "message"),
    [
        ({"n": 0}, "n", "n must be a whole number from 1 to 10, not 0."),
        ({"n": "two"}, "n", 'n must be a whole number from 1 to 10, not "two".'),
        ({"n": True}, "n", "n must be a whole number from 1 to 10, not true."),
        (
            {"size": "big"},
            "size",
            'size must be auto or WIDTHxHEIGHT, each 64 to 4096 and a multiple of 8, not "big".',
        ),
        (
            {"size": "100x100"},
            "size",
            'size must be auto or WIDTHxHEIGHT, each 64 to 4096 and a multiple of 8, not "100x100".',
        ),
        (
            {"quality": "best"},
            "quality",
            'quality must be one of auto, low, medium, high, xhigh, max, standard, hd, not "best".',
        ),
        (
            {"output_format": "gif"},
            "output_format",
            'output_format must be one of png, jpeg, webp, not "gif".',
        ),
        (
            {"output_compression": 50},
            "output_compression",
            "output_compression below 100 is for jpeg and webp: set output_format, or leave it out.",
        ),
        (
            {"background": "transparent", "output_format": "jpeg"},
            "output_format",
            "output_format must not be image/jpeg for a transparent background: use PNG.",
        ),
        ({"prompt": 5}, "prompt", "prompt must be text of at most 32000 characters, not 5."),
        (
            {"prompt": "x" * 32_001},
            "prompt",
            "prompt must be text of at most 32000 characters, not 32001.",
        ),
        ({"prompt": "\0"}, "prompt", "prompt must not contain the character NUL (U+0000)."),
        ({"stream": "maybe"}, "stream", 'stream must be true or false, not "maybe".'),
        ({"guidance_scale": 99}, "guidance_scale", "guidance_scale must be a number from 0 to 30, not 99."),
        ({"loras": 5}, "loras", None),
        ({"loras": [{"name": "ink", "weight": 1}]}, "loras", None),
        ({"loras": ["ink", "ink"]}, "loras", "loras must name each LoRA once."),
        ({"partial_images": 4}, "partial_images", None),
    ],
)
def test_a_value_that_is_wrong(
    ada: OpenAIClient, fields: dict[str, Any], param: str, message: str | None
) -> None:
    status, error = error_of(ada.generate(**fields))

    assert (status, error["type"], error["param"], error["code"]) == (400, INVALID, param, "invalid_value")
    assert error["message"] == message or message is None
    assert jobs.traces() == jobs.NOTHING


@pytest.mark.parametrize("prompt", [None, "", "   "])
def test_a_missing_prompt(ada: OpenAIClient, prompt: str | None) -> None:
    status, error = error_of(ada.generate(prompt=prompt))

    assert (status, error["param"], error["code"]) == (400, "prompt", "missing_required_parameter")


def test_an_unknown_parameter(ada: OpenAIClient) -> None:
    assert error_of(ada.generate(cfg_scale=7)) == (
        400,
        expected("Unknown parameter: 'cfg_scale'.", "cfg_scale", "unknown_parameter"),
    )


@pytest.mark.parametrize("model", ["gpt-image-1", "gpt-image-1-mini", "chatgpt-image-latest"])
def test_models_that_answer_in_base64_alone_take_no_form(ada: OpenAIClient, model: str) -> None:
    message = (
        f"Unknown parameter: 'response_format'. {model} always answers in base64: leave the parameter out."
    )

    for form in ("b64_json", "url"):
        assert error_of(ada.generate(model=model, response_format=form)) == (
            400,
            expected(message, "response_format", "unknown_parameter"),
        )
    assert jobs.traces() == jobs.NOTHING


def test_a_parameter_of_another_endpoint(ada: OpenAIClient) -> None:
    assert error_of(ada.generate(strength=0.5))[1]["code"] == "unknown_parameter"


def test_what_this_server_does_not_do(ada: OpenAIClient) -> None:
    assert error_of(ada.generate(frame_count=4)) == (
        400,
        expected(
            "frame_count is not offered by this server: it makes single images.",
            "frame_count",
            "unsupported_parameter",
        ),
    )


def test_what_concerns_their_models_alone_is_ignored(ada: OpenAIClient) -> None:
    assert ada.generate(complexity="high").status_code == 200


@pytest.mark.parametrize("key", [None, "dk_nonsense"])
def test_without_a_key_that_counts(ada: OpenAIClient, key: str | None) -> None:
    response = OpenAIClient(key).generate()

    status, error = error_of(response)
    assert (status, error["type"], error["param"], error["code"]) == (401, INVALID, None, "invalid_api_key")
    assert response["WWW-Authenticate"] == 'Bearer realm="darkroom"'


def test_a_key_without_the_scope(cast: Cast, ada: OpenAIClient) -> None:
    key = make_key(cast.account, scopes=(Scope.JOBS_READ,)).plaintext

    status, error = error_of(OpenAIClient(key).generate())

    assert (status, error["code"]) == (403, "scope_missing")


def test_an_unknown_model(ada: OpenAIClient) -> None:
    assert error_of(ada.generate(model="nothing")) == (
        404,
        expected("Model not found: nothing.", "model", "model_not_found"),
    )
    assert jobs.traces() == jobs.NOTHING


def test_a_strangers_model(cast: Cast, cleo: OpenAIClient) -> None:
    make_checkpoint("secret", visibility="private", owner=cast.account)

    assert error_of(cleo.generate(model="secret"))[0] == 404


def test_a_disabled_model(ada: OpenAIClient) -> None:
    make_checkpoint("off", is_enabled=False)

    status, error = error_of(ada.generate(model="off"))

    assert (status, error["param"], error["code"]) == (403, "model", "model_disabled")


def test_a_model_the_key_may_not_use(cast: Cast, ada: OpenAIClient) -> None:
    key = make_key(cast.account, allowed_checkpoints=["other"]).plaintext

    status, error = error_of(OpenAIClient(key).generate())

    assert (status, error["param"], error["code"]) == (403, "model", "model_not_found")


def test_an_unknown_lora(ada: OpenAIClient) -> None:
    status, error = error_of(ada.generate(loras="nothing"))

    assert (status, error["param"], error["code"]) == (404, "loras", "lora_not_found")


def test_a_model_that_is_not_installed(ada: OpenAIClient) -> None:
    status, error = error_of(ada.generate(background="transparent"))

    assert (status, error["code"]) == (400, "model_not_installed")


def test_a_forbidden_prompt(cast: Cast, ada: OpenAIClient) -> None:
    make_adapter("nsfw", kind="safety", family="", variant="image")
    cast.account.safety = SafetyRule.BLOCK
    cast.account.save(update_fields=["safety"])

    status, error = error_of(ada.generate(prompt="explicit hardcore porn, nude"))

    assert (status, error["type"]) == (400, "image_generation_user_error")
    assert (error["param"], error["code"]) == ("prompt", "content_policy_violation")
    assert jobs.traces() == jobs.NOTHING


def test_a_spent_quota_is_not_tried_again(cast: Cast, ada: OpenAIClient) -> None:
    give_plan(cast.account, calls_per_day=1)
    ada.generate()

    response = ada.generate()

    status, error = error_of(response)
    assert (status, error["type"], error["code"]) == (429, "insufficient_quota", "insufficient_quota")
    assert response["X-Should-Retry"] == "false"
    assert response["Retry-After"] == "43200"


def test_a_full_queue_is_tried_again_later(cast: Cast, ada: OpenAIClient) -> None:
    give_plan(cast.account, queue_depth=0)

    response = ada.generate()

    status, error = error_of(response)
    assert (status, error["type"], error["code"]) == (429, "requests", "rate_limit_exceeded")
    assert response["Retry-After"] == "30"
    assert "X-Should-Retry" not in response


def test_more_images_than_the_plan_allows(cast: Cast, ada: OpenAIClient) -> None:
    give_plan(cast.account, max_samples=2)

    status, error = error_of(ada.generate(n=3))

    assert (status, error["param"], error["code"]) == (403, "n", "too_many_images")


def test_a_kind_that_the_plan_lacks(cast: Cast, ada: OpenAIClient) -> None:
    give_plan(cast.account, kinds=["img2img"])

    assert error_of(ada.generate())[1]["code"] == "kind_not_in_plan"


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("{", "is not valid JSON: Expecting property name enclosed in double quotes at character 1"),
        ("[]", "must be a JSON object"),
        ('{"n": 1, "n": 2}', 'names the field "n" more than once'),
    ],
)
def test_an_unreadable_body(ada: OpenAIClient, body: str, problem: str) -> None:
    assert error_of(ada.post(GENERATE, body)) == (
        400,
        expected(f"The request body {problem}.", None, "malformed_body"),
    )


def test_an_unreadable_form(ada: OpenAIClient) -> None:
    response = ada.http.post(EDIT, b"nothing", "multipart/form-data", headers=ada.headers)

    assert error_of(response)[1]["code"] == "malformed_body"


def test_a_body_that_is_too_large(ada: OpenAIClient, settings: Any) -> None:
    settings.MAX_BODY_BYTES = 100

    assert error_of(ada.generate(prompt="x" * 200))[0] == 413


def test_another_method(ada: OpenAIClient) -> None:
    response = ada.get(GENERATE)

    assert (error_of(response)[0], response["Allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/v1/images/nothing", "/openai/v1/chat/completions"])
def test_an_unknown_path(ada: OpenAIClient, path: str) -> None:
    assert error_of(ada.post(path, {})) == (
        404,
        expected(f"Invalid URL (POST {path})", None, "unknown_url"),
    )


def test_an_unusable_idempotency_key(ada: OpenAIClient) -> None:
    assert error_of(ada.generate({"Idempotency-Key": ""}))[1]["code"] == "invalid_idempotency_key"


def test_an_idempotency_key_of_another_request_is_not_tried_again(ada: OpenAIClient) -> None:
    ada.generate({"Idempotency-Key": "k"})

    response = ada.generate({"Idempotency-Key": "k"}, n=2)

    assert (error_of(response)[0], response["X-Should-Retry"]) == (409, "false")


def test_a_database_that_is_away_is_tried_again(ada: OpenAIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(**_: object) -> None:
        raise OperationalError("gone")

    monkeypatch.setattr("apps.api.openai.views.submit_generation", away)

    response = ada.generate()

    status, error = error_of(response)
    assert (status, error["type"]) == (503, "server_error")
    assert response["Retry-After"] == "5"
    assert "X-Should-Retry" not in response


def test_what_nobody_foresaw_is_not_tried_again(ada: OpenAIClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError("secret")

    monkeypatch.setattr("apps.api.openai.views.submit_generation", broken)

    response = ada.generate()

    status, error = error_of(response)
    assert (status, error["type"], error["code"]) == (500, "server_error", "internal_error")
    assert "secret" not in error["message"]
    assert response["X-Should-Retry"] == "false"
    assert GenerationJob.objects.count() == 0
