"""The playground's page, its form made of the API's tables, and settings taken from what was made before."""

from __future__ import annotations

import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from apps.api.native import jobs_fields
from apps.api.native.jobs_fields import FIELDS
from apps.api.native.jobs_translation import read_asked
from apps.audit.models import AuditEvent
from apps.billing.choices import Source
from apps.config.version import REPOSITORY_ROOT
from apps.generation.choices import Kind
from apps.generation.kind_rules import RULES
from apps.generation.models import GenerationJob
from apps.portal.playground import fields as playground_fields
from apps.portal.playground.fields import HIDDEN, form_description
from tests.apps.api.client import ApiClient
from tests.cast import Cast
from tests.factories import make_adapter, make_checkpoint, png_bytes

PAGE = "/portal/playground"
SCRIPTS = REPOSITORY_ROOT / "apps" / "portal" / "static" / "portal" / "playground"
A1111 = (
    "a lighthouse <lora:ink:0.7>\nNegative prompt: fog\n"
    "Steps: 20, Sampler: DPM++ 2M Karras, CFG scale: 6.5, Seed: 42, Size: 512x768, Model: tiny, Clip skip: 2"
)


def page_data(browser: Client, query: str = "") -> dict[str, Any]:
    html = browser.get(f"{PAGE}{query}").content.decode()
    found = re.search(r'<script id="playground-data" type="application/json">(.*?)</script>', html, re.DOTALL)
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])
    return data


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


# --- The form ---


def test_the_page_has_no_script_of_its_own_in_it(ada: Client) -> None:
    """The policy would not run it."""
    html = ada.get(PAGE).content.decode()

    for attributes in re.findall(r"<script([^>]*)>", html):
        assert "src=" in attributes or 'type="application/json"' in attributes
    assert not re.search(r"\son\w+=|\sstyle=", html)


def test_every_kind_has_a_form_with_what_it_needs() -> None:
    kinds = {row["code"]: row for row in form_description()["kinds"]}

    assert kinds.keys() == {kind.value for kind in Kind}
    names = {row.ours: row.theirs for row in FIELDS}
    for kind, rule in RULES.items():
        shown = kinds[kind.value]
        assert shown["needs"] == [row.theirs for row in FIELDS if row.ours in rule.needs]
        assert set(shown["needs"]) <= set(shown["fields"])
        takes = {names[name] for name in rule.takes if name not in HIDDEN}
        assert takes <= set(shown["fields"])
        assert shown["label"] != kind.value, "a kind needs a name in words"


def test_every_field_of_the_api_has_a_control() -> None:
    described = form_description()
    reachable = {name for kind in described["kinds"] for name in kind["fields"]}

    assert reachable == {row.theirs for row in FIELDS if row.ours not in HIDDEN}
    assert reachable == described["fields"].keys()


def test_a_field_that_the_api_gains_appears_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = next(row for row in FIELDS if row.theirs == "steps")
    new = replace(steps, theirs="zeal_factor", ours="zeal_factor", meaning="how eagerly")
    monkeypatch.setattr(playground_fields, "FIELDS", (*jobs_fields.FIELDS, new))

    described = form_description()

    assert described["fields"]["zeal_factor"]["label"] == "Zeal factor"
    assert described["fields"]["zeal_factor"]["group"] == "advanced"
    assert described["fields"]["zeal_factor"]["control"] == "range"
    [txt2img] = [kind for kind in described["kinds"] if kind["code"] == "txt2img"]
    assert txt2img["fields"][-1] == "zeal_factor"


def test_the_scripts_know_every_control() -> None:
    source = (SCRIPTS / "controls.js").read_text()
    table = source.split("const MAKERS = {")[1].split("};")[0]
    known = set(re.findall(r"^  (\w+):", table, re.MULTILINE))

    def controls(fields: Any) -> set[str]:
        found = {row["control"] for row in fields}
        return found.union(*(controls(row["fields"]) for row in fields if "fields" in row))

    assert controls(form_description()["fields"].values()) <= known


def test_the_scripts_ask_for_words_that_there_are(ada: Client) -> None:
    used = {f"funding_{source.value}" for source in Source} | {"funding_none"}
    for path in SCRIPTS.glob("*.js"):
        used |= set(re.findall(r"\bwords\.(\w+)", path.read_text()))

    assert used == page_data(ada)["words"].keys()


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.js")), ids=lambda path: path.name)
def test_scripts_make_elements_and_no_markup(path: Path) -> None:
    """What a user wrote must never become markup."""
    source = path.read_text()

    assert not re.search(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", source
    )
    assert len(source.splitlines()) < 300


def test_the_page_speaks_the_readers_language(ada: Client) -> None:
    assert page_data(ada)["words"]["cancel"] == "Cancel"
    assert ada.get(PAGE, headers={"Accept-Language": "de"})["Content-Language"] == "de"


@pytest.mark.parametrize("job", ["", "x", "-1", "9" * 40])
def test_an_address_that_was_changed_is_no_harm(ada: Client, job: str) -> None:
    assert page_data(ada, f"?job={job}")["job"] is None
    assert "<script>x" not in ada.get(f"{PAGE}?kind=<script>x").content.decode()


def test_who_may_only_look_has_no_playground(viewer: Client, cast: Cast) -> None:
    for path in (PAGE, f"{PAGE}/jobs/1"):
        assert viewer.get(path).status_code == 403
    assert viewer.post(f"{PAGE}/picture", png_bytes(), "image/png").status_code == 403


def test_nobody_is_sent_to_sign_in(cast: Cast) -> None:
    response = Client().get(PAGE)

    assert response.status_code == 302
    assert response["Location"].startswith("/accounts/login/?next=")


# --- Settings of what was made ---


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
