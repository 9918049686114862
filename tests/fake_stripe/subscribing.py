"""What tests of subscriptions do in a line."""

from __future__ import annotations

from typing import Any

from tests.fake_stripe.cards import GOOD_CARD
from tests.fake_stripe.clock import DAY_S
from tests.fake_stripe.visitor import Visitor

MARCH_S = 31 * DAY_S
"""2 March to 2 April."""
Prices = dict[str, str]


def buy(v1: Any, visitor: Visitor, price: str, *, card: str = GOOD_CARD, **extra: Any) -> Any:
    """A subscription bought at Checkout by a new customer."""
    customer = v1.customers.create({"email": "ada@example.com"})
    session = v1.checkout.sessions.create(
        {
            "mode": "subscription",
            "customer": customer.id,
            "success_url": "http://testserver/ok",
            "line_items": [{"price": price, "quantity": 1}],
            **extra,
        }
    )
    visitor.pay(
        session.url, card=card, **({"promotion_code": "FREE"} if "allow_promotion_codes" in extra else {})
    )
    return v1.subscriptions.retrieve(v1.checkout.sessions.retrieve(session.id).subscription)


def swap(v1: Any, subscription: Any, price: str, **how: Any) -> Any:
    item = subscription["items"]["data"][0].id
    return v1.subscriptions.update(subscription.id, {"items": [{"id": item, "price": price}], **how})


def totals(v1: Any, subscription: Any) -> list[tuple[str, int, str]]:
    """Reason, total and state of the invoices, oldest first."""
    rows = v1.invoices.list({"subscription": subscription.id, "limit": 100}).data
    return [(row.billing_reason, row.total, row.status) for row in reversed(rows)]


def portal(v1: Any, subscription: Any) -> str:
    made = v1.billing_portal.sessions.create(
        {"customer": subscription.customer, "return_url": "http://testserver/billing"}
    )
    return str(made.url)
