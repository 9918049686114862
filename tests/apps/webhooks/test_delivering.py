"""From a row to a receiver: what arrives, what is tried again, what is kept of it."""

from __future__ import annotations

import json
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from standardwebhooks.webhooks import Webhook

from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.core import clock
from apps.webhooks import deliverer as deliverer_module
from apps.webhooks.deliverer import run_deliverer
from apps.webhooks.doorbell import DELIVER_TASK, is_at_work
from apps.webhooks.models import Attempt, Delivery, Endpoint
from apps.webhooks.secrets import rotate_secret
from apps.webhooks.sending import Letter, Outcome, send
from apps.webhooks.services import replay_delivery
from tests.apps.webhooks.conftest import PostOffice, reread, statuses
from tests.harness.receiver import Fate, Receiver
from tests.harness.waits import wait_until


def test_a_message_arrives_signed_and_is_on_record(office: PostOffice, receiver: Receiver) -> None:
    secret = rotate_secret(account=office.account, overlap=timedelta(0), actor=SYSTEM, now=clock.now())
    queued = office.queue("/hook?token=1")

    assert office.deliver() == 1

    [got] = receiver.requests
    assert (got.path, got.event_id) == ("/hook?token=1", queued.event_id)
    assert got.headers["content-type"] == "application/json"
    told = Webhook(secret.text).verify(got.body, dict(got.headers))
    assert told["type"] == "webhook.test"
    row = reread(queued)
    assert (row.state, row.attempts, row.last_status, row.last_error) == ("delivered", 1, 200, "")
    assert row.body is not None and bytes(row.body) == got.body
    [attempt] = Attempt.objects.all()
    assert (attempt.status, attempt.error, attempt.answer) == (200, "", "thank you")
    assert attempt.duration_ms < 5000
    assert not Endpoint.objects.exists()


@pytest.mark.parametrize(
    ("fate", "status", "error"),
    [
        (Fate(status=500, body=b"oh no\0"), 500, "The endpoint answered 500."),
        (
            Fate(status=302, headers={"Location": "http://127.0.0.1:1/"}),
            302,
            "The endpoint answered 302; redirects are not followed.",
        ),
        (Fate(resets=True), None, "The connection broke"),
        (Fate(hangs_s=60), None, "The server did not answer in time."),
    ],
    ids=["status", "redirect", "reset", "hang"],
)
def test_what_fails_is_tried_again_with_the_same_id_and_body(
    office: PostOffice, receiver: Receiver, settings: Any, fate: Fate, status: int | None, error: str
) -> None:
    # Short for what hangs alone: on a busy machine an answer takes its time.
    timeouts_s = iter([0.3 if fate.hangs_s else 30.0, 30.0])
    receiver.script = [fate]
    queued = office.queue()

    def send_in_time(letter: Letter) -> Outcome:
        settings.WEBHOOK_TIMEOUT_S = next(timeouts_s)
        return send(letter)

    assert office.deliver(send=send_in_time) == 2

    first, second = receiver.requests
    assert (first.event_id, first.body) == (second.event_id, second.body)
    assert reread(queued).state == "delivered"
    assert statuses(queued) == [status, 200]
    tried = Attempt.objects.earliest("id")
    assert tried.error.startswith(error)
    assert tried.answer == {500: "oh no\N{REPLACEMENT CHARACTER}", 302: "thank you"}.get(status or 0, "")


def test_the_secret_before_signs_beside_the_new_one(office: PostOffice, receiver: Receiver) -> None:
    old = rotate_secret(account=office.account, overlap=timedelta(0), actor=SYSTEM, now=clock.now())
    new = rotate_secret(account=office.account, overlap=timedelta(hours=1), actor=SYSTEM, now=clock.now())
    office.queue()

    office.deliver()

    [got] = receiver.requests
    assert len(got.headers["webhook-signature"].split()) == 2
    for secret in (old, new):
        Webhook(secret.text).verify(got.body, dict(got.headers))


def test_an_answer_is_kept_to_its_limit_and_not_unpacked(office: PostOffice, receiver: Receiver) -> None:
    receiver.script = [Fate(headers={"Content-Encoding": "gzip"}, body=b"x" * 1_000_000)]
    queued = office.queue()

    office.deliver()

    assert reread(queued).state == "delivered"
    assert Attempt.objects.get().answer == "x" * 2048


