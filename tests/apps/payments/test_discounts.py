"""Our coupons on plans that Stripe bills, and prices that a contract says."""

from __future__ import annotations

from typing import Any

import pytest

from apps.core.errors import Conflict
from apps.payments import services
from apps.payments.errors import PaymentsUnavailable
from apps.payments.models import Checkout, Payment, StripePrice
from apps.plans.choices import CouponKind
from apps.plans.coupons import save_coupon
from apps.plans.errors import CouponRefused
from apps.plans.models import Contract, Coupon, Plan, Redemption
from tests.apps.payments.plan_acts import asked, change, start
from tests.apps.payments.stage import Stage, audited, usd
from tests.fake_stripe.visitor import Visitor


def coupon(stage: Stage, code: str = "HALF", **fields: Any) -> Coupon:
    """Half of the price of one month, unless said otherwise (Any: the coupon's columns)."""
    row = Coupon(**{"code": code, "kind": CouponKind.PERCENT, "value": 50, "months": 1} | fields)
    save_coupon(coupon=row, actor=stage.cast.otto.ref, now=stage.now)
    return row


def redeemed(code: str = "HALF") -> int:
    return Coupon.objects.get(code=code).redemptions


def buy(stage: Stage, plan: Plan, *, code: str = "half", token: str = "plan-token-1") -> None:
    Visitor(stage.fake).pay(start(stage, plan, promotion_code=code, token=token))
    stage.deliver()


def paid() -> list[int]:
    return list(Payment.objects.order_by("pk").values_list("net_micro", flat=True))


def test_a_percentage_is_taken_off_at_checkout_for_its_months(stage: Stage, standard: Plan) -> None:
    coupon(stage, months=2)
    buy(stage, standard)
    stage.pass_time(days=31, hours=2)
    stage.pass_time(days=31, hours=2)
    assert paid() == [23_500_000, 23_500_000, usd(47)]
    assert (redeemed(), Redemption.objects.get().months_left) == (1, 0)


def test_an_amount_is_taken_off_once(stage: Stage, standard: Plan) -> None:
    coupon(stage, kind=CouponKind.AMOUNT, value=usd(10))
    buy(stage, standard)
    stage.pass_time(days=31, hours=2)
    assert paid() == [usd(37), usd(47)]


def test_the_coupon_at_stripe_is_made_once(stage: Stage, standard: Plan) -> None:
    coupon(stage)
    start(stage, standard, promotion_code="HALF")
    start(stage, standard, promotion_code="HALF", token="plan-token-2")
    [mirrored] = stage.fake.store.every("coupon")
    assert (mirrored["id"], mirrored["percent_off"]) == ("darkroom-HALF-percent-50-1", 50.0)


def test_a_visit_that_ends_gives_its_coupon_back(stage: Stage, standard: Plan) -> None:
    coupon(stage, max_redemptions=1)
    start(stage, standard, promotion_code="HALF")
    assert redeemed() == 1
    stage.pass_time(days=2)
    assert (redeemed(), audited("plans.coupon.given_back")) == (0, 1)
    buy(stage, standard, token="plan-token-2")
    assert paid() == [23_500_000]


def test_a_visit_without_the_coupon_is_not_the_one_with_it(stage: Stage, standard: Plan) -> None:
    """Nobody pays the whole price because another tab was open."""
    coupon(stage)
    start(stage, standard)
    buy(stage, standard, token="plan-token-2")
    assert paid() == [23_500_000]


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"kind": CouponKind.CREDIT, "value": 5_000_000}, "is credit"),
        ({"kind": CouponKind.AMOUNT, "value": 1_000_001}, "whole cents"),
    ],
)
def test_what_stripe_cannot_take_off_is_refused(
    stage: Stage, standard: Plan, fields: dict[str, Any], words: str
) -> None:
    coupon(stage, **fields)
    with pytest.raises(CouponRefused, match=words):
        start(stage, standard, promotion_code="HALF")
    assert (Checkout.objects.count(), redeemed()) == (0, 0)


