"""What is posted to the webhook's address and is not, or not simply, a message from Stripe."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.test import Client

from apps.payments import inbox
from apps.payments.choices import EventState
from apps.payments.models import StripeEvent
from tests.apps.payments.stage import PATH, audited
from tests.clocks import FrozenClock
from tests.fake_stripe.webhooks import sign

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("configured", "clock")]


def event_body(**fields: Any) -> bytes:
    event = {
        "id": "evt_1",
        "object": "event",
        "type": "account.updated",
        "livemode": False,
        "data": {"object": {"id": "acct_1", "object": "account"}},
    }
    return json.dumps(event | fields).encode()


def post(client: Client, body: bytes, *, at: int, secret: str = "whsec_fake", signature: str = "") -> int:
    header = signature or sign(body, secret, at=at)
    return client.post(
        PATH, data=body, content_type="application/json", headers={"Stripe-Signature": header}
    ).status_code


def test_a_genuine_message_of_no_consequence_is_kept_and_ignored(client: Client, clock: FrozenClock) -> None:
    assert post(client, event_body(), at=int(clock.now().timestamp())) == 200
    event = StripeEvent.objects.get()
    assert (event.state, event.event_id, bytes(event.body)) == (EventState.IGNORED, "evt_1", event_body())
    assert audited("payments.event.refused") == 0


@pytest.mark.parametrize(
    ("secret", "signature", "shift_s", "why"),
    [
        ("whsec_of_somebody_else", "", 0, "signature"),
        ("whsec_fake", "t=1,v1=", 0, "signature"),
        ("whsec_fake", "nonsense", 0, "signature"),
        ("whsec_fake", "", -301, "five minutes"),
        ("whsec_fake", "", 301, "future"),
    ],
)
def test_forged_and_old_messages_are_refused(
    client: Client, clock: FrozenClock, secret: str, signature: str, shift_s: int, why: str
) -> None:
    at = int(clock.now().timestamp()) + shift_s
    assert post(client, event_body(), at=at, secret=secret, signature=signature) == 400
    event = StripeEvent.objects.get()
    assert (event.state, event.is_genuine) == (EventState.REFUSED, False)
    assert why in event.note
    assert audited("payments.event.refused") == 1


def test_a_message_at_the_edge_of_its_age_is_taken(client: Client, clock: FrozenClock) -> None:
    assert post(client, event_body(), at=int(clock.now().timestamp()) - 300) == 200


def test_a_message_of_the_other_mode_is_refused(client: Client, clock: FrozenClock) -> None:
    assert post(client, event_body(livemode=True), at=int(clock.now().timestamp())) == 400
    assert "live mode" in StripeEvent.objects.get().note


def test_a_message_without_a_signature_is_refused(client: Client) -> None:
    response = client.post(PATH, data=event_body(), content_type="application/json")
    assert response.status_code == 400


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"{}", b'{"object":"event"}', b"\xff\xfe"])
def test_signed_nonsense_is_refused(client: Client, clock: FrozenClock, body: bytes) -> None:
    assert post(client, body, at=int(clock.now().timestamp())) == 400
    assert StripeEvent.objects.get().state == EventState.REFUSED


def test_a_message_that_comes_twice_is_handled_once(client: Client, clock: FrozenClock) -> None:
    at = int(clock.now().timestamp())
    assert post(client, event_body(), at=at) == 200
    assert post(client, event_body(), at=at) == 200
    assert StripeEvent.objects.count() == 1


def test_a_forged_message_does_not_take_the_place_of_the_real_one(client: Client, clock: FrozenClock) -> None:
    at = int(clock.now().timestamp())
    assert post(client, event_body(), at=at, secret="whsec_of_somebody_else") == 400
    assert post(client, event_body(), at=at) == 200
    assert sorted(StripeEvent.objects.values_list("state", flat=True)) == ["ignored", "refused"]


def test_what_is_too_large_is_refused_unread(client: Client) -> None:
    response = client.post(PATH, data=b"x" * (inbox.MAX_BYTES + 1), content_type="application/json")
    assert response.status_code == 413
    event = StripeEvent.objects.get()
    assert (event.state, bytes(event.body)) == (EventState.REFUSED, b"")
    assert audited("payments.event.refused") == 1


def test_a_flood_fills_neither_the_audit_log_nor_the_table(
    client: Client, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "AUDITED_PER_HOUR", 3)
    monkeypatch.setattr(inbox, "MAX_REFUSED", 4)
    for number in range(6):
        post(client, event_body(id=f"evt_{number}"), at=0)
    assert audited("payments.event.refused") == 3
    assert inbox.prune_events(now=clock.now()) == 2
    assert StripeEvent.objects.count() == 4


def test_without_a_secret_nothing_is_believed_or_kept(
    client: Client, settings: Any, clock: FrozenClock
) -> None:
    settings.STRIPE_WEBHOOK_SECRET = ""
    assert post(client, event_body(), at=int(clock.now().timestamp()), secret="") == 503
    assert StripeEvent.objects.count() == 0


def test_other_methods_are_not_answered(client: Client) -> None:
    assert client.get(PATH).status_code == 405


def test_a_message_that_cannot_be_handled_now_is_tried_again(client: Client, clock: FrozenClock) -> None:
    """Nobody answers at Stripe's address: Stripe is thanked, and the row is due again."""
    body = event_body(
        type="customer.updated", data={"object": {"id": "cus_1", "object": "customer", "customer": None}}
    )
    assert post(client, body, at=int(clock.now().timestamp())) == 200
    event = StripeEvent.objects.get()
    assert (event.state, event.attempts) == (EventState.WAITING, 1)
    assert event.due_at is not None and event.due_at > clock.now()
    assert "PaymentsUnavailable" in event.note


def test_a_message_that_never_works_is_left_to_an_operator(client: Client, clock: FrozenClock) -> None:
    body = event_body(type="customer.updated", data={"object": {"id": "cus_1", "object": "customer"}})
    post(client, body, at=int(clock.now().timestamp()))
    for _ in range(inbox.MAX_ATTEMPTS):
        clock.advance(days=1)
        inbox.handle_due_events(now=clock.now())
    event = StripeEvent.objects.get()
    assert (event.state, event.attempts) == (EventState.FAILED, inbox.MAX_ATTEMPTS)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"[" * 100_000, id="a hundred thousand brackets"),
        pytest.param(event_body(id="evt_\ud800", type="a\udfff"), id="halves of characters"),
        pytest.param(event_body(data={"object": {"id": "\ud800", "object": "\ud800\0"}}), id="deeper inside"),
    ],
)
@pytest.mark.parametrize("is_signed", [True, False])
def test_json_that_hurts_its_reader_is_answered(
    client: Client, clock: FrozenClock, body: bytes, is_signed: bool
) -> None:
    secret = "whsec_fake" if is_signed else "whsec_of_somebody_else"
    assert post(client, body, at=int(clock.now().timestamp()), secret=secret) in (200, 400)
    assert StripeEvent.objects.count() == 1
