"""Each lifecycle ends the same whatever the order of Stripe's messages, and however often they come.

`DARKROOM_STORY_SHUFFLES` says how many disorders of each are played; the drill plays 100.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection, transaction

from apps.payments import stripe_api
from tests.apps.payments.stories.plots import PLOTS, Plot
from tests.apps.payments.stories.troupe import State, Troupe, final_state
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.fake_stripe.server import fake_stripe as running_fake

SHUFFLES = int(os.environ.get("DARKROOM_STORY_SHUFFLES", "1"))
Perform = Callable[[Plot, int | None], State]


@pytest.fixture
def perform(cast: Cast, clock: FrozenClock, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Perform:
    """Plays a plot with a Stripe of its own, takes down how it ended, and undoes it."""
    monkeypatch.setattr(stripe_api, "RETRIES", 0)
    began = clock.now()

    def perform(plot: Plot, seed: int | None) -> State:
        clock.move_to(began)
        # A savepoint, no atomic block: what services promise to commit must be theirs alone to commit.
        start = transaction.savepoint()
        with running_fake() as fake:
            settings.STRIPE_SECRET_KEY = fake.secret_key
            settings.STRIPE_WEBHOOK_SECRET = fake.webhook_secret
            settings.STRIPE_API_BASE = fake.url
            fake.webhooks.signs_at = fake.clock.now
            troupe = Troupe(fake=fake, cast=cast, clock=clock, seed=seed)
            expected = plot(troupe)
            troupe.settle()
            state = final_state(troupe)
        # The triggers that watch over the ledger would wait for a commit that never comes.
        connection.check_constraints()
        transaction.savepoint_rollback(start)
        require_outcome(state, expected)
        return state

    return perform


def require_outcome(state: State, expected: dict[str, Any]) -> None:
    """What the plot said must have come of it."""
    seen = {
        "plan": state["plan"],
        "paid": sorted(row[1] for row in state["payments"]),
        "wallet": state["balances"].wallet_micro,
        "refunded": [row[0] for row in state["refunds"]],
        "metered": state["metered"],
        "invoiced": sorted(row[5] for row in state["invoices"]),
        "states": [row[1] for row in state["subscriptions"]],
    }
    wanted = {name: sorted(value) if isinstance(value, list) else value for name, value in expected.items()}
    assert {name: seen[name] for name in wanted} == wanted


@pytest.mark.parametrize("plot", PLOTS, ids=lambda plot: plot.__name__)
def test_a_story_ends_the_same_in_any_order(perform: Perform, plot: Plot) -> None:
    in_order = perform(plot, None)
    for seed in range(SHUFFLES):
        assert perform(plot, seed) == in_order, f"with the messages shuffled by seed {seed}"


def test_a_lost_message_is_noticed(perform: Perform, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: where messages that came late are dropped, the comparison says so."""
    plot = PLOTS[0]
    in_order = perform(plot, None)
    monkeypatch.setattr(Troupe, "settle", lambda troupe: None)
    monkeypatch.setattr("tests.apps.payments.stories.troupe.LATE", 1.0)
    monkeypatch.setattr("tests.apps.payments.stories.test_stories.require_outcome", lambda *given: None)
    assert perform(plot, 1) != in_order
