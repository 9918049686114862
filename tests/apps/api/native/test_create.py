"""POST /v1/jobs: every way to ask, what is refused and where, waiting, repeats."""

from __future__ import annotations

import base64
import json
import time
from typing import Any

import pytest

from apps.generation.choices import Kind
from apps.generation.models import GenerationJob
from apps.generation.pictures import picture_bytes
from apps.generation.wishes import FaceWish, MixWish, VariationWish
from tests.apps.api import jobs
from tests.apps.api.modelslab.workbench import install_utilities
from tests.apps.api.native.conftest import DATA_URL, PNG, NativeClient
from tests.cast import Cast, assemble_cast
from tests.clocks import FrozenClock
from tests.factories import give_plan, make_adapter, make_checkpoint


def the_job() -> GenerationJob:
    return GenerationJob.objects.get()


def test_a_job_is_accepted_and_where_to_find_it(ada: NativeClient) -> None:
    response = ada.create(seed=7, track_id="mine", webhook="https://example.com/told")

    assert response.status_code == 202
    job = the_job()
    assert response["Location"] == f"/v1/jobs/{job.pk}"
    assert response.json() == ada.get(response["Location"]).json()
    assert (job.kind, job.resolved.seed, job.track_id) == (Kind.TXT2IMG, 7, "mine")
    assert job.webhook is not None
    assert job.webhook["dialect"] == "native"
    assert "Preference-Applied" not in response


def test_every_answer_says_what_is_left_of_the_quota(ada: NativeClient) -> None:
    accepted, refused = ada.create(), ada.create(steps=0)

    assert accepted["RateLimit"] == '"calls";r=99;t=43200'
    assert accepted["RateLimit-Policy"] == '"calls";q=100;w=86400'
    assert (refused.status_code, refused["RateLimit"]) == (400, '"calls";r=99;t=43200')
    assert "RateLimit" not in ada.get("/v1/jobs")


@pytest.mark.parametrize("how", ["data url", "base64", "upload", "upload with its prefix"])
def test_pictures_come_in_any_form(ada: NativeClient, how: str) -> None:
    upload = ada.post("/v1/uploads", {"image": DATA_URL}).json()["id"]
    picture = {
        "data url": DATA_URL,
        "base64": base64.b64encode(PNG).decode(),
        "upload": upload,
        "upload with its prefix": f"upload:{upload}",
    }[how]

    assert ada.create(kind="img2img", image=picture, strength=0.5).status_code == 202

    image = the_job().resolved.image
    assert image is not None
    assert (image.digest, image.width, image.height) == (upload, 96, 64)


def test_a_form_carries_pictures_as_files(ada: NativeClient) -> None:
    wanted = {
        "kind": "controlnet",
        "model": "tiny",
        "prompt": "123",
        "num_images": "2",
        "controls": json.dumps([{"picture": "part:edges", "type": "canny", "is_hint": True, "scale": 0.5}]),
        "edges": PNG,
        "image": PNG,
    }
    make_adapter("canny-sd15", kind="controlnet", variant="canny")

    response = ada.form("/v1/jobs", wanted)

    assert response.status_code == 202, response.json()
    resolved = the_job().resolved
    assert (resolved.prompt, resolved.num_images) == ("123", 2)
    assert resolved.image is not None
    [control] = resolved.controls
    assert control.picture.digest == resolved.image.digest
    assert picture_bytes(resolved.image.digest)


def test_nested_parts_mean_what_the_table_says(ada: NativeClient) -> None:
    response = ada.create(
        kind="inpaint",
        image=DATA_URL,
        mask=DATA_URL,
        mask_options={"inverted": True, "blur_px": 4, "fill": "noise"},
        output={"media_type": "image/webp", "quality": 80, "marked": False},
        upscale={"factor": 2, "upscaler": "lanczos"},
        aspect_ratio=None,
    )

    assert response.status_code == 202, response.json()
    resolved = the_job().resolved
    assert resolved.mask_options is not None
    assert (resolved.mask_options.is_inverted, resolved.mask_options.blur_px) == (True, 4)
    assert (resolved.output.media_type, resolved.output.is_marked) == ("image/webp", False)


