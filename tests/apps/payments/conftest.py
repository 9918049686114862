"""Payments against the fake Stripe, whose clock and ours stand at the same moment."""

from __future__ import annotations

from typing import Any

import pytest

from apps.payments import stripe_api
from apps.plans.models import Plan
from tests.apps.payments.stage import Stage
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.fake_stripe.fake import Fake


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clients do not wait and try again by themselves."""
    monkeypatch.setattr(stripe_api, "RETRIES", 0)
    stripe_api._client.cache_clear()


@pytest.fixture
def configured(settings: Any, impatient: None) -> None:
    """A test key and a webhook secret, and nobody behind them (Any: pytest-django's type)."""
    settings.STRIPE_SECRET_KEY = "sk_test_fake"
    settings.STRIPE_WEBHOOK_SECRET = "whsec_fake"
    settings.STRIPE_API_BASE = "http://127.0.0.1:9"


@pytest.fixture
def stage(fake_stripe: Fake, cast: Cast, clock: FrozenClock, settings: Any, impatient: None) -> Stage:
    """The cast, and a Stripe that answers (Any: pytest-django's type)."""
    settings.STRIPE_SECRET_KEY = fake_stripe.secret_key
    settings.STRIPE_WEBHOOK_SECRET = fake_stripe.webhook_secret
    settings.STRIPE_API_BASE = fake_stripe.url
    fake_stripe.webhooks.signs_at = fake_stripe.clock.now
    return Stage(fake=fake_stripe, cast=cast, clock=clock)


@pytest.fixture
def standard(stage: Stage) -> Plan:
    return stage.sell("standard", 47)


@pytest.fixture
def premium(stage: Stage) -> Plan:
    return stage.sell("premium", 199)
