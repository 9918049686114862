"""Both clients over real sockets: the same methods, the same course, whatever happens to connections."""

from __future__ import annotations

import asyncio
import inspect
import typing
from collections.abc import Callable
from typing import Any

import pytest

import darkroom
from apps.generation.choices import Kind as ServerKind
from darkroom import AsyncDarkroom, Darkroom, errors
from darkroom.binding import AsyncIterating, Awaiting, Blocking, Iterating
from darkroom.client import AsyncImports, AsyncJobs, AsyncKeys, AsyncModels, Imports, Jobs, Keys, Models
from darkroom.kinds import KINDS
from darkroom.schema import Kind
from tests.client.playing import sse
from tests.client.scripted import CUT, Answer, ScriptedServer, refused, told
from tests.tools.client_schema import make_files

PAIRS = [
    (Darkroom, AsyncDarkroom),
    (Jobs, AsyncJobs),
    (Models, AsyncModels),
    (Imports, AsyncImports),
    (Keys, AsyncKeys),
]
DONE = {"id": 7, "state": "succeeded", "images": [{"url": "http://elsewhere/media/a.png"}]}
STREAM = {"Content-Type": "text/event-stream"}
Act = Callable[[Any], Any]


def blocking(server: ScriptedServer, act: Act, **options: Any) -> Any:
    """What `act` gives with the client that blocks; iterators as lists."""
    with Darkroom(server.url, "dkr_test", draw=lambda: 0.0, **options) as client:
        result = act(client)
        return list(result) if inspect.isgenerator(result) else result


def awaiting(server: ScriptedServer, act: Act, **options: Any) -> Any:
    """The same with the client that awaits."""

    async def run() -> Any:
        async with AsyncDarkroom(server.url, "dkr_test", draw=lambda: 0.0, **options) as client:
            result = act(client)
            return [each async for each in result] if inspect.isasyncgen(result) else await result

    return asyncio.run(run())


both = pytest.mark.parametrize("run", [blocking, awaiting])


def test_both_have_the_same_methods() -> None:
    kinds = {Blocking: Awaiting, Iterating: AsyncIterating}
    for ours, theirs in PAIRS:
        plans = {name: each for name, each in vars(ours).items() if isinstance(each, Blocking | Iterating)}
        for name, method in plans.items():
            other = vars(theirs)[name]
            assert type(other) is kinds[type(method)], name
            assert other._plan is method._plan, name
        assert {
            name for name, each in vars(theirs).items() if isinstance(each, Awaiting | AsyncIterating)
        } == set(plans)


def test_every_kind_of_the_server_has_a_method() -> None:
    assert set(KINDS) == set(ServerKind.values) == set(typing.get_args(Kind))
    for row in KINDS.values():
        assert isinstance(vars(Darkroom)[row.method], Blocking), row.method


def test_types_are_those_of_the_server() -> None:
    made = make_files()

    stale = [path.name for path, text in made.items() if path.read_text(encoding="utf-8") != text]
    assert stale == [], "run `python -m tests.tools.client_schema`"


def test_methods_tell_what_they_take() -> None:
    client = Darkroom("http://box", "dkr_test")

    assert list(inspect.signature(client.upscale).parameters) == ["image", "factor", "fields"]
    assert inspect.getdoc(client.jobs.cancel) == inspect.getdoc(darkroom.jobs.cancel)  # type: ignore[attr-defined]
    assert "dkr_test" not in repr(client._driver.core)


@both
def test_a_cut_after_the_commit_leaves_one_job(server: ScriptedServer, run: Any) -> None:
    server.answers = [CUT, told({"id": 7, "state": "queued"}, 202)]

    job = run(server, lambda client: client.jobs.create(prompt="ein Füchslein"))

    assert job.id == 7
    first, second = server.got
    assert first.headers["idempotency-key"] == second.headers["idempotency-key"]
    assert first.body == second.body == '{"kind":"txt2img","prompt":"ein Füchslein"}'.encode()
    assert first.headers["authorization"] == "Bearer dkr_test"
    assert first.headers["user-agent"].startswith("darkroom-client/")


@both
def test_a_body_that_is_cut_is_asked_for_again(server: ScriptedServer, run: Any) -> None:
    server.answers = [Answer(body=b'{"id": ', promised=100), told(DONE)]

    assert run(server, lambda client: client.jobs.get(7)).is_succeeded


