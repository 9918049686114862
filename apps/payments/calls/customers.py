"""Customers and their cards at Stripe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from apps.payments.calls.sessions import KEY
from apps.payments.seen import CardSeen, CustomerSeen, id_of, read_card, read_customer, texts
from apps.payments.stripe_api import StripeApi, once


def create_customer(api: StripeApi, *, key: UUID, name: str, email: str, account_id: int) -> CustomerSeen:
    """The customer of one account; asking twice makes one."""
    metadata = {KEY: str(key), "darkroom_account": str(account_id)}
    return read_customer(
        api.ask(
            lambda client: client.v1.customers.create(
                {"name": name, "email": email, "metadata": metadata}
                if email
                else {"name": name, "metadata": metadata},
                once(f"customer-{key}"),
            )
        )
    )


def find_customer(api: StripeApi, customer_id: str) -> CustomerSeen | None:
    """None for one that never was; one that was deleted says so."""
    data = api.find(lambda client: client.v1.customers.retrieve(customer_id))
    return None if data is None else read_customer(data)


def list_cards(api: StripeApi, customer_id: str) -> Sequence[CardSeen]:
    """Every card on file."""
    rows = api.every(
        lambda client: client.v1.customers.payment_methods.list(customer_id, {"type": "card", "limit": 100})
    )
    return [read_card(row) for row in rows]


def make_default_card(api: StripeApi, *, customer_id: str, card_id: str) -> None:
    """The card that invoices and automatic top-ups are charged to."""
    api.ask(
        lambda client: client.v1.customers.update(
            customer_id,
            {"invoice_settings": {"default_payment_method": card_id}},
            once(f"default-card-{customer_id}-{card_id}"),
        )
    )


def find_setup_card(api: StripeApi, setup_id: str) -> str:
    """The card that a SetupIntent has put on file; "" while it has not."""
    data = api.find(lambda client: client.v1.setup_intents.retrieve(setup_id))
    if data is None or data["status"] != "succeeded":
        return ""
    return id_of(data.get("payment_method"))


def find_setup_metadata(api: StripeApi, setup_id: str) -> Mapping[str, str]:
    """What a SetupIntent says of the visit that it belongs to."""
    data = api.find(lambda client: client.v1.setup_intents.retrieve(setup_id))
    return {} if data is None else texts(data.get("metadata"))


def describe_account(api: StripeApi) -> str:
    """A word about whose key it is: proves that the key, the address and the way there work."""
    balance = api.ask(lambda client: client.v1.balance.retrieve())
    mode = "live" if balance["livemode"] else "test"
    return f"{mode} mode"
