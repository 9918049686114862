"""What lies between client and server: keys, repetitions, faults, lists, signed webhooks, meters."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import stripe

from tests.fake_stripe.account import assemble
from tests.fake_stripe.client import client_of
from tests.fake_stripe.clock import DAY_S
from tests.fake_stripe.fake import Fake
from tests.fake_stripe.visitor import Visitor
from tests.fake_stripe.webhooks import SignedWebhook

PAYMENT: Any = {"amount": 1000, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}


@pytest.fixture
def v1(fake_stripe: Fake) -> Any:
    return client_of(fake_stripe).v1


def payments(v1: Any) -> int:
    return len(v1.payment_intents.list({"limit": 100}).data)


def test_another_key_is_refused(fake_stripe: Fake) -> None:
    fake_stripe.secret_key = "sk_test_other"
    client = client_of(fake_stripe)
    fake_stripe.secret_key = "sk_test_fake"
    with pytest.raises(stripe.AuthenticationError, match="Invalid API Key"):
        client.v1.balance.retrieve()


def test_another_version_is_refused(v1: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError, match="Invalid Stripe API version"):
        v1.balance.retrieve({}, {"stripe_version": "2020-08-27"})


def test_a_parameter_that_would_be_ignored_is_refused(v1: Any) -> None:
    with pytest.raises(stripe.InvalidRequestError) as refused:
        v1.customers.create({"nickname": "x"})
    assert (refused.value.code, refused.value.param) == ("parameter_unknown", "nickname")
    assert v1.customers.list().data == []


def test_the_same_key_is_the_same_answer(fake_stripe: Fake, v1: Any) -> None:
    first, second = (v1.payment_intents.create(PAYMENT, {"idempotency_key": "k1"}) for _ in range(2))
    assert (first.id, payments(v1)) == (second.id, 1)
    assert second.last_response.headers["Idempotent-Replayed"] == "true"
    fake_stripe.advance(days=1)
    # Forgotten by now, as at Stripe: whoever is so late must look first.
    assert v1.payment_intents.create(PAYMENT, {"idempotency_key": "k1"}).id != first.id


def test_the_same_key_for_something_else_is_refused(v1: Any) -> None:
    v1.payment_intents.create(PAYMENT, {"idempotency_key": "k1"})
    with pytest.raises(stripe.IdempotencyError, match="same parameters"):
        v1.payment_intents.create({**PAYMENT, "amount": 2000}, {"idempotency_key": "k1"})
    assert payments(v1) == 1


def test_the_same_key_at_the_same_time_conflicts(fake_stripe: Fake, v1: Any) -> None:
    fake_stripe.idempotency.begin("k1", request="under way", now=fake_stripe.clock.now())
    fake_stripe.idempotency._entries["k1"].fingerprint = _fingerprint_of_payment()
    with pytest.raises(stripe.StripeError) as refused:
        v1.payment_intents.create(PAYMENT, {"idempotency_key": "k1"})
    assert (refused.value.http_status, payments(v1)) == (409, 0)


def _fingerprint_of_payment() -> str:
    body = "amount=1000&currency=usd&payment_method=pm_card_visa&confirm=true"
    return hashlib.sha256(f"POST /v1/payment_intents\n{body}".encode()).hexdigest()


def test_a_declined_payment_is_remembered(v1: Any) -> None:
    refused = {**PAYMENT, "payment_method": "pm_card_chargeCustomerFail"}
    for _ in range(2):
        with pytest.raises(stripe.CardError):
            v1.payment_intents.create(refused, {"idempotency_key": "k1"})
    assert payments(v1) == 1


@pytest.mark.parametrize(
    ("kind", "error", "made"),
    [
        ("429", stripe.RateLimitError, 0),
        ("500", stripe.APIError, 0),
        ("reset", stripe.APIConnectionError, 0),
        ("timeout_after_commit", stripe.APIConnectionError, 1),
    ],
)
def test_a_fault_and_the_retry_after_it(
    fake_stripe: Fake, v1: Any, kind: Any, error: type[Exception], made: int
) -> None:
    fake_stripe.fail_next(kind, method="POST", path="/v1/payment_intents")
    with pytest.raises(error):
        v1.payment_intents.create(PAYMENT, {"idempotency_key": "k1"})
    assert payments(v1) == made
    v1.payment_intents.create(PAYMENT, {"idempotency_key": "k1"})
    assert payments(v1) == 1


def test_a_slow_answer_times_out(fake_stripe: Fake) -> None:
    fake_stripe.fail_next("slow", path="/v1/balance").seconds = 0.4
    with pytest.raises(stripe.APIConnectionError):
        client_of(fake_stripe, read_s=0.1).v1.balance.retrieve()


def test_lists_come_in_pages(v1: Any) -> None:
    made = [v1.customers.create({"name": str(number)}).id for number in range(7)]
    first = v1.customers.list({"limit": 3})
    assert (first.has_more, [row.id for row in first.data]) == (True, made[:3:-1])
    assert [row.id for row in v1.customers.list({"limit": 3}).auto_paging_iter()] == made[::-1]
    before = v1.customers.list({"limit": 2, "ending_before": made[3]})
    assert [row.id for row in before.data] == [made[5], made[4]]


def test_metadata_merges_and_clears(v1: Any) -> None:
    customer = v1.customers.create({"metadata": {"a": "1", "b": "2"}})
    assert v1.customers.update(customer.id, {"metadata": {"a": "", "c": "3"}}).metadata.to_dict() == {
        "b": "2",
        "c": "3",
    }
    assert v1.customers.update(customer.id, {"metadata": ""}).metadata.to_dict() == {}


def test_events_say_what_changed(v1: Any) -> None:
    customer = v1.customers.create({"name": "Ada"})
    v1.customers.update(customer.id, {"name": "Ben"})
    event = v1.events.list({"type": "customer.updated"}).data[0]
    assert (event.data.object.name, event.data.previous_attributes.to_dict()) == ("Ben", {"name": "Ada"})
    assert v1.events.retrieve(event.id).api_version == "2026-10-28.endive"


def test_webhooks_are_signed_as_stripe_signs(fake_stripe: Fake, v1: Any) -> None:
    v1.customers.create({"name": "Ada"})
    webhook = fake_stripe.take_webhooks()[0]
    event = stripe.Webhook.construct_event(webhook.body, webhook.signature, fake_stripe.webhook_secret)
    assert (event.type, event.data.object.name) == ("customer.created", "Ada")
    with pytest.raises(stripe.SignatureVerificationError):
        stripe.Webhook.construct_event(webhook.body + b" ", webhook.signature, fake_stripe.webhook_secret)


def test_delivery_shuffles_repeats_and_forges(fake_stripe: Fake, v1: Any) -> None:
    for number in range(30):
        v1.customers.create({"name": str(number)})
    got: list[SignedWebhook] = []

    def send(webhook: SignedWebhook) -> int:
        try:
            stripe.Webhook.construct_event(webhook.body, webhook.signature, fake_stripe.webhook_secret)
        except stripe.SignatureVerificationError:
            return 400
        got.append(webhook)
        return 200

    counts = fake_stripe.deliver(send, shuffle_seed=7, duplicates=0.5, bad_signatures=0.5)
    names = [json.loads(webhook.body)["data"]["object"]["name"] for webhook in got]
    assert len(set(names)) == 30 and len(names) == counts["delivered"] > 35
    assert names != sorted(names, key=int)
    assert counts["forged"] > 5 and counts["forged_accepted"] == 0


def test_a_webhook_that_is_not_taken_comes_again(fake_stripe: Fake, v1: Any) -> None:
    v1.customers.create({})
    assert fake_stripe.deliver(lambda webhook: 500)["refused"] == 1
    assert fake_stripe.deliver(lambda webhook: 200)["delivered"] == 0
    fake_stripe.advance(seconds=60)
    assert fake_stripe.deliver(lambda webhook: 200)["delivered"] == 1
    assert fake_stripe.deliver(lambda webhook: 200)["delivered"] == 0


def test_late_webhooks_come_with_a_later_delivery(fake_stripe: Fake, v1: Any) -> None:
    for _ in range(20):
        v1.customers.create({})
    first = fake_stripe.deliver(lambda webhook: 200, shuffle_seed=1, late=0.5)["delivered"]
    assert 0 < first < 20
    assert fake_stripe.deliver(lambda webhook: 200)["delivered"] == 20 - first


class _Receiver(BaseHTTPRequestHandler):
    got: list[bytes] = []

    def do_POST(self) -> None:
        self.got.append(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


def test_registered_endpoints_get_what_they_asked_for(fake_stripe: Fake, v1: Any) -> None:
    receiver = HTTPServer(("127.0.0.1", 0), _Receiver)
    thread = threading.Thread(target=receiver.handle_request, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{receiver.server_address[1]}/hook"
    made = v1.webhook_endpoints.create({"url": url, "enabled_events": ["customer.deleted"]})
    assert made.secret == fake_stripe.webhook_secret
    v1.customers.delete(v1.customers.create({}).id)
    assert fake_stripe.deliver()["delivered"] == 1
    thread.join(5)
    receiver.server_close()
    assert json.loads(_Receiver.got[0])["type"] == "customer.deleted"


@pytest.fixture
def meter(v1: Any) -> Any:
    return v1.billing.meters.create(
        {
            "display_name": "Usage",
            "event_name": "usage",
            "default_aggregation": {"formula": "sum"},
            "customer_mapping": {"type": "by_id", "event_payload_key": "stripe_customer_id"},
            "value_settings": {"event_payload_key": "value"},
        }
    )


def report(v1: Any, customer: str, value: int, identifier: str) -> None:
    payload = {"stripe_customer_id": customer, "value": str(value)}
    v1.billing.meter_events.create({"event_name": "usage", "identifier": identifier, "payload": payload})


def summed(fake: Fake, v1: Any, meter: Any, customer: str) -> float:
    start = fake.clock.now() // 60 * 60 - DAY_S
    rows = v1.billing.meters.event_summaries.list(
        meter.id, {"customer": customer, "start_time": start, "end_time": start + 2 * DAY_S}
    )
    return sum(row.aggregated_value for row in rows.data)


def test_sums_of_meters_lag_and_forget_repetitions(fake_stripe: Fake, v1: Any, meter: Any) -> None:
    customer = v1.customers.create({}).id
    report(v1, customer, 5, "a")
    report(v1, customer, 7, "b")
    with pytest.raises(stripe.InvalidRequestError, match="already exists with identifier a"):
        report(v1, customer, 5, "a")
    assert summed(fake_stripe, v1, meter, customer) == 0
    fake_stripe.advance(seconds=60)
    assert summed(fake_stripe, v1, meter, customer) == 12
    fake_stripe.advance(days=1)
    report(v1, customer, 5, "a")


def test_metered_usage_is_billed_to_the_cent(fake_stripe: Fake, v1: Any, meter: Any) -> None:
    product = v1.products.create({"name": "Pay as you go"})
    recurring = {"interval": "month", "usage_type": "metered", "meter": meter.id}
    price = v1.prices.create(
        {"product": product.id, "currency": "usd", "unit_amount_decimal": "0.0001", "recurring": recurring}
    )
    customer = v1.customers.create({}).id
    session = v1.checkout.sessions.create(
        {"mode": "setup", "customer": customer, "success_url": "http://testserver/ok", "currency": "usd"}
    )
    Visitor(fake_stripe).pay(session.url)
    card = v1.customers.payment_methods.list(customer).data[0].id
    v1.customers.update(customer, {"invoice_settings": {"default_payment_method": card}})
    made = v1.subscriptions.create({"customer": customer, "items": [{"price": price.id}]})
    assert made.status == "active"
    for number in range(3):
        report(v1, customer, 4_115_000, f"u{number}")
    fake_stripe.advance(days=32)
    last = v1.invoices.list({"subscription": made.id}).data[0]
    # 12,345,000 micro-USD are 1,234.5 cents: half a cent goes up, once.
    assert (last.total, last.status, last.lines.data[0].quantity) == (1235, "paid", 12_345_000)


def test_usage_from_the_future_and_the_far_past_is_refused(fake_stripe: Fake, v1: Any, meter: Any) -> None:
    payload = {"stripe_customer_id": "cus_1", "value": "1"}
    for at in (fake_stripe.clock.now() + 301, fake_stripe.clock.now() - 36 * DAY_S):
        with pytest.raises(stripe.InvalidRequestError, match="within the past 35"):
            v1.billing.meter_events.create({"event_name": "usage", "payload": payload, "timestamp": at})


def test_controls_over_http(fake_stripe: Fake, v1: Any) -> None:
    started, visitor = fake_stripe.clock.now(), Visitor(fake_stripe)
    moved = visitor.visit(f"{fake_stripe.url}/_fake/advance", {"days": "2"})
    assert json.loads(moved.body) == {"now": started + 2 * DAY_S}
    assert visitor.visit(f"{fake_stripe.url}/_fake/nothing").status == 404


def test_a_running_clock_moves_by_itself() -> None:
    fake = assemble(is_running=True)
    begun = fake.clock.now()
    fake.advance(days=1)
    assert fake.clock.now() >= begun + DAY_S
