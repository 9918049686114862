"""Commands that look after things: jobs, models, imports, keys, usage, profiles, completion."""

from __future__ import annotations

import io
import json
import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest

from darkroom.cli.main import make_parser
from darkroom.cli.output import Output, age, duration, size
from darkroom.kinds import KINDS
from tests.client.playing import sse
from tests.client.running import DONE, FILE, Command
from tests.client.scripted import Answer, ScriptedServer, refused, told

KEY = {
    "id": "abcd2345",
    "name": "ci",
    "account": "ada",
    "scopes": ["jobs:read", "images:generate"],
    "state": "active",
    "is_current": True,
    "created_at": "2026-03-02T12:00:00Z",
}
MODEL = {
    "name": "fox-xl",
    "kind": "checkpoint",
    "family": "sdxl",
    "title": "Fox",
    "size_bytes": 6_940_000_000,
    "native_px": 1024,
    "licence": "MIT",
    "is_enabled": True,
    "defaults": {"steps": 25, "negative_prompt": ""},
    "created_at": "2026-03-02T12:00:00Z",
}
IMPORT = {"id": 4, "state": "succeeded", "model": "fox-xl", "finished_at": "2026-03-02T12:00:00Z"}


def page(*items: dict[str, Any]) -> Answer:
    return told({"items": list(items), "next_cursor": None})


def body_of(server: ScriptedServer, index: int = -1) -> Any:
    return json.loads(server.got[index].body)


@pytest.mark.parametrize(
    ("words", "answer", "line"),
    [
        (["jobs", "list"], page(DONE), "7\tsucceeded\ttxt2img\t1\t\t"),
        (["models", "list", "fox"], page(MODEL), "fox-xl\tcheckpoint\tsdxl\t6.9 GB\tFox"),
        (["models", "imports"], page(IMPORT), "4\tsucceeded\t\t\tfox-xl"),
        (["keys", "list"], page(KEY), "abcd2345\tactive\tci (in use)\tnever\tjobs:read images:generate"),
    ],
)
def test_lists_are_cut_with_tabs_in_pipes(
    run: Command, server: ScriptedServer, words: list[str], answer: Answer, line: str
) -> None:
    server.answers = [answer, answer]

    assert run(*words).out == line + "\n"
    assert run(*words, "--json").json == json.loads(answer.body)["items"]


@pytest.mark.parametrize(
    ("words", "answer", "parts"),
    [
        (["jobs", "show", "7"], told({**DONE, "request": {"prompt": "a fox", "seed": 3}}), ["a fox", "seed"]),
        (["models", "show", "fox-xl"], told(MODEL), ["6.9 GB, made for 1024 px", "steps 25"]),
        (["keys", "show"], told(KEY), ["account", "ada", "never"]),
        (
            ["usage"],
            told({"account": "ada", "plan": "free", "calls": {"limit": 100, "used": 40, "remaining": 60}}),
            ["40 calls done", "60 of 100 left"],
        ),
        (["usage"], told({"calls": {}, "days": [{"day": "2026-03-02", "calls": 5}]}), ["without limit", "█"]),
        (
            ["estimate", "generate", "a fox", "-m", "tiny"],
            told({"seconds": 90, "calls": 1, "images": 2, "pixels": 2_000_000}),
            ["about 1 min", "2.00 million"],
        ),
        (["jobs", "cancel", "7"], told({**DONE, "state": "canceled"}), ["Job 7 is canceled."]),
        (["jobs", "delete", "7"], told(DONE), ["Job 7 has no images any more."]),
        (["models", "cancel", "4"], told(IMPORT), ["Import 4 is being canceled."]),
        (["models", "retry", "4"], told(IMPORT), ["Import 4 begins again."]),
        (["keys", "revoke", "abcd2345"], told(KEY), ["The key ci (abcd2345) is revoked."]),
    ],
)
def test_single_things_are_told(
    run: Command, server: ScriptedServer, words: list[str], answer: Answer, parts: list[str]
) -> None:
    server.answers = [answer, answer]

    ran = run(*words)

    assert ran.code == 0
    for part in parts:
        assert part in ran.out
    assert run(*words, "--json").json == json.loads(answer.body)


