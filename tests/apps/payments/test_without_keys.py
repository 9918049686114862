"""Without keys for Stripe everything but paying works, and paying says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apps.payments import services, tasks
from apps.payments.errors import PaymentsNotConfigured
from apps.payments.models import AutoTopUp, Checkout, StripeCustomer
from tests.apps.payments.stage import URLS, usd
from tests.apps.payments.usage import use
from tests.cast import Cast
from tests.clocks import FrozenClock

Act = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    "act",
    [
        lambda who: services.start_top_up(amount_micro=usd(5), token="token-001", **URLS, **who),
        lambda who: services.start_card_setup(token="token-001", **URLS, **who),
        lambda who: services.cancel_plan(token="token-001", **who),
        lambda who: services.resume_plan(token="token-001", **who),
        lambda who: services.pause_plan(token="token-001", **who),
        lambda who: services.stop_pay_as_you_go(**who),
        lambda who: services.refund_top_up(payment_id=1, amount_micro=None, token="token-001", **who),
        lambda who: services.set_auto_top_up(
            is_on=True, threshold_micro=0, amount_micro=usd(5), monthly_cap_micro=usd(5), **who
        ),
    ],
)
def test_paying_says_so_and_changes_nothing(cast: Cast, clock: FrozenClock, act: Act) -> None:
    with pytest.raises(PaymentsNotConfigured, match="not set up"):
        act({"account": cast.account, "actor": cast.ada.ref, "now": clock.now()})
    assert not Checkout.objects.exists()
    assert not StripeCustomer.objects.exists()
    assert not AutoTopUp.objects.exists()


def test_pages_have_something_to_show(cast: Cast) -> None:
    assert not services.payments_state().is_configured
    assert not services.list_invoices(cast.account).exists()
    assert not services.list_cards(cast.account).exists()
    assert not services.list_payments(cast.account).exists()
    assert services.find_auto_top_up(cast.account) is None
    assert services.find_open_subscription(cast.account) is None


def test_the_schedules_find_nothing_to_do(cast: Cast, clock: FrozenClock) -> None:
    use(cast.account, job_id=1, price_micro=2_000, now=clock.now())
    schedules = (
        tasks.handle_events,
        tasks.send,
        tasks.end_closed,
        tasks.fill_wallets,
        tasks.meter_usage,
        tasks.reconcile,
        tasks.prune,
    )
    assert [run() for run in schedules] == [0] * 7
