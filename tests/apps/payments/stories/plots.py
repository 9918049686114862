"""The lifecycles of paying customers, each as Ada, her bank and the calendar act it out.

A plot says what happens and what must have come of it. What it says must hold whatever the order and number
of the messages, so it waits for none of them: `settle` is called before the last word.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from apps.accounts.closing import close_account
from apps.accounts.models import Membership
from apps.payments import services
from apps.payments.auto_top_up import run_auto_top_ups
from apps.payments.catalogue import sync_plans
from apps.payments.closing import end_billing_of_closed
from apps.payments.connection import open_api
from tests.apps.payments.stage import usd
from tests.apps.payments.stories.troupe import Troupe
from tests.apps.payments.stories.usage_plots import (
    MONTH,
    metered_usage_disputed,
    metered_usage_refunded,
    month_of_metered_usage,
)
from tests.fake_stripe.cards import FAILS_LATER_CARD, GOOD_CARD, THREE_DS_CARD
from tests.fake_stripe.client import client_of
from tests.fake_stripe.visitor import PageRefused

Plot = Callable[[Troupe], dict[str, Any]]
"""Returns what must be in the final state."""


def trial_then_paid(troupe: Troupe) -> dict[str, Any]:
    troupe.subscribe(troupe.sell("standard", 47, trial_days=14))
    assert troupe.plan_code() == "standard"
    troupe.pass_time(days=14, hours=2)
    return {"plan": "standard", "paid": [usd(47)]}


def trial_then_canceled(troupe: Troupe) -> dict[str, Any]:
    troupe.subscribe(troupe.sell("standard", 47, trial_days=14))
    troupe.pass_time(days=3)
    troupe.plan_action("cancel_plan", "cancel-token-1")
    troupe.pass_time(days=12)
    return {"plan": "free", "paid": []}


def upgrade_in_the_middle(troupe: Troupe) -> dict[str, Any]:
    premium = troupe.sell("premium", 199)
    troupe.subscribe(troupe.sell("standard", 47))
    troupe.pass_time(days=15, hours=12)
    troupe.plan_action("change_plan", "change-token-1", plan=premium)
    # Half of March is left: half of each price.
    return {"plan": "premium", "paid": [usd(47), 9_950 * 10_000 - 2_350 * 10_000]}


def downgrade_at_the_end(troupe: Troupe) -> dict[str, Any]:
    standard = troupe.sell("standard", 47)
    troupe.subscribe(troupe.sell("premium", 199))
    troupe.plan_action("change_plan", "change-token-1", plan=standard)
    assert troupe.plan_code() == "premium"
    troupe.pass_time(**MONTH)
    return {"plan": "standard", "paid": [usd(47), usd(199)]}


def declined_then_recovered(troupe: Troupe) -> dict[str, Any]:
    troupe.subscribe(troupe.sell("standard", 47))
    troupe.use_new_card(card=FAILS_LATER_CARD)
    troupe.pass_time(**MONTH)
    troupe.use_new_card(card=GOOD_CARD)
    troupe.pass_time(days=3)
    return {"plan": "standard", "paid": [usd(47), usd(47)]}


def declined_then_canceled(troupe: Troupe) -> dict[str, Any]:
    troupe.subscribe(troupe.sell("standard", 47))
    troupe.use_new_card(card=FAILS_LATER_CARD)
    troupe.pass_time(**MONTH)
    for days in (3, 5, 7):
        troupe.pass_time(days=days)
    return {"plan": "free", "paid": [usd(47)]}


def challenge_passed(troupe: Troupe) -> dict[str, Any]:
    troupe.subscribe(troupe.sell("standard", 47), card=THREE_DS_CARD)
    troupe.pass_time(**MONTH)
    return {"plan": "standard", "paid": [usd(47), usd(47)]}


def challenge_abandoned(troupe: Troupe) -> dict[str, Any]:
    url = troupe.visit_plan(troupe.sell("standard", 47))
    troupe.visitor.begin_payment(url, card=THREE_DS_CARD)
    troupe.deliver()
    troupe.pass_time(days=2)
    with pytest.raises(PageRefused, match="is over"):
        troupe.visitor.pay(url)
    return {"plan": "free", "paid": []}


def _dispute(troupe: Troupe, *, won: bool) -> None:
    troupe.top_up(20)
    dispute = troupe.fake.dispute(str(troupe.newest_payment().intent_id))
    troupe.deliver()
    troupe.pass_time(days=20)
    troupe.fake.close_dispute(dispute["id"], won=won)
    troupe.deliver()


def dispute_lost(troupe: Troupe) -> dict[str, Any]:
    _dispute(troupe, won=False)
    return {"plan": "free", "wallet": 0}


def dispute_won(troupe: Troupe) -> dict[str, Any]:
    _dispute(troupe, won=True)
    return {"plan": "free", "wallet": usd(20)}


def _refund(troupe: Troupe, amount_micro: int | None) -> None:
    services.refund_top_up(
        account=troupe.account,
        payment_id=troupe.newest_payment().pk,
        amount_micro=amount_micro,
        actor=troupe.cast.ada.ref,
        token="refund-token-1",
        now=troupe.now,
    )
    troupe.deliver()


def refunded_in_full(troupe: Troupe) -> dict[str, Any]:
    troupe.top_up(20)
    troupe.pass_time(days=5)
    _refund(troupe, None)
    return {"wallet": 0, "refunded": [usd(20)]}


def refunded_in_part(troupe: Troupe) -> dict[str, Any]:
    troupe.top_up(20)
    _refund(troupe, usd(5))
    return {"wallet": usd(15), "refunded": [usd(5)]}


def paused_and_resumed(troupe: Troupe) -> dict[str, Any]:
    troupe.subscribe(troupe.sell("standard", 47))
    troupe.plan_action("pause_plan", "pause-token-1")
    troupe.pass_time(**MONTH)
    troupe.plan_action("resume_plan", "resume-token-1")
    troupe.pass_time(days=30)
    return {"plan": "standard", "paid": [usd(47), usd(47)]}


def changed_on_stripes_page(troupe: Troupe) -> dict[str, Any]:
    premium = troupe.sell("premium", 199)
    troupe.subscribe(troupe.sell("standard", 47))
    price = price_of(troupe, premium)
    troupe.visitor.change_plan(troupe.portal(), troupe.stripe_subscription(), price)
    troupe.deliver()
    return {"plan": "premium", "paid": [usd(47), usd(152)]}


def price_of(troupe: Troupe, plan: Any) -> str:
    """Its price at Stripe, made as `manage.py stripe sync-plans` makes it."""
    synced = sync_plans(open_api(), actor=troupe.cast.otto.ref, now=troupe.now)
    return next(row.price_id for row in synced if row.plan_code == plan.code)


def canceled_on_stripes_page_and_undone(troupe: Troupe) -> dict[str, Any]:
    troupe.subscribe(troupe.sell("standard", 47))
    page, subscription = troupe.portal(), troupe.stripe_subscription()
    troupe.visitor.cancel_plan(page, subscription)
    troupe.deliver()
    troupe.pass_time(days=2)
    troupe.visitor.keep_plan(page, subscription)
    troupe.deliver()
    troupe.pass_time(**MONTH)
    return {"plan": "standard", "paid": [usd(47), usd(47)]}


def switched_twice(troupe: Troupe) -> dict[str, Any]:
    standard, premium = troupe.sell("standard", 47), troupe.sell("premium", 199)
    troupe.subscribe(standard)
    troupe.pass_time(days=10)
    troupe.plan_action("change_plan", "change-token-1", plan=premium)
    troupe.pass_time(days=10)
    troupe.plan_action("change_plan", "change-token-2", plan=standard)
    troupe.pass_time(days=11, hours=2)
    # 21 of 31 days were left: 13,481 - 3,184 cents.
    return {"plan": "standard", "paid": [usd(47), usd(47), 10_297 * 10_000]}


def wallet_fills_itself(troupe: Troupe) -> dict[str, Any]:
    troupe.add_card()
    services.set_auto_top_up(
        account=troupe.account,
        is_on=True,
        threshold_micro=usd(5),
        amount_micro=usd(20),
        monthly_cap_micro=usd(50),
        actor=troupe.cast.ada.ref,
        now=troupe.now,
    )
    run_auto_top_ups(now=troupe.now)
    troupe.deliver()
    return {"wallet": usd(20), "paid": [usd(20)]}


def card_expired_and_replaced(troupe: Troupe) -> dict[str, Any]:
    troupe.subscribe(troupe.sell("standard", 47), exp_month="3", exp_year="2026")
    troupe.pass_time(**MONTH)
    troupe.use_new_card()
    troupe.pass_time(days=3)
    return {"plan": "standard", "paid": [usd(47), usd(47)]}


def first_month_free(troupe: Troupe) -> dict[str, Any]:
    v1 = client_of(troupe.fake).v1
    coupon = v1.coupons.create({"percent_off": 100, "duration": "once"})
    v1.promotion_codes.create({"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "FIRSTFREE"})
    url = troupe.visit_plan(troupe.sell("standard", 47), promotion_code="FIRSTFREE")
    troupe.visitor.pay(url)
    troupe.deliver()
    troupe.pass_time(**MONTH)
    return {"plan": "standard", "paid": [usd(47)]}


def account_closed(troupe: Troupe) -> dict[str, Any]:
    troupe.subscribe(troupe.sell("standard", 47))
    troupe.pass_time(days=4)
    close_account(by=Membership.objects.get(account=troupe.account, user=troupe.cast.ada), now=troupe.now)
    end_billing_of_closed(now=troupe.now)
    troupe.deliver()
    troupe.pass_time(**MONTH)
    return {"paid": [usd(47)], "states": ["canceled"]}


PLOTS: list[Plot] = [
    trial_then_paid,
    trial_then_canceled,
    upgrade_in_the_middle,
    downgrade_at_the_end,
    declined_then_recovered,
    declined_then_canceled,
    challenge_passed,
    challenge_abandoned,
    dispute_lost,
    dispute_won,
    refunded_in_full,
    refunded_in_part,
    paused_and_resumed,
    changed_on_stripes_page,
    canceled_on_stripes_page_and_undone,
    switched_twice,
    wallet_fills_itself,
    card_expired_and_replaced,
    month_of_metered_usage,
    metered_usage_refunded,
    metered_usage_disputed,
    first_month_free,
    account_closed,
]
