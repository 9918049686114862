"""The real client, pointed at a fake."""

from __future__ import annotations

import stripe

from tests.fake_stripe.events import API_VERSION
from tests.fake_stripe.fake import Fake


def client_of(fake: Fake, *, retries: int = 0, read_s: float = 10.0) -> stripe.StripeClient:
    return stripe.StripeClient(
        fake.secret_key,
        stripe_version=API_VERSION,
        base_addresses={"api": fake.url},
        max_network_retries=retries,
        http_client=stripe.RequestsClient(timeout=read_s),
    )
