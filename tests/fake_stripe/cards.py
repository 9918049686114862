"""Cards (payment methods), the test numbers and what each of them does."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from tests.fake_stripe.customers import live_customer
from tests.fake_stripe.errors import Refusal, declined, invalid
from tests.fake_stripe.events import changing, emit
from tests.fake_stripe.params import Params, merge_metadata
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj, page

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake

GOOD_CARD = "4242424242424242"
DECLINED_CARD = "4000000000000002"
NO_FUNDS_CARD = "4000000000009995"
THREE_DS_CARD = "4000002500003155"
ALWAYS_3DS_CARD = "4000002760003184"
FAILS_LATER_CARD = "4000000000000341"
DISPUTED_CARD = "4000000000000259"


@dataclass(frozen=True, slots=True)
class Behaviour:
    code: str = ""
    """Error code of a charge; empty: it goes through."""
    decline_code: str | None = None
    attaches: bool = True
    challenge: Literal["never", "until_set_up", "always"] = "never"
    is_disputed: bool = False


BEHAVIOURS = {
    GOOD_CARD: Behaviour(),
    "5555555555554444": Behaviour(),
    DECLINED_CARD: Behaviour("card_declined", "generic_decline", attaches=False),
    NO_FUNDS_CARD: Behaviour("card_declined", "insufficient_funds", attaches=False),
    "4000000000009987": Behaviour("card_declined", "lost_card", attaches=False),
    "4000000000009979": Behaviour("card_declined", "stolen_card", attaches=False),
    "4000000000000069": Behaviour("expired_card", "expired_card", attaches=False),
    "4000000000000127": Behaviour("incorrect_cvc", "incorrect_cvc", attaches=False),
    "4000000000000119": Behaviour("processing_error", "processing_error", attaches=False),
    FAILS_LATER_CARD: Behaviour("card_declined", "generic_decline"),
    THREE_DS_CARD: Behaviour(challenge="until_set_up"),
    ALWAYS_3DS_CARD: Behaviour(challenge="always"),
    "4000008260003178": Behaviour("card_declined", "insufficient_funds", challenge="always"),
    DISPUTED_CARD: Behaviour(is_disputed=True),
}
TOKENS = {
    "pm_card_visa": GOOD_CARD,
    "pm_card_mastercard": "5555555555554444",
    "pm_card_visa_chargeDeclined": DECLINED_CARD,
    "pm_card_visa_chargeDeclinedInsufficientFunds": NO_FUNDS_CARD,
    "pm_card_chargeCustomerFail": FAILS_LATER_CARD,
    "pm_card_authenticationRequiredOnSetup": THREE_DS_CARD,
    "pm_card_authenticationRequired": ALWAYS_3DS_CARD,
    "pm_card_createDispute": DISPUTED_CARD,
}
MESSAGES = {
    "card_declined": "Your card was declined.",
    "expired_card": "Your card has expired.",
    "incorrect_cvc": "Your card's security code is incorrect.",
    "processing_error": "An error occurred while processing your card. Try again in a little bit.",
}


def new_card(
    fake: Fake, number: str, *, exp_month: int = 12, exp_year: int = 2034, name: str | None = None
) -> Obj:
    """A payment method for a test number, attached to nobody. Raises Stripe's 402 for other numbers."""
    number = number.replace(" ", "")
    if number not in BEHAVIOURS:
        raise declined("Your card number is incorrect.", code="incorrect_number", param="number")
    fingerprint = hashlib.sha256(number.encode()).hexdigest()[:16]
    card = {
        "id": fake.store.new_id("pm"),
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": {
            "address": dict.fromkeys(("city", "country", "line1", "line2", "postal_code", "state")),
            "email": None,
            "name": name,
            "phone": None,
            "tax_id": None,
        },
        "card": {
            "brand": "mastercard" if number.startswith("5") else "visa",
            "checks": {"address_line1_check": None, "address_postal_code_check": None, "cvc_check": "pass"},
            "country": "US",
            "display_brand": "mastercard" if number.startswith("5") else "visa",
            "exp_month": exp_month,
            "exp_year": exp_year,
            "fingerprint": fingerprint,
            "funding": "credit",
            "generated_from": None,
            "last4": number[-4:],
            "networks": {"available": ["visa"], "preferred": None},
            "regulated_status": "unregulated",
            "three_d_secure_usage": {"supported": True},
            "wallet": None,
        },
        "created": fake.clock.now(),
        "customer": None,
        "livemode": False,
        "metadata": {},
        "type": "card",
    }
    fake.store.notes[card["id"]].update(number=number, is_set_up=False)
    return fake.store.add(card)


def behaviour(fake: Fake, card: Obj) -> Behaviour:
    """What a charge of the card meets now: a card whose month is over is expired whatever its number."""
    now = datetime.fromtimestamp(fake.clock.now(), UTC)
    if (card["card"]["exp_year"], card["card"]["exp_month"]) < (now.year, now.month):
        return Behaviour("expired_card", "expired_card")
    return BEHAVIOURS[fake.store.notes[card["id"]]["number"]]


