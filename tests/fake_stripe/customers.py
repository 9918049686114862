"""Customers: who pays, with which card by default, and what they are owed (`balance`, negative: credit)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fake_stripe.errors import invalid
from tests.fake_stripe.events import changing, emit
from tests.fake_stripe.params import Params, merge_metadata
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj, page

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake

ADDRESS = ("line1", "line2", "city", "state", "postal_code", "country")
WORDS = ("name", "email", "phone", "description")


def blank_customer(fake: Fake) -> Obj:
    object_id = fake.store.new_id("cus")
    return {
        "id": object_id,
        "object": "customer",
        "address": None,
        "balance": 0,
        "created": fake.clock.now(),
        "currency": None,
        "default_source": None,
        "delinquent": False,
        "description": None,
        "discount": None,
        "email": None,
        "invoice_prefix": object_id[-8:].upper(),
        "invoice_settings": {
            "custom_fields": None,
            "default_payment_method": None,
            "footer": None,
            "rendering_options": None,
        },
        "livemode": False,
        "metadata": {},
        "name": None,
        "next_invoice_sequence": 1,
        "phone": None,
        "preferred_locales": [],
        "shipping": None,
        "tax_exempt": "none",
        "test_clock": None,
    }


def _apply(fake: Fake, customer: Obj, params: Params) -> None:
    for name in WORDS:
        if name in params:
            customer[name] = params.text(name)
    if "address" in params:
        customer["address"] = read_address(params.node("address"))
    if "balance" in params:
        customer["balance"] = params.whole("balance") or 0
    if "preferred_locales" in params:
        customer["preferred_locales"] = params.texts("preferred_locales")
    if "tax_exempt" in params:
        customer["tax_exempt"] = params.choice("tax_exempt", {"none", "exempt", "reverse"}, "none")
    customer["metadata"] = merge_metadata(customer["metadata"], params)
    settings = params.node("invoice_settings")
    if "default_payment_method" in settings:
        customer["invoice_settings"]["default_payment_method"] = _own_card(
            fake, customer, settings.text("default_payment_method")
        )


def _own_card(fake: Fake, customer: Obj, card_id: str | None) -> str | None:
    if card_id is None:
        return None
    card = fake.store.get("payment_method", card_id, param="invoice_settings[default_payment_method]")
    if card["customer"] != customer["id"]:
        raise invalid(
            "The customer does not have a payment method with the ID "
            f"{card_id}. The payment method must be attached to the customer.",
            param="invoice_settings[default_payment_method]",
            code="resource_missing",
        )
    return card_id


def read_address(node: Params) -> dict[str, Any] | None:
    return {name: node.text(name) for name in ADDRESS} if node else None


def create(fake: Fake, params: Params) -> Obj:
    customer = blank_customer(fake)
    _apply(fake, customer, params)
    fake.store.add(customer)
    emit(fake, "customer.created", customer)
    return customer


def live_customer(fake: Fake, customer_id: str) -> Obj:
    """One that has not been deleted. Raises Stripe's 400 with `resource_missing`."""
    customer = fake.store.find(customer_id)
    if customer is None or customer["object"] != "customer" or customer.get("deleted"):
        raise invalid(f"No such customer: '{customer_id}'", param="customer", code="resource_missing")
    return customer


def retrieve(fake: Fake, params: Params, customer_id: str) -> Obj:
    return fake.store.get("customer", customer_id)


def update(fake: Fake, params: Params, customer_id: str) -> Obj:
    customer = live_customer(fake, customer_id)
    with changing(fake, customer, "customer.updated"):
        _apply(fake, customer, params)
    return customer


def list_customers(fake: Fake, params: Params) -> Obj:
    email = params.text("email")
    return page(
        fake.store.every("customer"),
        params,
        url="/v1/customers",
        keep=lambda row: not row.get("deleted") and (email is None or row["email"] == email),
    )


def delete(fake: Fake, params: Params, customer_id: str) -> Obj:
    """Their subscriptions end at once; what remains of the customer is that there was one."""
    customer = live_customer(fake, customer_id)
    for ending in fake.when_customer_goes:
        ending(fake, customer)
    emit(fake, "customer.deleted", customer)
    stub = {"id": customer_id, "object": "customer", "deleted": True}
    fake.store.add(stub)
    return stub


FIELDS = (
    "name email phone description balance tax_exempt preferred_locales address.* metadata metadata.*"
    " invoice_settings.default_payment_method"
)
ROUTES = [
    Route("POST", "/v1/customers", create, "CustomerCreateParams", FIELDS),
    Route(
        "GET",
        "/v1/customers",
        list_customers,
        "CustomerListParams",
        "email created.* limit starting_after ending_before",
    ),
    Route("GET", "/v1/customers/{id}", retrieve, "CustomerRetrieveParams"),
    Route("POST", "/v1/customers/{id}", update, "CustomerModifyParams", FIELDS),
    Route("DELETE", "/v1/customers/{id}", delete, "CustomerDeleteParams"),
]