@both
def test_a_job_is_followed_over_a_cut(server: ScriptedServer, run: Any) -> None:
    running = b"retry: 10\n\n" + sse(("state", "1.0.running.0", {"id": 7, "state": "running"}))
    server.answers = [
        told({"id": 7, "state": "queued"}, 202),
        Answer(body=running, headers=STREAM, promised=10_000),
        Answer(body=sse(("done", "1.9.succeeded.0", DONE)), headers=STREAM),
    ]
    events: list[Any] = []

    job = run(server, lambda client: client.text_to_image("a fox", model="tiny", on_event=events.append))

    assert job.is_succeeded
    assert [type(event).__name__ for event in events] == ["StateChanged", "Done"]
    assert server.got[2].headers["last-event-id"] == "1.0.running.0"


@both
def test_events_can_be_left(server: ScriptedServer, run: Any) -> None:
    states = [("state", f"{number}", {"id": 7, "state": "running"}) for number in range(3)]
    server.answers = [Answer(body=sse(*states, ("done", "9", DONE)), headers=STREAM)]

    assert len(run(server, lambda client: client.jobs.events(7))) == 4


@both
def test_lists_go_on_by_themselves(server: ScriptedServer, run: Any) -> None:
    server.answers = [
        told({"items": [{"name": "a"}, {"name": "b"}], "next_cursor": "x"}),
        told({"items": [{"name": "c"}], "next_cursor": None}),
    ]

    assert [model.name for model in run(server, lambda client: client.models.list(kind="lora"))] == [
        "a",
        "b",
        "c",
    ]
    assert server.paths() == [
        "GET /v1/models?kind=lora&limit=100",
        "GET /v1/models?kind=lora&limit=100&cursor=x",
    ]


@both
def test_refusals_are_raised(server: ScriptedServer, run: Any) -> None:
    server.answers = [refused(400, "invalid_field", errors=[{"detail": "x", "pointer": "#/steps"}])]

    with pytest.raises(errors.InvalidRequest) as caught:
        run(server, lambda client: client.estimate(prompt="a fox"))
    assert caught.value.field == "steps"


@both
def test_refusals_of_streams_are_read(server: ScriptedServer, run: Any) -> None:
    server.answers = [refused(404, "not_found", "Request 7 was not found.")]

    with pytest.raises(errors.NotFound, match="Request 7 was not found"):
        run(server, lambda client: client.jobs.wait(7))


@both
def test_nobody_there(run: Any) -> None:
    server = ScriptedServer()
    with server.serving():
        pass

    with pytest.raises(errors.NotReachable, match="cannot be reached"):
        run(server, lambda client: client.usage(), max_retries=1)


@both
def test_answers_that_do_not_come(server: ScriptedServer, run: Any) -> None:
    server.answers = [Answer(promised=1000)]

    # The server closes only what it has answered; a promise that is not kept looks like a cut.
    with pytest.raises(errors.NotReachable):
        run(server, lambda client: client.usage(), max_retries=0)


@both
def test_redirects_are_not_followed_with_a_key(server: ScriptedServer, run: Any) -> None:
    server.answers = [Answer(status=301, headers={"Location": "https://other.example/v1/usage"})]

    with pytest.raises(errors.UnexpectedAnswer, match=r"points to https://other\.example"):
        run(server, lambda client: client.usage())
    assert len(server.got) == 1


@both
def test_a_proxy_of_the_environment_is_used(
    server: ScriptedServer, run: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", server.url)
    proxy, server.url = server.url, "http://box.example"
    server.answers = [told({"account": "ada"})]

    assert run(server, lambda client: client.usage()).account == "ada"
    assert server.got[0].path == "http://box.example/v1/usage"
    assert server.got[0].headers["host"] == "box.example"
    server.url = proxy


@pytest.mark.parametrize(
    ("url", "key", "text"),
    [
        ("", "dkr_x", "No server is named"),
        ("http://box", "", "No API key is set"),
        ("box:8000", "dkr_x", "must look like http://box:8000"),
        ("http://box:port", "dkr_x", "must look like http://box:8000"),
        ("http://box:99999", "dkr_x", "must look like http://box:8000"),
        ("http://a..b", "dkr_x", "must look like http://box:8000"),
        ("http://[::1", "dkr_x", "must look like http://box:8000"),
        ("http://", "dkr_x", "must look like"),
        ("http://a b", "dkr_x", "must look like"),
        ("http://box", "dkr_ü", "characters that no key has"),
        ("http://box", "dkr\nx", "characters that no key has"),
    ],
)
def test_what_cannot_be_right_is_said_at_once(url: str, key: str, text: str) -> None:
    with pytest.raises(errors.DarkroomError, match=text):
        Darkroom(url, key)
