"""What the API offers for payment intents; how they work is in `intents`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fake_stripe import cards, intents
from tests.fake_stripe.customers import live_customer
from tests.fake_stripe.errors import invalid
from tests.fake_stripe.params import Params, merge_metadata
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj, page

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake


def create(fake: Fake, params: Params) -> Obj:
    amount = params.whole("amount")
    if amount is None or amount < intents.SMALLEST_CHARGE:
        raise invalid("Amount must be at least $0.50 usd", param="amount", code="amount_too_small")
    if params.need("currency").lower() != "usd":
        raise invalid("This fake's account has US dollars alone.", param="currency")
    customer = live_customer(fake, given)["id"] if (given := params.text("customer")) else None
    if params.flag("off_session") and not params.flag("confirm"):
        raise invalid("You can only set `off_session` with `confirm=true`.", param="off_session")
    card_id = params.text("payment_method")
    card = _usable_card(fake, card_id, customer) if card_id else None
    intent = intents.make_intent(
        fake,
        amount=amount,
        customer=customer,
        metadata=merge_metadata({}, params),
        description=params.text("description"),
        setup_future_usage=params.text("setup_future_usage"),
        receipt_email=params.text("receipt_email"),
    )
    if card is not None:
        intent.update(payment_method=card["id"], status="requires_confirmation")
    if not params.flag("confirm"):
        return intent
    if card is None:
        raise invalid("You cannot confirm this PaymentIntent because it's missing a payment method.")
    return intents.confirm(
        fake, intent, card, off_session=params.flag("off_session"), return_url=params.text("return_url")
    )


def _usable_card(fake: Fake, card_id: str, customer: str | None) -> Obj:
    card = cards.resolve(fake, card_id)
    if card["customer"] not in {None, customer}:
        raise invalid(
            "The provided PaymentMethod cannot be used with another customer than its own.",
            param="payment_method",
        )
    return card


def confirm_request(fake: Fake, params: Params, intent_id: str) -> Obj:
    intent = fake.store.get("payment_intent", intent_id)
    card_id = params.text("payment_method") or intent["payment_method"]
    if card_id is None:
        raise invalid("You cannot confirm this PaymentIntent because it's missing a payment method.")
    card = _usable_card(fake, card_id, intent["customer"])
    return intents.confirm(
        fake, intent, card, off_session=params.flag("off_session"), return_url=params.text("return_url")
    )


def cancel(fake: Fake, params: Params, intent_id: str) -> Obj:
    return intents.cancel_intent(
        fake, fake.store.get("payment_intent", intent_id), params.text("cancellation_reason")
    )


def update(fake: Fake, params: Params, intent_id: str) -> Obj:
    intent = fake.store.get("payment_intent", intent_id)
    if "description" in params:
        intent["description"] = params.text("description")
    intent["metadata"] = merge_metadata(intent["metadata"], params)
    return intent


def retrieve(fake: Fake, params: Params, intent_id: str) -> Obj:
    return fake.store.get("payment_intent", intent_id)


def list_intents(fake: Fake, params: Params) -> Obj:
    customer = params.text("customer")
    return page(
        fake.store.every("payment_intent"),
        params,
        url="/v1/payment_intents",
        keep=lambda row: customer is None or row["customer"] == customer,
    )


ROUTES = [
    Route(
        "POST",
        "/v1/payment_intents",
        create,
        "PaymentIntentCreateParams",
        "amount currency customer payment_method allowed_payment_method_types confirm off_session"
        " setup_future_usage"
        " description receipt_email return_url metadata.* automatic_payment_methods.enabled"
        " automatic_payment_methods.allow_redirects",
    ),
    Route(
        "GET",
        "/v1/payment_intents",
        list_intents,
        "PaymentIntentListParams",
        "customer created.* limit starting_after ending_before",
    ),
    Route("GET", "/v1/payment_intents/{id}", retrieve, "PaymentIntentRetrieveParams"),
    Route(
        "POST",
        "/v1/payment_intents/{id}",
        update,
        "PaymentIntentModifyParams",
        "description metadata metadata.*",
    ),
    Route(
        "POST",
        "/v1/payment_intents/{id}/confirm",
        confirm_request,
        "PaymentIntentConfirmParams",
        "payment_method off_session return_url",
    ),
    Route(
        "POST", "/v1/payment_intents/{id}/cancel", cancel, "PaymentIntentCancelParams", "cancellation_reason"
    ),
]