def test_after_the_last_attempt_it_is_given_up_and_can_be_sent_again(
    office: PostOffice, receiver: Receiver, settings: Any
) -> None:
    settings.WEBHOOK_RETRY_S = (0.02, 0.02)
    receiver.script = [Fate(status=500)] * 3
    queued = office.queue()

    assert office.deliver() == 3

    row = reread(queued)
    assert (row.state, row.attempts, row.last_status) == ("failed", 3, 500)
    assert row.ended_at is not None
    replay_delivery(delivery=row, actor=SYSTEM, now=clock.now())
    assert office.deliver() == 1
    assert reread(queued).state == "delivered"
    assert statuses(queued) == [500, 500, 500, 200]
    assert {got.event_id for got in receiver.requests} == {queued.event_id}


def test_retry_after_lengthens_the_wait(office: PostOffice, receiver: Receiver) -> None:
    receiver.script = [Fate(status=429, headers={"Retry-After": "3600"})]
    queued = office.queue()

    office.deliver()

    wait_s = (reread(queued).due_at - clock.now()).total_seconds()
    assert 3500 < wait_s <= 3600


def test_gone_disables_the_endpoint_until_a_replay_succeeds(office: PostOffice, receiver: Receiver) -> None:
    receiver.script = [Fate(status=410)]
    first = office.queue("/hook?event=1")
    office.deliver()
    second, elsewhere = office.queue("/hook?event=2"), office.queue("/other")
    office.deliver()

    assert [reread(each).state for each in (first, second, elsewhere)] == ["failed", "failed", "delivered"]
    assert "410" in reread(second).last_error
    assert [got.path for got in receiver.requests] == ["/hook?event=1", "/other"]
    replay_delivery(delivery=reread(second), actor=SYSTEM, now=clock.now())
    office.deliver()
    third = office.queue("/hook?event=3")
    office.deliver()
    assert [reread(each).state for each in (second, third)] == ["delivered", "delivered"]
    names = list(
        AuditEvent.objects.filter(name__startswith="webhooks.endpoint").values_list("name", flat=True)
    )
    assert sorted(names) == ["webhooks.endpoint.disabled", "webhooks.endpoint.enabled"]