def test_a_coupon_of_another_plan_is_refused(stage: Stage, standard: Plan, premium: Plan) -> None:
    coupon(stage).plans.add(premium)
    with pytest.raises(CouponRefused, match="not for the plan"):
        start(stage, standard, promotion_code="HALF")


def test_a_used_coupon_ends_the_visit(stage: Stage, standard: Plan) -> None:
    row = coupon(stage)
    Redemption.objects.create(coupon=row, account=stage.account, at=stage.now)
    with pytest.raises(CouponRefused, match="has used"):
        start(stage, standard, promotion_code="HALF")
    start(stage, standard, token="plan-token-2")
    assert stage.fake.store.every("checkout.session")[-1]["discounts"] is None


def test_a_coupon_makes_the_next_month_of_a_running_plan_cheaper(stage: Stage, standard: Plan) -> None:
    coupon(stage)
    stage.subscribe(standard)
    services.redeem_coupon(code="half", **asked(stage))
    stage.pass_time(days=31, hours=2)
    stage.pass_time(days=31, hours=2)
    assert paid() == [usd(47), 23_500_000, usd(47)]
    assert redeemed() == 1


def test_one_discount_at_a_time(stage: Stage, standard: Plan) -> None:
    coupon(stage)
    coupon(stage, "OTHER")
    stage.subscribe(standard)
    services.redeem_coupon(code="HALF", **asked(stage))
    with pytest.raises(CouponRefused, match="Another discount"):
        services.redeem_coupon(code="OTHER", **asked(stage))
    assert redeemed("OTHER") == 0


def test_a_coupon_that_stripe_did_not_hear_of_is_not_used(stage: Stage, standard: Plan) -> None:
    coupon(stage)
    stage.subscribe(standard)
    stage.fake.fail_next("500", method="POST", path="/v1/subscriptions")
    with pytest.raises(PaymentsUnavailable):
        services.redeem_coupon(code="HALF", **asked(stage))
    assert redeemed() == 0
    services.redeem_coupon(code="HALF", **asked(stage))
    assert redeemed() == 1


def test_credit_is_credit_with_a_plan_too(stage: Stage, standard: Plan) -> None:
    coupon(stage, kind=CouponKind.CREDIT, value=usd(5))
    stage.subscribe(standard)
    services.redeem_coupon(code="HALF", **asked(stage))
    assert stage.balances().promo_micro == usd(5)


def test_a_downgrade_keeps_the_discount(stage: Stage, standard: Plan, premium: Plan) -> None:
    coupon(stage, months=3)
    buy(stage, premium)
    change(stage, standard)
    stage.pass_time(days=31, hours=2)
    assert paid() == [99_500_000, 23_500_000]


def agree(stage: Stage, plan: Plan, price_micro: int) -> None:
    """A contract with Ada's account."""
    Contract.objects.create(
        account=stage.account, plan=plan, price_micro=price_micro, starts_at=stage.now, created_at=stage.now
    )


def test_the_price_of_a_contract_is_paid_at_checkout(stage: Stage, standard: Plan) -> None:
    agree(stage, standard, usd(30))
    stage.subscribe(standard)
    stage.pass_time(days=31, hours=2)
    assert paid() == [usd(30), usd(30)]
    assert StripePrice.objects.get().lookup_key == f"darkroom-standard-{usd(30)}"


def test_the_price_of_a_contract_decides_what_is_an_upgrade(
    stage: Stage, standard: Plan, premium: Plan
) -> None:
    agree(stage, premium, usd(40))
    stage.subscribe(standard)
    assert not change(stage, premium).is_now
    stage.pass_time(days=31, hours=2)
    assert (stage.plan_code(), paid()) == ("premium", [usd(47), usd(40)])


@pytest.mark.parametrize("price_micro", [0, 30_000_001])
def test_a_price_that_no_card_pays_is_refused_and_never_the_list_price(
    stage: Stage, standard: Plan, price_micro: int
) -> None:
    agree(stage, standard, price_micro)
    with pytest.raises(Conflict, match="ask whoever runs this service"):
        start(stage, standard)
    assert stage.fake.store.every("checkout.session") == []
