"""How the `darkroom` command ends where it does not simply succeed, and what its help says."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from darkroom import Darkroom
from darkroom.cli.exits import CODES, MEANINGS
from darkroom.cli.main import make_parser
from darkroom.kinds import KINDS
from tests.client.playing import sse
from tests.client.running import DONE, FILE, PNG, Command
from tests.client.scripted import CUT, Answer, ScriptedServer, refused, told


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (refused(401, "api_key_invalid", "Invalid API key"), 3),
        (refused(403, "scope_missing"), 3),
        (refused(429, "daily_quota_exhausted", retry_after=9), 4),
        (refused(400, "invalid_field", "steps must be less"), 2),
        (refused(404, "not_found"), 1),
        (refused(500, "internal_error"), 1),
        (Answer(status=404, body=b"<html>"), 5),
        (Answer(body=b"<html>"), 5),
        (told({"id": 7, "state": "failed", "error": {"code": "x", "message": "It broke."}}), 1),
    ],
)
@pytest.mark.parametrize("is_json", [False, True])
def test_exit_codes(run: Command, server: ScriptedServer, answer: Answer, code: int, is_json: bool) -> None:
    # Of a refusal that time cures, enough for every try.
    server.answers = [answer] * 6

    ran = run("generate", "a fox", "-m", "tiny", *["--json"] * is_json)

    assert (ran.code, ran.out) == (code, "")
    if is_json:
        assert json.loads(ran.err)["error"]["exit_code"] == code
    else:
        assert ran.err.startswith("darkroom: ")


def test_no_server(run: Command, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARKROOM_URL", "http://127.0.0.1:9")

    ran = run("usage")

    assert ran.code == 5
    assert "http://127.0.0.1:9 cannot be reached" in ran.err


@pytest.mark.parametrize(
    ("words", "told_"),
    [
        ([], "required: COMMAND"),
        (["generate"], "required: PROMPT"),
        (["draw"], "invalid choice: 'draw'"),
        (["generate", "x", "--steps", "many"], "invalid int value: 'many'"),
        (["generate", "x", "--size", "big"], "must be like 768x512"),
        (["generate", "x", "--image", "nothing.png"], "there is no file nothing.png"),
        (["generate", "x", "-m", "t", "--mask", "https://e.example/m.png"], "--mask needs --image"),
        (["generate", "x", "--control", "canny"], "must be like canny=photo.jpg"),
        (
            ["generate", "x", "-m", "t", "--set", "expand=1", "--set", "expand.left=2"],
            "as a whole and in part",
        ),
        (["jobs", "show", "last"], "invalid int value"),
    ],
)
def test_wrong_arguments_are_one_sentence(run: Command, words: list[str], told_: str) -> None:
    ran = run(*words)

    assert (ran.code, ran.out) == (2, "")
    assert told_ in ran.err
    assert len(ran.err.splitlines()) == 1


def test_every_kind_of_error_has_a_code() -> None:
    assert {code for _, code in CODES} <= MEANINGS.keys()


def test_a_reader_that_stops_is_no_error(server: ScriptedServer) -> None:
    server.answers = [told({"items": [{"name": f"model-{n}"} for n in range(100)], "next_cursor": None})] * 2
    program = "import sys; from darkroom.cli.main import main; sys.exit(main(['models', 'list']))"
    command = f'{sys.executable} -c "{program}" | head -1; echo ${{PIPESTATUS[0]}}'
    done = subprocess.run(
        ["bash", "-c", command],
        env={"DARKROOM_URL": server.url, "DARKROOM_API_KEY": "dkr_x", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )

    assert done.stdout.splitlines()[0].startswith("model-0")
    assert (done.stdout.splitlines()[1], done.stderr) == ("0", "")


@pytest.mark.parametrize(
    "words", [[], *[[row.command] for row in KINDS.values()], ["jobs"], ["models", "import"]]
)
def test_help_fits_80_columns(words: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    with pytest.raises(SystemExit) as ended:
        make_parser().parse_args([*words, "--help"])

    out = capsys.readouterr().out
    assert ended.value.code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert out.startswith("usage: darkroom")


def test_a_cut_is_not_the_end(run: Command, server: ScriptedServer) -> None:
    server.answers = [CUT, told(DONE), FILE]

    assert run("generate", "a fox", "-m", "tiny").code == 0


def test_ctrl_c_while_asking_leaves_no_job(
    run: Command, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The request has arrived, and then the user has had enough: the answer is never seen.
    server.answers = [CUT, told({"id": 7, "state": "queued"}, 202), told({"id": 7, "state": "canceled"})]

    def interrupted(*args: object) -> float:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr("darkroom.core.Core.backoff_s", interrupted)
    url, key = server.url, "dkr_test"
    monkeypatch.setattr("darkroom.cli.main.Darkroom", lambda *args, **options: Darkroom(url, key))

    ran = run("generate", "a fox", "-m", "tiny")

    assert ran.code == 130
    assert "Job 7 is canceled." in ran.err
    assert server.paths() == ["POST /v1/jobs", "POST /v1/jobs", "POST /v1/jobs/7/cancel"]
    assert len({got.headers["idempotency-key"] for got in server.got[:2]}) == 1


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        # Before the job is asked for: its picture is on its way.
        ([CUT], ["upscale", "fox.png"]),
        # It is refused for now, and asked for again later.
        ([refused(429, "queue_full")], ["generate", "a fox", "-m", "tiny"]),
        ([refused(503, "database_unavailable")], ["generate", "a fox", "-m", "tiny"]),
    ],
)
def test_ctrl_c_asks_for_no_job_that_the_server_never_had(
    run: Command,
    server: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    answers: list[Answer],
    words: list[str],
) -> None:
    Path("fox.png").write_bytes(PNG)
    server.answers = answers

    def interrupted(*args: object) -> float:
        raise KeyboardInterrupt

    monkeypatch.setattr("darkroom.core.Core.backoff_s", interrupted)

    ran = run(*words)

    assert (ran.code, len(server.got)) == (130, 1)
    assert "There is no job." in ran.err


@pytest.mark.parametrize("hitch", [CUT, Answer(status=502, body=b"<html>")])
def test_ctrl_c_looks_once_for_a_job_that_the_server_may_have(
    run: Command, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, hitch: Answer
) -> None:
    # The second try is refused for now; of the first nobody knows, still.
    server.answers = [hitch, refused(503, "database_unavailable"), CUT]
    pauses = iter([0.0])

    def interrupted(*args: object) -> float:
        for pause in pauses:
            return pause
        raise KeyboardInterrupt

    monkeypatch.setattr("darkroom.core.Core.backoff_s", interrupted)

    ran = run("generate", "a fox", "-m", "tiny")

    assert (ran.code, server.paths()) == (130, ["POST /v1/jobs"] * 3)
    assert "Whether there is a job is not known: " in ran.err


def test_ctrl_c_while_waiting_cancels(
    run: Command, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [
        told({"id": 7, "state": "queued"}, 202),
        Answer(body=sse(("state", "1", {"id": 7, "state": "running"}))),
        refused(409, "not_cancelable", "Job 7 has already succeeded."),
    ]

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("darkroom.cli.progress.JobProgress.take", interrupted)

    ran = run("generate", "a fox", "-m", "tiny")

    assert (ran.code, server.paths()[-1]) == (130, "POST /v1/jobs/7/cancel")
    assert "Job 7 has already succeeded." in ran.err


def test_ctrl_c_leaves_a_job_alone_that_is_only_watched(
    run: Command, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [
        told({"id": 7, "state": "running"}),
        Answer(body=sse(("state", "1", {"id": 7, "state": "running"}))),
    ]

    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("darkroom.cli.progress.JobProgress.take", interrupted)

    assert run("jobs", "watch", "7").code == 130
    assert server.paths() == ["GET /v1/jobs/7", "GET /v1/jobs/7/events"]


def test_a_wait_that_ends_says_how_to_go_on(run: Command, server: ScriptedServer) -> None:
    server.answers = [
        told({"id": 7, "state": "queued"}, 202),
        *[Answer(body=b"retry: 1\n\n", headers={"Content-Type": "text/event-stream"})] * 500,
    ]

    ran = run("generate", "a fox", "-m", "tiny", "--timeout", "0.1")

    assert ran.code == 1
    assert "`darkroom jobs watch 7` takes job 7 up again." in ran.err


def test_a_fault_of_ours_is_a_sentence(
    run: Command, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object) -> None:
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("darkroom.cli.accounting._facts", broken)
    server.answers = [told({})] * 2

    ran = run("usage")

    assert (ran.code, ran.out) == (1, "")
    assert "ZeroDivisionError: by zero" in ran.err
    monkeypatch.setenv("DARKROOM_DEBUG_CLIENT", "1")
    with pytest.raises(ZeroDivisionError):
        run("usage")


def test_terminals_that_cannot_show_it(server: ScriptedServer) -> None:
    server.answers = [told({"items": [{"name": "Füchse 🦊"}], "next_cursor": None})]
    program = "import sys; from darkroom.cli.main import main; sys.exit(main(['models', 'list']))"
    variables = {"DARKROOM_URL": server.url, "DARKROOM_API_KEY": "dkr_x", "PYTHONIOENCODING": "ascii"}

    done = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True)

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("F\\xfcchse")


def test_being_terminated_cancels(
    run: Command, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers = [
        told({"id": 7, "state": "queued"}, 202),
        Answer(body=sse(("state", "1", {"id": 7, "state": "running"}))),
        told({"id": 7, "state": "canceled"}),
    ]

    def terminated(*args: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("darkroom.cli.progress.JobProgress.take", terminated)
    before = signal.getsignal(signal.SIGTERM)

    assert run("generate", "a fox", "-m", "tiny").code == 130
    assert server.paths()[-1] == "POST /v1/jobs/7/cancel"
    assert signal.getsignal(signal.SIGTERM) is before