def test_variations_seams_and_faces(ada: NativeClient) -> None:
    install_utilities()
    make_adapter("restorer", kind="face", family="", variant="gfpgan")

    ada.create(
        seed=1,
        seamless=True,
        variation={"seed": 9, "strength": 0.25, "from_width": 128, "from_height": 64},
        kind="img2img",
        image=DATA_URL,
        strength=0.5,
        mix={"share": 0.25, "until": 0.125},
        faces=[{"model": "gfpgan", "visibility": 0.5, "after_upscale": True}],
    )

    resolved = the_job().resolved
    assert resolved.is_seamless
    assert resolved.mix == MixWish(share=0.25, until=0.125)
    assert resolved.variation == VariationWish(seed=9, strength=0.25, from_width=128, from_height=64)
    [used] = resolved.faces
    assert used.wish == FaceWish(model="gfpgan", visibility=0.5, is_after_upscale=True)


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"variation": {"from_width": 128}}, "#/variation/from_height"),
        ({"variation": {"strength": 2}}, "#/variation/strength"),
        ({"mix": {"share": 2}}, "#/mix/share"),
        (
            {"kind": "img2img", "image": DATA_URL, "strength": 0.2, "mix": {"until": 0.5}},
            "#/mix/until",
        ),
        ({"faces": [{"weight": -1}]}, "#/faces/0/weight"),
        ({"faces": [{}, {}, {}]}, "#/faces"),
        ({"seamless": "maybe"}, "#/seamless"),
    ],
)
def test_where_those_are_wrong(ada: NativeClient, fields: dict[str, Any], pointer: str) -> None:
    response = ada.create(**fields)

    assert (response.status_code, response.json()["errors"][0]["pointer"]) == (400, pointer)


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("upscale", {"upscale": {"factor": 2, "upscaler": "lanczos"}}),
        ("object_removal", {"mask": DATA_URL}),
        ("detect", {"detect": {"type": "canny"}}),
    ],
)
def test_kinds_that_need_no_model(ada: NativeClient, kind: str, fields: dict[str, Any]) -> None:
    response = ada.post("/v1/jobs", {"kind": kind, "image": DATA_URL} | fields)

    assert response.status_code == 202, response.json()
    assert the_job().kind == kind


@pytest.mark.parametrize(
    ("fields", "pointer", "detail"),
    [
        ({"steps": 0}, "#/steps", "must be a whole number from 1 to 150, not 0"),
        ({"steps": "20"}, "#/steps", 'must be a whole number from 1 to 150, not "20"'),
        ({"steps": True}, "#/steps", "must be a whole number from 1 to 150, not true"),
        ({"width": 500}, "#/width", "must be a whole number from 64 to 2048 and a multiple of 8, not 500"),
        ({"prompt": " "}, "#/prompt", "is required"),
        ({"prompt": "\0"}, "#/prompt", "must not contain the character NUL (U+0000)"),
        ({"kind": "sing"}, "#/kind", "must be one of txt2img, "),
        ({"promt": "x"}, "#/promt", "is not known here; there are kind, model, prompt"),
        ({"a/b~c": "x"}, "#/a~1b~0c", "is not known here"),
        ({"aspect_ratio": "0:3"}, "#/aspect_ratio", 'must be width to height such as 16:9, not "0:3"'),
        ({"loras": [{"name": "a"}, {"scale": 1}]}, "#/loras/1/name", "is required"),
        ({"loras": [{"name": "a", "scale": 9}]}, "#/loras/0/scale", "must be a number from -4 to 4, not 9"),
        ({"hires": {"scale": 1}}, "#/hires/scale", "must be above 1 and at most 4, not 1.0"),
        ({"expand": {}}, "#/expand", "must be above 0 at one side at least"),
        ({"kind": "img2img"}, "#/image", "is required"),
        ({"kind": "img2img", "image": "ftp://a/b"}, "#/image", "must be an http or https address"),
        ({"kind": "img2img", "image": "AAAA"}, "#/image", "is no picture"),
        ({"kind": "img2img", "image": "0" * 64}, "#/image", "names an upload that is not there any more"),
        ({"kind": "edit", "references": [DATA_URL, "AAAA"]}, "#/references/1", "is no picture"),
        ({"image": DATA_URL}, "#/image", "has no meaning for txt2img: leave it out"),
        ({"upscale": {"factor": 5}}, "#/upscale/factor", "must be 2, 3, 4 or 8, not 5"),
        ({"webhook": "ftp://a"}, "#/webhook", "must be a URL that begins with https:// or http://"),
        ({"track_id": 1.5}, "#/track_id", "must be text of at most 255 characters or a whole number"),
        ({"previews": 1}, "#/previews", "must be true or false, not 1"),
    ],
)
def test_a_refusal_names_the_field_and_leaves_nothing(
    ada: NativeClient, fields: dict[str, Any], pointer: str, detail: str
) -> None:
    response = ada.create(**fields)

    assert (response.status_code, response["Content-Type"]) == (400, "application/problem+json")
    body = response.json()
    [error] = body["errors"]
    assert (body["code"], error["pointer"]) == ("invalid_field", pointer)
    assert error["detail"].startswith(detail)
    assert jobs.traces() == jobs.NOTHING


