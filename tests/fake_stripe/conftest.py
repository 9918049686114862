"""A client, a visitor and two prices, at a fake Stripe of each test's own."""

from __future__ import annotations

from typing import Any

import pytest

from tests.fake_stripe.client import client_of
from tests.fake_stripe.fake import Fake
from tests.fake_stripe.subscribing import Prices
from tests.fake_stripe.visitor import Visitor


@pytest.fixture
def v1(fake_stripe: Fake) -> Any:
    return client_of(fake_stripe).v1


@pytest.fixture
def visitor(fake_stripe: Fake) -> Visitor:
    return Visitor(fake_stripe)


@pytest.fixture
def prices(v1: Any) -> Prices:
    """Of a plan for $47 a month and one for $199."""
    made = {}
    for name, cents in (("standard", 4700), ("premium", 19900)):
        product = v1.products.create({"name": name})
        made[name] = v1.prices.create(
            {
                "product": product.id,
                "currency": "usd",
                "unit_amount": cents,
                "recurring": {"interval": "month"},
            }
        ).id
    return made