def test_images_are_fetched_again(run: Command, server: ScriptedServer) -> None:
    server.answers = [told(DONE), FILE]

    assert run("jobs", "save", "7", "-o", "again.png").out == "again.png\n"
    assert Path("again.png").exists()


def test_a_job_without_images_says_so(run: Command, server: ScriptedServer) -> None:
    server.answers = [told({**DONE, "images": []})]

    ran = run("jobs", "save", "7")

    assert (ran.code, "Job 7 has no images any more." in ran.err) == (1, True)


def test_filters_reach_the_server(run: Command, server: ScriptedServer) -> None:
    server.answers = [page(), page()]

    run("jobs", "list", "--state", "queued,running", "-n", "5")
    run("models", "list", "red", "fox", "--kind", "lora", "--mine", "-n", "0")

    assert server.paths() == [
        "GET /v1/jobs?state=queued%2Crunning&limit=5",
        "GET /v1/models?q=red+fox&kind=lora&mine=true&limit=100",
    ]


def test_a_new_key_is_the_whole_of_stdout(run: Command, server: ScriptedServer) -> None:
    server.answers = [told({**KEY, "key": "dkr_abcd2345_secret_check"}, 201)]

    ran = run("keys", "create", "ci", "--scope", "jobs:read", "--scope", "keys:write", "--days", "7")

    assert ran.out == "dkr_abcd2345_secret_check\n"
    assert body_of(server)["scopes"] == ["jobs:read", "keys:write"]
    assert re.fullmatch(r"20\d\d-.+T.+\+00:00", body_of(server)["expires_at"])


def test_a_pasted_key_does_not_get_into_addresses(run: Command, server: ScriptedServer) -> None:
    server.answers = [told(KEY)]

    run("keys", "revoke", "dkr_abcd2345_secretsecret_check")

    assert server.paths() == ["DELETE /v1/keys/abcd2345"]


def test_a_model_is_brought_in_and_followed(run: Command, server: ScriptedServer) -> None:
    progress = {"phase": "downloading", "bytes_done": 5, "bytes_total": 10, "eta_s": 3.0}
    stream = sse(("progress", "1", progress), ("done", "2", IMPORT))
    server.answers = [told({"id": 4, "state": "queued"}, 202), Answer(body=stream)]

    ran = run("models", "import", "owner/fox", "--name", "fox-xl", "--force")

    assert (ran.code, ran.out) == (0, "fox-xl\n")
    assert "import 4 downloading" in ran.err
    assert body_of(server, 0) == {"repository": "owner/fox", "name": "fox-xl", "force": True}


def test_an_import_that_fails(run: Command, server: ScriptedServer) -> None:
    failed = {"id": 4, "state": "failed", "error": {"code": "x", "message": "It contains code."}}
    server.answers = [Answer(body=sse(("done", "1", failed)))]

    ran = run("models", "watch", "4")

    assert (ran.code, ran.out) == (1, "")
    assert "Import 4 failed: It contains code." in ran.err


def test_nothing_is_saved_that_does_not_work(
    run: Command, server: ScriptedServer, nobody_in_particular: Path
) -> None:
    server.answers = [refused(401, "api_key_invalid", "Invalid API key"), told(KEY)]

    assert run("login", server.url).code == 3
    assert not nobody_in_particular.exists()
    ran = run("login", server.url, "--profile", "lab")
    assert (ran.code, "as ada with the key ci" in ran.out) == (0, True)
    assert "dkr_test" not in ran.out
    assert json.loads(nobody_in_particular.read_text())["profiles"].keys() == {"lab"}
    assert run("logout", "--profile", "lab").code == 0
    assert json.loads(nobody_in_particular.read_text())["profiles"] == {}


