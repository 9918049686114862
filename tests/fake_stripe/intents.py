"""Payment intents: one wish to be paid, over as many attempts as it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fake_stripe import cards
from tests.fake_stripe.charges import make_charge
from tests.fake_stripe.disputes import open_dispute
from tests.fake_stripe.errors import Refusal, declined, invalid
from tests.fake_stripe.events import changing, emit
from tests.fake_stripe.store import Obj

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake

OPEN_STATES = {"requires_payment_method", "requires_confirmation", "requires_action"}
SMALLEST_CHARGE = 50


def make_intent(
    fake: Fake,
    *,
    amount: int,
    customer: str | None,
    metadata: dict[str, str] | None = None,
    description: str | None = None,
    setup_future_usage: str | None = None,
    receipt_email: str | None = None,
) -> Obj:
    object_id = fake.store.new_id("pi")
    intent = {
        "id": object_id,
        "object": "payment_intent",
        "amount": amount,
        "amount_capturable": 0,
        "amount_received": 0,
        "application": None,
        "automatic_payment_methods": {"allow_redirects": "always", "enabled": True},
        "canceled_at": None,
        "cancellation_reason": None,
        "capture_method": "automatic_async",
        "client_secret": f"{object_id}_secret_fake",
        "confirmation_method": "automatic",
        "created": fake.clock.now(),
        "currency": "usd",
        "customer": customer,
        "description": description,
        "last_payment_error": None,
        "latest_charge": None,
        "livemode": False,
        "metadata": metadata or {},
        "next_action": None,
        "payment_method": None,
        "payment_method_types": ["card"],
        "processing": None,
        "receipt_email": receipt_email,
        "setup_future_usage": setup_future_usage,
        "shipping": None,
        "statement_descriptor": None,
        "status": "requires_payment_method",
        "transfer_group": None,
    }
    fake.store.add(intent)
    emit(fake, "payment_intent.created", intent)
    return intent


def confirm(
    fake: Fake, intent: Obj, card: Obj, *, off_session: bool = False, return_url: str | None = None
) -> Obj:
    """Try to take the money. Raises Stripe's 402 after a failed attempt is written down.

    On session, a card that wants it sends its owner to the challenge page (`next_action`).
    """
    if intent["status"] not in OPEN_STATES:
        raise invalid(
            f"This PaymentIntent's status is {intent['status']}: it cannot be confirmed.",
            code="payment_intent_unexpected_state",
        )
    if cards.needs_challenge(fake, card):
        if off_session:
            return _fail(
                fake,
                intent,
                card,
                declined(
                    "Your card was declined. This transaction requires authentication.",
                    code="authentication_required",
                    decline_code="authentication_required",
                ),
            )
        return _ask_owner(fake, intent, card, return_url)
    return charge(fake, intent, card)


def _ask_owner(fake: Fake, intent: Obj, card: Obj, return_url: str | None) -> Obj:
    url = f"{fake.url}/challenge/{intent['id']}"
    intent.update(
        status="requires_action",
        payment_method=card["id"],
        next_action={
            "redirect_to_url": {"return_url": return_url, "url": url},
            "type": "redirect_to_url",
        },
    )
    emit(fake, "payment_intent.requires_action", intent)
    for told in fake.when_intent_changes:
        told(fake, intent)
    return intent


def charge(fake: Fake, intent: Obj, card: Obj) -> Obj:
    """Ask the bank, whoever has been asked before. Raises Stripe's 402 for a no."""
    rule = cards.behaviour(fake, card)
    made = make_charge(fake, intent, card, rule)
    intent["latest_charge"] = made["id"]
    if rule.code:
        return _fail(fake, intent, card, cards.refusal_of(rule), charge_id=made["id"])
    intent.update(
        status="succeeded",
        amount_received=intent["amount"],
        payment_method=card["id"],
        next_action=None,
        last_payment_error=None,
    )
    emit(fake, "payment_intent.succeeded", intent)
    for told in fake.when_intent_changes:
        told(fake, intent)
    if rule.is_disputed:
        open_dispute(fake, made, reason="fraudulent")
    return intent


def _fail(fake: Fake, intent: Obj, card: Obj, refusal: Refusal, *, charge_id: str | None = None) -> Obj:
    error = refusal.fields | {"payment_method": dict(card)}
    if charge_id:
        error["charge"] = charge_id
    intent.update(
        status="requires_payment_method", payment_method=None, next_action=None, last_payment_error=error
    )
    emit(fake, "payment_intent.payment_failed", intent)
    for told in fake.when_intent_changes:
        told(fake, intent)
    refusal.fields = error | {"payment_intent": dict(intent)}
    raise refusal


def answer_challenge(fake: Fake, intent_id: str, *, is_approved: bool) -> Obj:
    """What the card's owner did on the challenge page. A bank's no is no error here: the page goes on."""
    intent = fake.store.get("payment_intent", intent_id)
    card = fake.store.get("payment_method", intent["payment_method"])
    try:
        if is_approved:
            fake.store.notes[card["id"]]["is_set_up"] = True
            return charge(fake, intent, card)
        return _fail(
            fake,
            intent,
            card,
            Refusal(
                402,
                "We are unable to authenticate your payment method. Please choose a different"
                " payment method.",
                kind="invalid_request_error",
                code="payment_intent_authentication_failure",
            ),
        )
    except Refusal:
        return intent


def cancel_intent(fake: Fake, intent: Obj, reason: str | None) -> Obj:
    if intent["status"] not in OPEN_STATES:
        raise invalid(
            f"You cannot cancel this PaymentIntent because it has a status of {intent['status']}.",
            code="payment_intent_unexpected_state",
        )
    intent.update(
        status="canceled", canceled_at=fake.clock.now(), cancellation_reason=reason, next_action=None
    )
    emit(fake, "payment_intent.canceled", intent)
    return intent


def attach_after_payment(fake: Fake, intent: Obj) -> None:
    """A card that may be used again belongs to the customer once it has paid."""
    card, owner = fake.store.find(intent["payment_method"]), intent["customer"]
    if card and owner and intent["setup_future_usage"] and card["customer"] is None:
        with changing(fake, card, "payment_method.attached"):
            card["customer"] = owner
