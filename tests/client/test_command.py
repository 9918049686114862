"""The `darkroom` command makes something: arguments, files, pipes, JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from apps.api.native.jobs_fields import FIELDS
from darkroom.cli.fields import OPTIONS
from darkroom.kinds import KINDS
from tests.client.playing import sse
from tests.client.running import DONE, FILE, IMAGE, PNG, Command
from tests.client.scripted import Answer, ScriptedServer, told


def sent_fields(server: ScriptedServer) -> Any:
    [job] = [
        got
        for got in server.got
        if (got.method, got.path) in {("POST", "/v1/jobs"), ("POST", "/v1/estimate")}
    ]
    return json.loads(job.body)


def test_an_image_is_saved_and_its_name_told(run: Command, server: ScriptedServer) -> None:
    server.answers = [told(DONE), FILE]

    ran = run("generate", "ein rotes Füchslein 🦊", "-m", "tiny")

    assert (ran.code, ran.out) == (0, "darkroom-7.png\n")
    assert Path("darkroom-7.png").read_bytes() == PNG
    assert sent_fields(server) == {"kind": "txt2img", "prompt": "ein rotes Füchslein 🦊", "model": "tiny"}


def test_every_flag_becomes_its_field(run: Command, server: ScriptedServer) -> None:
    Path("photo.png").write_bytes(PNG)
    server.answers = [told({"id": "f" * 64}, 201), told(DONE)]
    words = (
        "--size 768x512 --steps 8 --seed 7 -n 2 --negative blur --lora ink:0.8 --lora gold --sampler euler"
    )
    more = (
        "--control canny=photo.png:0.7 --format webp --quality 80 --set hires.scale=1.5 --set refiner.model=x"
    )

    ran = run("generate", "a fox", "-m", "tiny", *words.split(), *more.split(), "--no-wait")

    assert (ran.code, ran.out) == (0, "7\n")
    assert sent_fields(server) == {
        "kind": "controlnet",
        "prompt": "a fox",
        "model": "tiny",
        "width": 768,
        "height": 512,
        "steps": 8,
        "seed": 7,
        "num_images": 2,
        "negative_prompt": "blur",
        "loras": [{"name": "ink", "scale": 0.8}, {"name": "gold"}],
        "sampler": "euler",
        "controls": [{"type": "canny", "picture": "f" * 64, "scale": 0.7}],
        "output": {"media_type": "image/webp", "quality": 80},
        "hires": {"scale": 1.5},
        "refiner": {"model": "x"},
    }


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ([], "txt2img"),
        (["--image", "https://e.example/a.png"], "img2img"),
        (["--image", "https://e.example/a.png", "--mask", "https://e.example/m.png"], "inpaint"),
        (["--control", "canny=https://e.example/a.png"], "controlnet"),
    ],
)
def test_generate_means_what_its_pictures_say(
    run: Command, server: ScriptedServer, words: list[str], kind: str
) -> None:
    server.answers = [told({"id": 7}, 202)]

    run("generate", "a fox", "-m", "tiny", "--no-wait", *words)

    assert sent_fields(server)["kind"] == kind


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_command(run: Command, server: ScriptedServer, kind: Any) -> None:
    row = KINDS[kind]
    fronts = {"detect.type": "canny", "prompt": "a fox", "text": "a hat"}
    words = [fronts.get(path, "https://e.example/a.png") for path in row.takes]
    model = ["-m", "tiny"] if "prompt" in row.takes else []
    server.answers = [told({"seconds": 2.0, "calls": 1, "images": 1, "pixels": 262144})]

    assert run("estimate", row.command, *words, *model).code == 0
    assert sent_fields(server)["kind"] == kind


def test_options_name_fields_that_there_are() -> None:
    names = {row.theirs for row in FIELDS} | {"track_id"}

    assert {option.path.split(".")[0].removesuffix("[]") for option in OPTIONS if option.path} <= names


@pytest.mark.parametrize(("names", "asked"), [(["starter"], "starter"), (["a", "b"], None), ([], None)])
def test_the_only_model_need_not_be_named(
    run: Command, server: ScriptedServer, names: list[str], asked: str | None
) -> None:
    server.answers = [
        told({"items": [{"name": name} for name in names], "next_cursor": None}),
        told({"id": 7}, 202),
    ]

    ran = run("generate", "a fox", "--no-wait")

    if asked is None:
        assert ran.code == 2
        assert "Say --model NAME" in ran.err
    else:
        assert sent_fields(server)["model"] == asked


def test_files_are_named_as_asked_and_never_written_over(run: Command, server: ScriptedServer) -> None:
    Path("fox.webp").write_bytes(b"mine")
    server.answers = [told(DONE), FILE, told({**DONE, "images": [IMAGE, IMAGE]}), FILE, FILE]

    assert run("generate", "a fox", "-m", "tiny", "-o", "fox.webp").out == "fox-2.webp\n"
    assert json.loads(server.got[0].body)["output"] == {"media_type": "image/webp"}
    assert run("generate", "a fox", "-m", "tiny", "-o", "new/foxes.png").out.split() == [
        "new/foxes-1.png",
        "new/foxes-2.png",
    ]
    assert Path("fox.webp").read_bytes() == b"mine"


def test_an_image_can_go_down_a_pipe(run: Command, server: ScriptedServer) -> None:
    server.answers = [told(DONE), Answer(body=b"bytes", headers={"Content-Type": "image/png"})]

    ran = run("generate", "a fox", "-m", "tiny", "-o", "-")

    assert (ran.code, ran.out) == (0, "bytes")


def test_an_image_can_come_out_of_a_pipe(
    run: Command, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(PNG)))
    server.answers = [told({"id": "f" * 64}, 201), told({"id": 7}, 202)]

    assert run("upscale", "-", "--factor", "2", "--no-wait").code == 0
    assert server.got[0].body == PNG


def test_json_is_one_document_with_the_files(run: Command, server: ScriptedServer) -> None:
    stream = sse(("state", "1", {"id": 7, "state": "running"}), ("done", "2", DONE))
    server.answers = [told({"id": 7, "state": "queued"}, 202), Answer(body=stream), FILE]

    ran = run("generate", "a fox", "-m", "tiny", "--json")

    assert ran.json == {**DONE, "files": ["darkroom-7.png"]}
    assert ran.err == ""


def test_a_prompt_is_checked_without_a_picture(run: Command, server: ScriptedServer) -> None:
    safety = {"prompt": "flagged", "terms": ["nude"], "images": None, "reason": "The prompt names: nude."}
    server.answers = [told({"id": 7, "state": "succeeded", "safety": safety})]

    assert run("check-nsfw", "--prompt", "a nude woman").out == ("prompt: flagged\nThe prompt names: nude.\n")
    assert json.loads(server.got[0].body) == {"kind": "nsfw_check", "prompt": "a nude woman"}


def test_words_are_told(run: Command, server: ScriptedServer) -> None:
    server.answers = [told({"id": 7, "state": "succeeded", "result": {"caption": "a fox\x1b[2J in snow"}})]

    # What comes from elsewhere moves no cursor.
    assert run("caption", "https://e.example/a.png").out == "a fox [2J in snow\n"
