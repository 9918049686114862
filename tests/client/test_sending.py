"""When a request is sent again, and when that would be wrong."""

from __future__ import annotations

from typing import Any

import pytest

from darkroom import errors
from darkroom.account import create_key, revoke_key
from darkroom.core import Broken, Reply, Request, json_request
from darkroom.jobs import cancel, create, get
from darkroom.sending import send
from tests.client.playing import CUT, NEVER_LEFT, Player, ok, problem, sent

READING = Request(method="GET", path="/v1/jobs/1")
SECRET = json_request("POST", "/v1/keys", {"name": "x"})
BUSY = problem(429, "queue_full", "The queue is full.", retry_after=3)
DOWN = problem(503, "database_unavailable", retry_after=5)
BAD_GATEWAY = Reply(status=502, headers={}, body=b"<html>")
DONE = ok({"id": 1, "state": "succeeded"})


@pytest.mark.parametrize("hitch", [CUT, NEVER_LEFT, BUSY, DOWN, BAD_GATEWAY])
def test_what_may_be_repeated_is(hitch: Any) -> None:
    player = Player([hitch, hitch, DONE])

    assert player.run(send(player.core(), READING)).json()["id"] == 1
    assert sent(player.requests) == ["GET /v1/jobs/1"] * 3


@pytest.mark.parametrize("hitch", [CUT, DOWN, BAD_GATEWAY])
def test_what_may_have_been_done_is_not_done_twice(hitch: Any) -> None:
    player = Player([hitch, DONE])

    with pytest.raises(errors.DarkroomError):
        player.run(send(player.core(), SECRET))
    assert len(player.requests) == 1


@pytest.mark.parametrize("hitch", [NEVER_LEFT, BUSY])
def test_what_certainly_was_not_done_is_tried_again(hitch: Any) -> None:
    player = Player([hitch, DONE])

    player.run(send(player.core(), SECRET))

    assert len(player.requests) == 2


def test_a_job_keeps_its_key_from_try_to_try() -> None:
    player = Player([CUT, BAD_GATEWAY, BUSY, DONE])

    job = player.run(create(player.core(), prompt="a fox"))

    assert job.is_succeeded
    assert [request.headers["idempotency-key"] for request in player.requests] == ["key-1"] * 4
    assert len({request.body for request in player.requests}) == 1


def test_the_next_job_has_another_key() -> None:
    player = Player([DONE, DONE])
    core = player.core()

    player.run(create(core, prompt="a fox"))
    player.run(create(core, prompt="a fox"))

    assert [request.headers["idempotency-key"] for request in player.requests] == ["key-1", "key-2"]


def test_a_key_of_the_callers_own_is_used() -> None:
    player = Player([DONE])

    player.run(create(player.core(), prompt="a fox", idempotency_key="order-7"))

    [request] = player.requests
    assert request.headers["idempotency-key"] == "order-7"
    assert request.body == b'{"kind":"txt2img","prompt":"a fox"}'


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500, 501])
def test_refusals_that_time_does_not_cure_come_at_once(status: int) -> None:
    player = Player([problem(status, "some_code")])

    with pytest.raises(errors.Refused):
        player.run(send(player.core(), READING))
    assert player.sleeps == []


def test_waits_grow_and_have_jitter() -> None:
    player = Player([CUT] * 8)

    with pytest.raises(errors.NotReachable, match="http://box cannot be reached: the connection was cut"):
        player.run(send(player.core(max_retries=7), READING))
    # Half of 0.5, 1, 2, 4, 8, 8, 8.
    assert player.sleeps == [0.25, 0.5, 1.0, 2.0, 4.0, 4.0, 4.0]


@pytest.mark.parametrize(("draw", "expected"), [(0.0, 3.0), (1.0, 3.5)])
def test_never_sooner_than_the_server_asks(draw: float, expected: float) -> None:
    player = Player([BUSY, DONE])

    player.run(send(player.core(draw=lambda: draw), READING))

    assert player.sleeps == [expected]


def test_nobody_waits_for_tomorrow() -> None:
    player = Player([problem(429, "daily_quota_exhausted", retry_after=40_000)])

    with pytest.raises(errors.QuotaExceeded) as caught:
        player.run(send(player.core(), READING))
    assert caught.value.retry_after_s == 40_000
    assert player.sleeps == []


def test_a_time_out_is_told_apart() -> None:
    late = Broken("no answer in time")
    late.is_timeout = True
    player = Player([late])

    with pytest.raises(errors.TimedOut):
        player.run(send(player.core(max_retries=0), READING))


def test_canceling_has_a_key_and_ending_a_key_is_not_repeated() -> None:
    player = Player([CUT, DONE])
    player.run(cancel(player.core(), 7))
    assert [request.headers["idempotency-key"] for request in player.requests] == ["key-1", "key-1"]

    # The second would be refused, and the caller misled.
    player = Player([CUT])
    with pytest.raises(errors.NotReachable):
        player.run(revoke_key(player.core(), "abcd2345"))


def test_names_are_quoted_in_paths() -> None:
    player = Player([ok({"key": "dkr_x"}, 201), ok({})])
    core = player.core()

    assert player.run(create_key(core, "ci", daily_cap=None)).key == "dkr_x"
    assert player.requests[0].body == b'{"name":"ci"}'
    player.run(revoke_key(core, "../jobs/1"))
    assert player.requests[1].path == "/v1/keys/..%2Fjobs%2F1"


def test_an_answer_that_is_no_json_is_named() -> None:
    player = Player([Reply(status=200, headers={}, body=b"<html>Welcome</html>")])

    with pytest.raises(errors.UnexpectedAnswer, match="No Darkroom is at this address"):
        player.run(get(player.core(), 1))
