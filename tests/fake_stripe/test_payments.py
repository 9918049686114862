"""Cards, payments, refunds, disputes and checkout, as the real client sees them."""

from __future__ import annotations

from typing import Any

import pytest
import stripe

from tests.fake_stripe.cards import (
    ALWAYS_3DS_CARD,
    DECLINED_CARD,
    FAILS_LATER_CARD,
    GOOD_CARD,
    NO_FUNDS_CARD,
    THREE_DS_CARD,
)
from tests.fake_stripe.client import client_of
from tests.fake_stripe.fake import Fake
from tests.fake_stripe.visitor import PageRefused, Visitor

SUCCESS = "http://testserver/ok?session={CHECKOUT_SESSION_ID}"


@pytest.fixture
def v1(fake_stripe: Fake) -> Any:
    return client_of(fake_stripe).v1


@pytest.fixture
def visitor(fake_stripe: Fake) -> Visitor:
    return Visitor(fake_stripe)


def top_up(v1: Any, customer: str, cents: int = 1000, **extra: Any) -> Any:
    item = {"currency": "usd", "unit_amount": cents, "product_data": {"name": "Wallet"}}
    return v1.checkout.sessions.create(
        {
            "mode": "payment",
            "customer": customer,
            "success_url": SUCCESS,
            "cancel_url": "http://testserver/back",
            "line_items": [{"price_data": item, "quantity": 1}],
            "payment_intent_data": {"metadata": {"purpose": "top-up"}},
            **extra,
        }
    )


def setup(v1: Any, customer: str) -> Any:
    return v1.checkout.sessions.create(
        {"mode": "setup", "customer": customer, "success_url": SUCCESS, "currency": "usd"}
    )


def kinds(fake: Fake) -> list[str]:
    return [webhook.type for webhook in fake.take_webhooks()]


def test_a_payment_at_checkout(fake_stripe: Fake, v1: Any, visitor: Visitor) -> None:
    session = top_up(v1, v1.customers.create({}).id)
    assert (session.status, session.payment_intent, session.amount_total) == ("open", None, 1000)
    fake_stripe.take_webhooks()
    assert visitor.pay(session.url) == f"http://testserver/ok?session={session.id}"
    assert kinds(fake_stripe) == [
        "payment_intent.created",
        "charge.succeeded",
        "payment_intent.succeeded",
        "checkout.session.completed",
    ]
    done = v1.checkout.sessions.retrieve(
        session.id, {"expand": ["payment_intent.latest_charge", "line_items"]}
    )
    assert (done.status, done.payment_status, done.url) == ("complete", "paid", None)
    assert done.payment_intent.metadata["purpose"] == "top-up"
    assert done.payment_intent.latest_charge.amount == 1000
    assert done.line_items.data[0].description == "Wallet"


@pytest.mark.parametrize(
    ("card", "words"),
    [(DECLINED_CARD, "was declined"), (NO_FUNDS_CARD, "was declined"), ("4111", "number is incorrect")],
)
def test_a_refused_card_leaves_the_session_open(v1: Any, visitor: Visitor, card: str, words: str) -> None:
    session = top_up(v1, v1.customers.create({}).id)
    with pytest.raises(PageRefused, match=words):
        visitor.pay(session.url, card=card)
    assert v1.checkout.sessions.retrieve(session.id).status == "open"
    visitor.pay(session.url, card=GOOD_CARD)
    paid = [row for row in v1.payment_intents.list().data if row.status == "succeeded"]
    assert [row.amount for row in paid] == [1000]


@pytest.mark.parametrize("approves", [True, False])
def test_a_challenge_decides(v1: Any, visitor: Visitor, approves: bool) -> None:
    session = top_up(v1, v1.customers.create({}).id)
    target = visitor.pay(session.url, card=THREE_DS_CARD, approves=approves)
    seen = v1.checkout.sessions.retrieve(session.id)
    assert seen.status == ("complete" if approves else "open")
    assert target == (SUCCESS.replace("{CHECKOUT_SESSION_ID}", session.id) if approves else session.url)


def test_an_abandoned_visit_expires_after_a_day(fake_stripe: Fake, v1: Any, visitor: Visitor) -> None:
    session = top_up(v1, v1.customers.create({}).id)
    assert "/challenge/" in visitor.begin_payment(session.url, card=THREE_DS_CARD)
    assert visitor.go_back(session.url) == "http://testserver/back"
    fake_stripe.take_webhooks()
    fake_stripe.advance(days=1)
    assert kinds(fake_stripe) == ["checkout.session.expired"]
    assert visitor.visit(f"{fake_stripe.url}/c/pay/{session.id}").status == 410


def test_an_expired_session_cannot_be_paid(v1: Any, visitor: Visitor) -> None:
    session = top_up(v1, v1.customers.create({}).id)
    v1.checkout.sessions.expire(session.id)
    with pytest.raises(PageRefused, match="is over"):
        visitor.pay(session.url)
    with pytest.raises(stripe.InvalidRequestError, match="status of expired"):
        v1.checkout.sessions.expire(session.id)


def test_a_card_on_file_is_charged_without_its_owner(v1: Any, visitor: Visitor) -> None:
    customer = v1.customers.create({})
    visitor.pay(setup(v1, customer.id).url, card=THREE_DS_CARD)
    card = v1.customers.payment_methods.list(customer.id).data[0]
    assert card.card.last4 == "3155"
    paid = v1.payment_intents.create(off_session(customer.id, card.id))
    assert (paid.status, paid.amount_received) == ("succeeded", 500)