def needs_challenge(fake: Fake, card: Obj) -> bool:
    rule = behaviour(fake, card).challenge
    return rule == "always" or (rule == "until_set_up" and not fake.store.notes[card["id"]]["is_set_up"])


def refusal_of(rule: Behaviour) -> Refusal:
    return declined(MESSAGES[rule.code], code=rule.code, decline_code=rule.decline_code)


def resolve(fake: Fake, card_id: str) -> Obj:
    """The payment method, or a new one for a test token such as `pm_card_visa`."""
    if card_id in TOKENS:
        return new_card(fake, TOKENS[card_id])
    return fake.store.get("payment_method", card_id, param="payment_method")


def attach_to(fake: Fake, card: Obj, customer: Obj) -> Obj:
    """Raises Stripe's 402 for a card that its bank does not verify, and 400 for somebody else's."""
    if card["customer"] not in {None, customer["id"]}:
        raise invalid("The payment method you provided has already been attached to a customer.")
    rule = behaviour(fake, card)
    if not rule.attaches:
        raise refusal_of(rule)
    if card["customer"] is None:
        card["customer"] = customer["id"]
        emit(fake, "payment_method.attached", card)
    return card


def create(fake: Fake, params: Params) -> Obj:
    node = params.node("card")
    if params.need("type") != "card":
        raise invalid("This fake has cards alone.", param="type")
    if token := node.text("token"):
        number = {"tok_visa": GOOD_CARD, "tok_chargeDeclined": DECLINED_CARD}.get(token, "")
    else:
        number = node.need("number")
    card = new_card(
        fake,
        number,
        exp_month=node.whole("exp_month", 12) or 12,
        exp_year=node.whole("exp_year", 2034) or 2034,
    )
    card["metadata"] = merge_metadata({}, params)
    return card


def retrieve(fake: Fake, params: Params, card_id: str) -> Obj:
    return fake.store.get("payment_method", card_id)


def attach(fake: Fake, params: Params, card_id: str) -> Obj:
    return attach_to(fake, resolve(fake, card_id), live_customer(fake, params.need("customer")))


def detach(fake: Fake, params: Params, card_id: str) -> Obj:
    card = fake.store.get("payment_method", card_id)
    if card["customer"] is None:
        raise invalid(
            "The payment method you provided is not attached to a customer so detachment is impossible."
        )
    owner = fake.store.get("customer", card["customer"])
    card["customer"] = None
    emit(fake, "payment_method.detached", card, before=card | {"customer": owner["id"]})
    if owner.get("invoice_settings", {}).get("default_payment_method") == card_id:
        with changing(fake, owner, "customer.updated"):
            owner["invoice_settings"] = owner["invoice_settings"] | {"default_payment_method": None}
    return card


def update(fake: Fake, params: Params, card_id: str) -> Obj:
    card = fake.store.get("payment_method", card_id)
    with changing(fake, card, "payment_method.updated"):
        node = params.node("card")
        for name in ("exp_month", "exp_year"):
            if name in node:
                card["card"] = card["card"] | {name: node.whole(name)}
        card["metadata"] = merge_metadata(card["metadata"], params)
    return card


def list_of_customer(fake: Fake, params: Params, customer_id: str) -> Obj:
    live_customer(fake, customer_id)
    return page(
        fake.store.every("payment_method"),
        params,
        url=f"/v1/customers/{customer_id}/payment_methods",
        keep=lambda row: row["customer"] == customer_id,
    )


def list_cards(fake: Fake, params: Params) -> Obj:
    owner = params.text("customer")
    return page(
        fake.store.every("payment_method"),
        params,
        url="/v1/payment_methods",
        keep=lambda row: row["customer"] == owner,
    )


PAGE = "limit starting_after ending_before"
ROUTES = [
    Route(
        "POST",
        "/v1/payment_methods",
        create,
        "PaymentMethodCreateParams",
        "type card.number card.exp_month card.exp_year card.cvc card.token metadata.*",
    ),
    Route("GET", "/v1/payment_methods", list_cards, "PaymentMethodListParams", f"customer type {PAGE}"),
    Route("GET", "/v1/payment_methods/{id}", retrieve, "PaymentMethodRetrieveParams"),
    Route(
        "POST",
        "/v1/payment_methods/{id}",
        update,
        "PaymentMethodModifyParams",
        "card.exp_month card.exp_year metadata metadata.*",
    ),
    Route("POST", "/v1/payment_methods/{id}/attach", attach, "PaymentMethodAttachParams", "customer"),
    Route("POST", "/v1/payment_methods/{id}/detach", detach, "PaymentMethodDetachParams"),
    Route(
        "GET",
        "/v1/customers/{id}/payment_methods",
        list_of_customer,
        "CustomerListPaymentMethodsParams",
        f"type {PAGE}",
    ),
]