def test_a_message_that_cannot_be_written_fails_alone(
    office: PostOffice, receiver: Receiver, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.WEBHOOK_RETRY_S = (60,)
    settings.WEBHOOK_BODIES = {"test": "apps.webhooks.bodies.test_body", "broken": "no.such.module.body"}
    broken = office.queue()
    Delivery.objects.filter(pk=broken.pk).update(dialect="broken")
    fine = office.queue()

    office.deliver()

    assert (reread(broken).state, reread(fine).state) == ("waiting", "delivered")
    assert reread(broken).last_error == "The message could not be written; the operator's log says why."
    assert "cannot be made" in caplog.text


def test_an_attempt_that_breaks_in_an_unforeseen_way_fails_alone(
    office: PostOffice, settings: Any, caplog: pytest.LogCaptureFixture
) -> None:
    settings.WEBHOOK_RETRY_S = (60,)
    odd, fine = office.queue("/odd"), office.queue("/fine")

    def send_or_break(letter: Letter) -> Outcome:
        if letter.url.endswith("/odd"):
            raise RuntimeError("unforeseen")
        return send(letter)

    office.deliver(send=send_or_break)

    assert (reread(odd).state, reread(fine).state) == ("waiting", "delivered")
    assert reread(odd).last_error == "The attempt broke; the operator's log says why."
    assert "unforeseen" in caplog.text


def test_a_rolled_back_event_is_not_told(office: PostOffice, receiver: Receiver) -> None:
    with pytest.raises(RuntimeError, match="undone"), transaction.atomic():
        office.queue()
        raise RuntimeError("undone")

    assert office.deliver() == 0
    assert receiver.requests == []


def test_a_hanging_endpoint_takes_its_places_and_no_more(
    office: PostOffice, receiver: Receiver, settings: Any
) -> None:
    # What has hung is not due again within the test: the deliverer would stay for it, pauses included.
    settings.WEBHOOK_RETRY_S = (3600,)
    settings.WEBHOOK_TIMEOUT_S = 60.0
    receiver.by_path["/hangs"] = Fate(hangs_s=60.0)
    for number in range(12):
        office.queue("/hangs")
        office.queue(f"/fine/{number}")
    worker = threading.Thread(target=_deliver_in_thread, args=[office])
    worker.start()
    try:
        wait_until(lambda: len(receiver.taken()) == 12, what="the others' messages", timeout_s=60)
        assert sum(got.path == "/hangs" for got in receiver.requests) == 4
    finally:
        Delivery.objects.filter(state="waiting").delete()
        receiver.let_go()
        worker.join()
    assert receiver.most_at_once["/hangs"] == 4


def test_the_second_deliverer_leaves_at_once(office: PostOffice, receiver: Receiver, settings: Any) -> None:
    settings.WEBHOOK_TIMEOUT_S = 60.0
    receiver.script = [Fate(hangs_s=60.0)]
    office.queue()
    worker = threading.Thread(target=_deliver_in_thread, args=[office])
    worker.start()
    try:
        wait_until(lambda: receiver.requests, what="the first attempt", timeout_s=60)
        assert is_at_work()
        assert office.deliver() == 0
    finally:
        receiver.let_go()
        worker.join()
    assert not is_at_work()


def test_a_turn_that_ends_hands_over_while_its_last_answer_is_waited_for(
    office: PostOffice, receiver: Receiver, settings: Any
) -> None:
    settings.WEBHOOK_TIMEOUT_S = 60.0
    receiver.script = [Fate(hangs_s=60.0)]
    slow = office.queue("/slow")
    worker = threading.Thread(target=_deliver_in_thread, args=[office], kwargs={"turn_s": 0.3})
    worker.start()
    try:
        wait_until(lambda: receiver.requests, what="the first attempt", timeout_s=60)
        wait_until(lambda: not is_at_work(), what="the end of the turn", timeout_s=60)
        fine = office.queue("/fine")
        assert office.deliver() >= 1
        assert reread(fine).state == "delivered"
        assert reread(slow).state == "sending", "a living session's attempt was taken from it"
    finally:
        receiver.let_go()
        worker.join()
    assert reread(slow).state == "waiting"
    assert statuses(slow) == [None]


def test_an_attempt_that_does_not_end_is_left_to_the_next_session(
    office: PostOffice, receiver: Receiver, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer_module, "LAST_ANSWERS_S", 0.0)
    settings.WEBHOOK_TIMEOUT_S = 0.2
    queued, resolved = office.queue(), threading.Event()

    def waits_for_a_resolver(letter: Letter) -> Outcome:
        resolved.wait(30)
        return send(letter)

    assert office.deliver(send=waits_for_a_resolver, turn_s=0.1) == 0
    assert reread(queued).state == "sending"
    settings.WEBHOOK_TIMEOUT_S = 30.0
    assert office.deliver() == 1
    assert reread(queued).state == "delivered"
    resolved.set()
    wait_until(lambda: len(receiver.requests) == 2, what="the late attempt", timeout_s=60)
    assert statuses(queued) == [200]


def test_what_a_dead_deliverer_had_under_way_is_sent_again(office: PostOffice, receiver: Receiver) -> None:
    queued = office.queue()
    Delivery.objects.filter(pk=queued.pk).update(state="sending", claimed_by="died", fence=1)

    assert office.deliver() == 1

    assert reread(queued).state == "delivered"
    assert receiver.taken() == [queued.event_id]


def test_an_outcome_that_comes_too_late_changes_nothing(office: PostOffice) -> None:
    queued = office.queue()

    def taken_back_meanwhile(letter: Letter) -> Outcome:
        outcome = send(letter)
        with transaction.atomic():
            Delivery.objects.filter(pk=queued.pk).update(fence=99, claimed_by="another")
        connection.close()
        return outcome

    office.deliver(send=taken_back_meanwhile)

    assert reread(queued).state == "sending"
    assert statuses(queued) == []


def test_whoever_is_late_for_the_last_look_is_rung_for(
    office: PostOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    rings: list[str] = []
    monkeypatch.setattr(deliverer_module, "ring", lambda: rings.append(DELIVER_TASK))
    office.queue()

    run_deliverer(turn_s=0.0)

    assert rings == [DELIVER_TASK]


def test_bodies_are_json(office: PostOffice, receiver: Receiver) -> None:
    office.queue()
    office.deliver()
    assert set(json.loads(receiver.requests[0].body)) == {"type", "timestamp", "data"}


def _deliver_in_thread(office: PostOffice, **options: Any) -> None:
    try:
        time.sleep(0)
        office.deliver(**options)
    finally:
        connection.close()
