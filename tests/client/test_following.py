"""Following a job over connections that break, and the parser of its events."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from darkroom import errors
from darkroom.core import Reply
from darkroom.jobs import events, generate, wait
from darkroom.records import Done, Event, Preview, Progressed, StateChanged
from darkroom.sse import EventParser, ServerEvent
from tests.client.playing import CUT, Player, ok, problem, sent, sse

HEAD = Reply(status=200, headers={})
QUEUED = sse(("state", "0.0.queued.2", {"id": 7, "state": "queued"}))
RUNNING = sse(("state", "1.0.running.0", {"id": 7, "state": "running"}))
STEP = sse(("progress", "1.5.running.1", {"step": 5, "total": 20, "queue_position": 0, "eta_s": 1.5}))
JOB = {"id": 7, "state": "succeeded", "images": [{"url": "http://box/media/a.png", "seed": 3}]}
END = sse(("done", "1.20.succeeded.0", JOB))


def test_events_come_as_what_they_are() -> None:
    preview = sse(
        ("preview", "1.5.running.0", {"index": 0, "step": 5, "image": "data:image/jpeg;base64,QUJD"})
    )
    strange = sse(("weather", "1.5.running.0", {"rain": True}))
    player = Player([HEAD, b"retry: 100\n\n" + QUEUED, b": still here\n\n", strange, STEP + preview, END])

    player.run(events(player.core(), 7))

    state, step, picture, done = player.items
    assert isinstance(state, StateChanged) and state.state == "queued"
    assert isinstance(step, Progressed) and (step.step, step.total, step.eta_s) == (5, 20, 1.5)
    assert isinstance(picture, Preview) and picture.data == b"ABC"
    assert isinstance(done, Done) and done.job.images[0].seed == 3
    assert player.requests[0].headers["accept"] == "text/event-stream"


@pytest.mark.parametrize("end", [b"", CUT])
def test_a_stream_that_ends_early_is_taken_up_where_it_was(end: Any) -> None:
    player = Player([HEAD, b"retry: 100\n\n" + QUEUED, RUNNING + STEP[:-1], end, HEAD, END])

    job = player.run(wait(player.core(), 7))

    assert job.is_succeeded
    assert sent(player.requests) == ["GET /v1/jobs/7/events"] * 2
    assert "last-event-id" not in player.requests[0].headers
    # Of the event that was cut off nothing is known.
    assert player.requests[1].headers["last-event-id"] == "1.0.running.0"
    assert player.sleeps == [0.1]


def test_half_an_event_is_not_glued_to_the_next_connection() -> None:
    player = Player([HEAD, QUEUED + b'event: done\ndata: {"id":', CUT, HEAD, STEP + END])

    player.run(events(player.core(), 7))

    assert [type(item) for item in player.items] == [StateChanged, Progressed, Done]


def test_a_refusal_on_the_way_is_raised() -> None:
    player = Player([HEAD, QUEUED, b"", problem(401, "api_key_invalid")])

    with pytest.raises(errors.AuthenticationError):
        player.run(wait(player.core(), 7))


def test_a_server_that_comes_back_is_waited_for() -> None:
    player = Player([HEAD, QUEUED, CUT, problem(503, "x"), problem(503, "x"), HEAD, END])

    assert player.run(wait(player.core(), 7)).is_succeeded


def test_fruitless_connections_come_to_an_end() -> None:
    player = Player([HEAD, CUT] * 3)

    with pytest.raises(errors.NotReachable):
        player.run(wait(player.core(max_retries=2), 7))


def test_connections_with_news_are_not_counted() -> None:
    player = Player([HEAD, STEP, CUT] * 5 + [HEAD, END])

    assert player.run(wait(player.core(max_retries=1), 7)).is_succeeded


def test_quiet_streams_may_end_for_ever() -> None:
    # A job may wait for hours while the server ends streams after ten minutes.
    player = Player([HEAD, b""] * 50 + [HEAD, END])

    assert player.run(wait(player.core(max_retries=1), 7)).is_succeeded


def test_lines_that_break_after_a_while_are_no_reason_to_give_up() -> None:
    player = Player([HEAD, b": still here\n\n", CUT] * 9 + [HEAD, END], silence_s=6)

    assert player.run(wait(player.core(max_retries=1), 7)).is_succeeded


def test_quiet_ends_do_not_count_against_a_break() -> None:
    player = Player([HEAD, b""] * 9 + [HEAD, CUT, HEAD, END])

    assert player.run(wait(player.core(max_retries=1), 7)).is_succeeded


def test_the_time_to_wait_is_kept() -> None:
    player = Player([HEAD, QUEUED, *[b": still here\n\n"] * 9], silence_s=5)

    with pytest.raises(errors.WaitTimeout, match="not ended after 20 s; it goes on"):
        player.run(wait(player.core(), 7, timeout=20))
    assert player.now == 20


def test_silence_is_never_waited_for_beyond_the_time() -> None:
    player = Player([HEAD, END])

    player.run(wait(player.core(), 7, timeout=4))

    assert player.requests[0].timeout_s == 4


@pytest.mark.parametrize(
    ("state", "kind"),
    [("failed", errors.JobFailed), ("canceled", errors.JobCanceled), ("expired", errors.JobFailed)],
)
def test_other_ends_are_errors(state: str, kind: type[errors.JobFailed]) -> None:
    told = {"id": 7, "state": state, "error": {"code": "internal", "message": "It broke."}}
    player = Player([HEAD, sse(("done", "1", told))])

    with pytest.raises(errors.JobFailed) as caught:
        player.run(wait(player.core(), 7))
    assert type(caught.value) is kind
    assert caught.value.job.id == 7


def test_generating_asks_once_and_tells_everything() -> None:
    player = Player([ok({"id": 7, "state": "queued"}, 202), HEAD, QUEUED + RUNNING + STEP + END])
    told: list[Event] = []

    job = player.run(generate(player.core(), prompt="a fox", on_event=told.append))

    assert job.id == 7
    assert [type(event) for event in told] == [StateChanged, StateChanged, Progressed, Done]
    assert sent(player.requests) == ["POST /v1/jobs", "GET /v1/jobs/7/events"]


def test_a_job_that_has_ended_at_once_is_not_followed() -> None:
    player = Player([ok(JOB)])
    told: list[Event] = []

    player.run(generate(player.core(), prompt="a fox", on_event=told.append))

    assert [type(event) for event in told] == [Done]


STREAM = (
    b"retry: 50\n\n: hello\n\nevent: a\r\nid: 1\r\ndata: x\xc3\xa4\r\ndata: y\r\n\r\n"
    b"id: 2\ndata:z\n\ndata\n\n"
)


@given(cuts=st.sets(st.integers(1, len(STREAM) - 1)))
def test_it_does_not_matter_where_bytes_are_cut(cuts: set[int]) -> None:
    parser = EventParser()
    edges = [0, *sorted(cuts), len(STREAM)]

    found = [event for start, end in pairwise(edges) for event in parser.feed(STREAM[start:end])]

    assert found == [ServerEvent("a", "xä\ny"), ServerEvent("message", "z"), ServerEvent("message", "")]
    assert (parser.last_id, parser.retry_ms) == ("2", 50)