@pytest.mark.parametrize(
    ("body", "code"),
    [("{", "malformed_body"), ("[]", "malformed_body"), (b"\xff", "malformed_body")],
)
def test_bodies_that_cannot_be_read(ada: NativeClient, body: Any, code: str) -> None:
    response = ada.post("/v1/jobs", body)

    assert (response.status_code, response.json()["code"]) == (400, code)


def test_refusals_of_services_keep_their_codes(ada: NativeClient, cast: Cast) -> None:
    unknown = ada.create(model="nothing")
    assert (unknown.status_code, unknown.json()["code"]) == (400, "checkpoint_not_found")

    give_plan(cast.account, calls_per_day=1)
    assert ada.create().status_code == 202
    exhausted = ada.create()
    assert (exhausted.status_code, exhausted.json()["code"]) == (429, "daily_quota_exhausted")
    assert int(exhausted["Retry-After"]) > 0


def test_a_form_that_names_no_file_or_a_field_twice(ada: NativeClient) -> None:
    missing = ada.form("/v1/jobs", {"model": "tiny", "prompt": "x", "controls": '["part:edges"]'})
    assert missing.json()["errors"] == [{"detail": "is no file of the form", "pointer": "#/edges"}]

    twice = ada.form("/v1/jobs", {"prompt": ["a", "b"]})
    assert (twice.status_code, twice.json()["code"]) == (400, "malformed_body")


def test_repeats_with_a_key_get_the_same_bytes(ada: NativeClient) -> None:
    key = {"Idempotency_Key": "once"}
    first, second = ada.create(key), ada.create(key)

    assert (first.status_code, first.content) == (second.status_code, second.content)
    assert second["Idempotent-Replayed"] == "true"
    assert second["Location"] == first["Location"]
    assert GenerationJob.objects.count() == 1
    other = ada.create(key, seed=1)
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")


def test_a_form_sent_again_is_the_same_request(ada: NativeClient) -> None:
    ada.headers["Idempotency-Key"] = "form"
    parts = {"kind": "img2img", "model": "tiny", "prompt": "x", "image": PNG}

    first, second = ada.form("/v1/jobs", parts), ada.form("/v1/jobs", parts)

    assert first.status_code == 202
    assert first.content == second.content
    assert GenerationJob.objects.count() == 1


def test_the_key_and_the_scope_are_required(anybody: NativeClient) -> None:
    response = anybody.create()

    assert (response.status_code, response.json()["code"]) == (401, "api_key_missing")


@pytest.fixture
def live_ada(transactional_db: None) -> NativeClient:
    cast = assemble_cast(now=FrozenClock().now())
    make_checkpoint("tiny")
    return NativeClient(cast.key_text)


def test_waiting_is_for_those_who_prefer_it(live_ada: NativeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def deliver(job: GenerationJob, *, timeout_s: float) -> GenerationJob:
        assert timeout_s == 7
        return jobs.finish(jobs.claim(job))

    monkeypatch.setattr("apps.api.native.jobs.wait_for_job", deliver)

    response = live_ada.create({"Prefer": "respond-async, wait=7"})

    assert (response.status_code, response["Preference-Applied"]) == (200, "wait=7")
    assert response.json()["state"] == "succeeded"
    assert len(response.json()["images"]) == 1


def test_a_wait_that_is_too_short_answers_with_the_job_as_it_stands(live_ada: NativeClient) -> None:
    started = time.monotonic()
    response = live_ada.create({"Prefer": "wait=1"})

    assert (response.status_code, response.json()["state"]) == (202, "queued")
    assert 0.9 < time.monotonic() - started < 10


@pytest.mark.parametrize("prefer", ["respond-async", "wait=soon", "wait=-1", "return=minimal", ""])
def test_other_preferences_answer_at_once(ada: NativeClient, prefer: str) -> None:
    response = ada.create({"Prefer": prefer})

    assert response.status_code == 202
    assert response.headers.get("Preference-Applied", "") == (prefer if prefer == "respond-async" else "")
