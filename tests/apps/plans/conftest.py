"""Plans at three prices, and time to subscribe to them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from apps.plans.models import Plan
from tests.cast import Cast
from tests.factories import make_plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What can be subscribed to; `free` is the default plan of the cast."""

    free: Plan
    standard: Plan
    premium: Plan


@pytest.fixture
def offer(cast: Cast) -> Offer:
    """Standard at $47 with a trial of a week, Premium at $199."""
    for code, price, trial in (("standard", 47, 7), ("premium", 199, 0)):
        make_plan(code, is_default=False)
        Plan.objects.filter(code=code).update(price_micro=price * 1_000_000, trial_days=trial, is_public=True)
    return Offer(
        free=cast.plan, standard=Plan.objects.get(code="standard"), premium=Plan.objects.get(code="premium")
    )