@pytest.mark.parametrize("columns", [80, 120])
def test_tables_fit_the_terminal(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    written = io.StringIO()
    rows = [("k" * 29, "background_removal", "sd15", "230.5 kB", "MediaPipe selfiesegmentation, general")]

    Output(stdout=written).table(("name", "kind", "family", "size", "title"), rows)

    lines = re.sub(r"\x1b\[[0-9;]*m", "", written.getvalue()).splitlines()
    assert max(map(len, lines)) <= columns
    # Nothing is left out: what does not fit goes on below.
    shown = re.sub(r"\s", "", "".join(lines))
    assert all(letters in shown for letters in ("k" * 29, "MediaPipe", "230.5kB", "general"))
    assert sum(map(shown.count, "selfiesegmentation")) >= len("selfiesegmentation")


def test_no_colours_where_none_are_wanted(run: Command, server: ScriptedServer) -> None:
    server.answers = [page(DONE)]

    assert "\x1b" not in run("jobs", "list").out


@pytest.mark.parametrize(
    ("made", "told_"),
    [
        (duration(0.04), "0.0 s"),
        (duration(59.9), "59.9 s"),
        (duration(60), "1 min"),
        (duration(7200), "2 h"),
        (duration(200_000), "2 d"),
        (size(999), "999 B"),
        (size(1_500_000), "1.5 MB"),
        (size(6.9e15), "6900.0 TB"),
        (age(None), ""),
        (age("yesterday"), "yesterday"),
    ],
)
def test_figures_for_people(made: str, told_: str) -> None:
    assert made == told_


def completed(script: str, *words: str) -> list[str]:
    """What bash would offer behind `words`, of which the last is being typed."""
    typed = " ".join(f"'{word}'" for word in words)
    now = f"COMP_WORDS=({typed}); COMP_CWORD={len(words) - 1}"
    program = f'source /dev/stdin; {now}; _darkroom; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "--norc", "-c", program], input=script, capture_output=True, text=True, check=True
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes(run: Command) -> None:
    script = run("completion", "bash").out

    assert "upscale" in completed(script, "darkroom", "up")
    assert {row.command for row in KINDS.values()} <= set(completed(script, "darkroom", ""))
    assert completed(script, "darkroom", "jobs", "sh") == ["show"]
    assert completed(script, "darkroom", "jobs", "list", "--st") == ["--state"]
    assert "euler" in completed(script, "darkroom", "generate", "a fox", "--sampler", "")
    assert completed(script, "darkroom", "estimate", "upscale", "--fac") == ["--factor"]
    # Files are the shell's own business.
    assert completed(script, "darkroom", "upscale", "") == []


def test_every_command_does_something() -> None:
    parser = make_parser()
    words = {
        "prompt": "x",
        "image": "https://e.example/a.png",
        "mask": "https://e.example/a.png",
        "source": "https://e.example/a.png",
        "type": "canny",
        "text": "x",
    }

    for row in KINDS.values():
        named = [words[path.rsplit(".", 1)[-1]] for path in row.takes]
        assert callable(parser.parse_args([row.command, *named]).run)


def test_zsh_gets_the_same_function(run: Command) -> None:
    ours, theirs = (run("completion", shell).out for shell in ("bash", "zsh"))

    assert theirs.partition("_darkroom() {")[2] == ours.partition("_darkroom() {")[2] != ""
    assert "bashcompinit" in theirs
    # zsh takes an offset that begins with a letter for something else, and `path` for PATH.
    assert ":1:$((" in theirs
    assert "path=" not in theirs


def test_the_lines_of_the_manual_are_understood(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    manual = (Path(__file__).parents[2] / "apps" / "client" / "README.md").read_text(encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name in ("photo.jpg", "group.jpg", "me.jpg"):
        Path(name).write_bytes(b"")
    lines = [line.partition(" | ")[0] for line in manual.splitlines() if line.startswith("darkroom ")]

    assert len(lines) >= 10
    for line in lines:
        words = shlex.split(line, comments=True)
        assert callable(make_parser().parse_args(words[1:]).run), line
