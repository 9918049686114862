"""Each lifecycle ends the same whatever the order of Stripe's messages, and however often they come.

The normal suite plays one disorder of each story; DARKROOM_DRILL_COUNT=100 plays a hundred. Every play is
played out: nothing is replayed from a recording, since what Ada and the bank do next depends on what arrived.
The plays share one server, and within a test one transaction that is taken back to where it began.

To repeat what failed with seed 17: DARKROOM_DRILL_COUNT=18, which is the seeds 0 to 17, and `-k` the story.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client

from apps.payments import stripe_api
from tests.apps.payments.stories.plots import PLOTS, Plot
from tests.apps.payments.stories.troupe import State, Troupe, final_state
from tests.cast import Cast
from tests.clocks import FrozenClock
from tests.drills.counting import drill_count
from tests.fake_stripe.fake import Fake
from tests.fake_stripe.server import fake_stripes

SHUFFLES = 1
Perform = Callable[[Plot, int | None], State]

# A hundred plays of the longest story, on a machine that has other things to do.
pytestmark = pytest.mark.timeout(300 + 30 * drill_count(SHUFFLES))


@pytest.fixture(scope="module")
def new_fake() -> Iterator[Callable[[], Fake]]:
    """A Stripe for each play at one address, so that our client keeps its connection."""
    with fake_stripes() as take_over:
        yield take_over


@pytest.fixture(scope="module")
def browser() -> Client:
    """Builds the middleware once for all plays; Stripe's messages leave nothing in it."""
    return Client()


@pytest.fixture
def perform(
    new_fake: Callable[[], Fake],
    browser: Client,
    cast: Cast,
    clock: FrozenClock,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> Perform:
    """Plays a plot with a Stripe of its own, takes down how it ended, and undoes it."""
    monkeypatch.setattr(stripe_api, "RETRIES", 0)
    # Without it the client looks through the whole environment for proxies, at every request.
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    stripe_api._client.cache_clear()
    began = clock.now()

    def perform(plot: Plot, seed: int | None) -> State:
        clock.move_to(began)
        fake = new_fake()
        settings.STRIPE_SECRET_KEY = fake.secret_key
        settings.STRIPE_WEBHOOK_SECRET = fake.webhook_secret
        settings.STRIPE_API_BASE = fake.url
        fake.webhooks.signs_at = fake.clock.now
        troupe = Troupe(fake=fake, cast=cast, clock=clock, client=browser, seed=seed)
        # A savepoint, no atomic block: what services promise to commit must be theirs alone to commit.
        start = transaction.savepoint()
        try:
            expected = plot(troupe)
            troupe.settle()
            state = final_state(troupe)
            # The triggers that watch over the ledger would wait for a commit that never comes.
            connection.check_constraints()
            require_outcome(state, expected)
        except Exception as error:
            error.add_note(f"{plot.__name__} with {in_words(seed)}")
            raise
        transaction.savepoint_rollback(start)
        return state

    return perform


def in_words(seed: int | None) -> str:
    return "the messages in order" if seed is None else f"the messages shuffled by seed {seed}"


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
    for seed in range(drill_count(SHUFFLES)):
        assert perform(plot, seed) == in_order, in_words(seed)


def test_a_lost_message_is_noticed(perform: Perform, monkeypatch: pytest.MonkeyPatch) -> None:
    """The control: where messages that came late are dropped, the comparison says so."""
    plot = PLOTS[0]
    in_order = perform(plot, None)
    monkeypatch.setattr(Troupe, "settle", lambda troupe: None)
    monkeypatch.setattr("tests.apps.payments.stories.troupe.LATE", 1.0)
    monkeypatch.setattr("tests.apps.payments.stories.test_stories.require_outcome", lambda *given: None)
    assert perform(plot, 1) != in_order
