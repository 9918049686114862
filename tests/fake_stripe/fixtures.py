"""The fixture that `tests/conftest.py` gives to every test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.fake_stripe.fake import Fake
from tests.fake_stripe.server import fake_stripe as running_fake


@pytest.fixture
def fake_stripe() -> Iterator[Fake]:
    """A fake Stripe of the test's own, at noon UTC of 2 March 2026."""
    with running_fake() as fake:
        yield fake
