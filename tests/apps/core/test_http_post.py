"""Sending by the rules of fetching: where it goes, how long it takes, what is read of the answer."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from apps.core.fetch_policy import FetchPolicy, FetchRefused, parse_allowed
from apps.core.http import FetchFailed
from apps.core.http_post import Answer, post
from tests.harness.receiver import Fate, Receiver


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as receiver:
        yield receiver


def send(receiver: Receiver, **options: Any) -> Answer:
    fields: dict[str, Any] = {
        "content": b'{"a":1}',
        "headers": {"Content-Type": "application/json", "webhook-id": "msg_1"},
        "policy": FetchPolicy(allow=(parse_allowed(receiver.allowed),)),
        "max_bytes": 8,
        "total_s": 5.0,
    }
    url = options.pop("url", receiver.url())
    return post(url, **(fields | options))


def test_content_and_headers_arrive_and_the_answer_begins(receiver: Receiver) -> None:
    receiver.script = [Fate(status=503, headers={"Retry-After": "9"}, body=b"0123456789")]

    answer = send(receiver)

    assert (answer.status, answer.headers["retry-after"], answer.head) == (503, "9", b"01234567")
    [got] = receiver.requests
    assert (got.body, got.headers["webhook-id"]) == (b'{"a":1}', "msg_1")
    assert got.headers["user-agent"] == "darkroom"


def test_redirects_are_answers(receiver: Receiver) -> None:
    receiver.script = [Fate(status=307, headers={"Location": receiver.url("/other")})]
    assert send(receiver).status == 307
    assert len(receiver.requests) == 1


def test_compressed_answers_are_taken_as_they_come(receiver: Receiver) -> None:
    receiver.script = [Fate(headers={"Content-Encoding": "gzip"}, body=b"\x1f\x8bnot really")]
    assert send(receiver).status == 200


def test_private_addresses_are_refused_whatever_the_name(receiver: Receiver) -> None:
    with pytest.raises(FetchRefused, match=r"hooks\.example is an address inside a private network"):
        send(
            receiver,
            policy=FetchPolicy(),
            url="http://hooks.example/",
            resolve=lambda host, port: ["10.0.0.1"],
        )
    with pytest.raises(FetchRefused, match="private network"):
        send(receiver, policy=FetchPolicy())
    assert receiver.requests == []


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example"])
def test_names_that_nobody_has_are_failures(receiver: Receiver, host: str) -> None:
    with pytest.raises(FetchFailed, match=f"the name {host} is unknown"):
        send(receiver, url=f"http://{host}/")


@pytest.mark.parametrize(
    ("fate", "message"),
    [(Fate(hangs_s=30), "did not answer in time"), (Fate(resets=True), "The connection broke")],
    ids=["hang", "reset"],
)
def test_no_answer_is_a_failure_in_time(receiver: Receiver, fate: Fate, message: str) -> None:
    receiver.script = [fate]
    began = time.monotonic()
    with pytest.raises(FetchFailed, match=message):
        send(receiver, total_s=0.3)
    assert time.monotonic() - began < 20