def off_session(customer: str, card: str) -> dict[str, Any]:
    return {
        "amount": 500,
        "currency": "usd",
        "customer": customer,
        "payment_method": card,
        "off_session": True,
        "confirm": True,
    }


@pytest.mark.parametrize(
    ("card", "code"),
    [(FAILS_LATER_CARD, "card_declined"), (ALWAYS_3DS_CARD, "authentication_required")],
)
def test_a_card_that_fails_later(fake_stripe: Fake, v1: Any, visitor: Visitor, card: str, code: str) -> None:
    customer = v1.customers.create({})
    visitor.pay(setup(v1, customer.id).url, card=card)
    card_id = v1.customers.payment_methods.list(customer.id).data[0].id
    with pytest.raises(stripe.CardError) as refused:
        v1.payment_intents.create(off_session(customer.id, card_id))
    assert refused.value.code == code
    failed = v1.payment_intents.list().data[0]
    assert (failed.status, failed.last_payment_error.code) == ("requires_payment_method", code)
    assert "payment_intent.payment_failed" in kinds(fake_stripe)


def test_a_card_past_its_month_is_expired(fake_stripe: Fake, v1: Any, visitor: Visitor) -> None:
    customer = v1.customers.create({})
    visitor.pay(setup(v1, customer.id).url, exp_month="3", exp_year="2026")
    card_id = v1.customers.payment_methods.list(customer.id).data[0].id
    assert v1.payment_intents.create(off_session(customer.id, card_id)).status == "succeeded"
    fake_stripe.advance(days=31)
    with pytest.raises(stripe.CardError) as refused:
        v1.payment_intents.create(off_session(customer.id, card_id))
    assert refused.value.code == "expired_card"


def paid_intent(v1: Any, amount: int = 1000) -> Any:
    return v1.payment_intents.create(
        {"amount": amount, "currency": "usd", "payment_method": "pm_card_visa", "confirm": True}
    )


def test_refunds_never_exceed_what_was_paid(v1: Any) -> None:
    intent = paid_intent(v1)
    v1.refunds.create({"payment_intent": intent.id, "amount": 700})
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount"):
        v1.refunds.create({"payment_intent": intent.id, "amount": 301})
    v1.refunds.create({"payment_intent": intent.id})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        v1.refunds.create({"payment_intent": intent.id})
    assert refused.value.code == "charge_already_refunded"
    charge = v1.charges.retrieve(
        v1.payment_intents.retrieve(intent.id).latest_charge, {"expand": ["refunds"]}
    )
    assert (charge.amount_refunded, charge.refunded) == (1000, True)
    assert [row.amount for row in charge.refunds.data] == [300, 700]


@pytest.mark.parametrize(("won", "balance"), [(True, 1000 - 59), (False, -1500 - 59)])
def test_a_dispute(fake_stripe: Fake, v1: Any, won: bool, balance: int) -> None:
    intent = paid_intent(v1)
    fake_stripe.take_webhooks()
    dispute = fake_stripe.dispute(intent.id)
    with pytest.raises(stripe.InvalidRequestError, match="charged back"):
        v1.refunds.create({"payment_intent": intent.id})
    fake_stripe.close_dispute(dispute["id"], won=won)
    assert kinds(fake_stripe) == [
        "charge.updated",
        "charge.dispute.created",
        "charge.dispute.funds_withdrawn",
        *(["charge.dispute.funds_reinstated"] if won else []),
        "charge.dispute.closed",
    ]
    assert v1.disputes.retrieve(dispute["id"]).status == ("won" if won else "lost")
    assert v1.balance.retrieve().available[0].amount == balance


def test_tax_at_checkout_needs_an_address(v1: Any, visitor: Visitor) -> None:
    customer = v1.customers.create({})
    with pytest.raises(stripe.InvalidRequestError, match="customer_update"):
        top_up(v1, customer.id, automatic_tax={"enabled": True})
    session = top_up(v1, customer.id, automatic_tax={"enabled": True}, customer_update={"address": "auto"})
    assert (session.amount_subtotal, session.amount_total) == (1000, 1190)
    visitor.pay(session.url)
    assert v1.customers.retrieve(customer.id).address.country == "DE"


def test_a_promotion_code_is_redeemed_once(v1: Any, visitor: Visitor) -> None:
    coupon = v1.coupons.create({"amount_off": 400, "currency": "usd"})
    v1.promotion_codes.create(
        {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "MINUS4", "max_redemptions": 1}
    )
    customer = v1.customers.create({})
    first = top_up(v1, customer.id, allow_promotion_codes=True)
    visitor.pay(first.url, promotion_code="minus4")
    done = v1.checkout.sessions.retrieve(first.id)
    assert (done.amount_total, done.total_details.amount_discount) == (600, 400)
    second = top_up(v1, customer.id, allow_promotion_codes=True)
    with pytest.raises(PageRefused, match="promotion code is invalid"):
        visitor.pay(second.url, promotion_code="MINUS4")


def test_a_challenge_on_a_setup(v1: Any, visitor: Visitor) -> None:
    customer = v1.customers.create({})
    session = setup(v1, customer.id)
    visitor.pay(session.url, card=THREE_DS_CARD, approves=False)
    assert v1.customers.payment_methods.list(customer.id).data == []
    visitor.pay(session.url, card=THREE_DS_CARD)
    done = v1.checkout.sessions.retrieve(session.id, {"expand": ["setup_intent"]})
    assert (done.status, done.setup_intent.status) == ("complete", "succeeded")
