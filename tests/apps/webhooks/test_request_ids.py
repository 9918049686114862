"""What a caller named its request goes along with the webhook of its end, and is in the log of that."""

from __future__ import annotations

import logging

import pytest

from apps.core.counters import tally
from apps.core.logging import RequestIdFilter
from apps.webhooks.counting import ATTEMPTS, DURATION
from tests.apps.webhooks.conftest import PostOffice


def test_a_request_id_goes_along_with_its_webhook(
    office: PostOffice, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.handler.addFilter(RequestIdFilter())
    delivery = office.queue(request_id="trace-7")
    office.queue()
    with caplog.at_level(logging.INFO, logger="apps.webhooks"):
        assert office.deliver() == 2
    sent = {got.event_id: got.headers.get("x-request-id") for got in office.receiver.requests}
    assert sent.pop(delivery.event_id) == "trace-7"
    assert list(sent.values()) == [None]
    [line] = [each for each in caplog.records if getattr(each, "delivery", "") == delivery.event_id]
    facts = vars(line)
    assert (facts["request_id"], facts["status"], facts["attempt"]) == ("trace-7", 200, 1)


def test_attempts_are_counted_by_what_became_of_them(
    office: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What is counted stays here to be looked at.
    monkeypatch.setattr("apps.webhooks.deliverer.flush_now", lambda role: None)
    tally.clear()
    office.queue()
    assert office.deliver() == 1
    added = tally.take().added
    assert added[ATTEMPTS.name, ("delivered",)] == 1
    assert added[DURATION.sum_name, ()] >= 0
