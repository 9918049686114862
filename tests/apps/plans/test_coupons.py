from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from apps.audit.refs import SYSTEM
from apps.billing.ledger.selectors import balances
from apps.core.errors import Conflict, InvalidField
from apps.plans.coupons import redeem_coupon, save_coupon
from apps.plans.errors import CouponRefused
from apps.plans.models import Coupon, PlanCharge, Redemption
from apps.plans.renewing import end_periods
from apps.plans.subscriptions import start_subscription, start_trial
from tests.apps.plans.conftest import Offer
from tests.cast import Cast
from tests.clocks import FrozenClock


def _coupon(clock: FrozenClock, **fields: Any) -> Coupon:
    coupon = Coupon(**({"code": "spring", "kind": "percent", "value": 25} | fields))
    save_coupon(coupon=coupon, actor=SYSTEM, now=clock.now())
    return coupon


def _redeem(cast: Cast, clock: FrozenClock, code: str = "SPRING", *, stranger: bool = False) -> Redemption:
    account = cast.strangers_account if stranger else cast.account
    return redeem_coupon(account=account, code=code, actor=cast.ada.ref, now=clock.now())


def test_a_discount_holds_for_its_months(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    _coupon(clock, months=2)
    start_subscription(account=cast.account, plan=offer.standard, actor=SYSTEM, now=clock.now())
    _redeem(cast, clock, " spRing ")
    end_periods(clock.advance(days=95))
    amounts = list(PlanCharge.objects.order_by("period_start").values_list("amount_micro", flat=True))
    assert amounts == [47_000_000, 35_250_000, 35_250_000, 47_000_000]


def test_a_discount_waits_for_the_plan_it_is_for(cast: Cast, offer: Offer, clock: FrozenClock) -> None:
    _coupon(clock).plans.add(offer.premium)
    start_subscription(account=cast.account, plan=offer.standard, actor=SYSTEM, now=clock.now())
    use = _redeem(cast, clock)
    end_periods(clock.advance(days=35))
    use.refresh_from_db()
    amounts = list(PlanCharge.objects.values_list("amount_micro", flat=True))
    assert (amounts, use.months_left) == ([47_000_000] * 2, 1)


@pytest.mark.parametrize("has_trial", [False, True])
def test_a_discount_on_what_we_do_not_charge_is_kept_for_later(
    cast: Cast, offer: Offer, clock: FrozenClock, has_trial: bool
) -> None:
    coupon = _coupon(clock)
    if has_trial:
        start_trial(account=cast.account, plan=offer.standard, actor=SYSTEM, now=clock.now())
    with pytest.raises(CouponRefused, match="paid by invoice"):
        _redeem(cast, clock)
    coupon.refresh_from_db()
    assert (coupon.redemptions, Redemption.objects.count()) == (0, 0)


def test_credit_goes_to_the_ledger_once(cast: Cast, clock: FrozenClock) -> None:
    _coupon(clock, kind="credit", value=5_000_000)
    _redeem(cast, clock)
    with pytest.raises(CouponRefused, match="has used"):
        _redeem(cast, clock)
    assert balances(cast.account, clock.now()).promo_micro == 5_000_000
    assert Coupon.objects.get().redemptions == 1


def test_there_are_no_more_than_there_are(cast: Cast, clock: FrozenClock) -> None:
    _coupon(clock, kind="credit", max_redemptions=1)
    _redeem(cast, clock)
    with pytest.raises(CouponRefused, match="used up"):
        _redeem(cast, clock, stranger=True)
    assert Redemption.objects.count() == 1


def test_a_coupon_has_its_time(cast: Cast, clock: FrozenClock) -> None:
    starts = clock.now() + timedelta(days=1)
    _coupon(clock, kind="credit", starts_at=starts, ends_at=starts + timedelta(days=1))
    with pytest.raises(CouponRefused, match="no such coupon"):
        _redeem(cast, clock)
    clock.advance(days=2)
    with pytest.raises(CouponRefused, match="has ended"):
        _redeem(cast, clock)
    clock.advance(seconds=-1)
    _redeem(cast, clock)


@pytest.mark.parametrize("code", ["", "WINTER", "\x00", "x" * 5000])
def test_what_is_no_coupon_is_refused(cast: Cast, clock: FrozenClock, code: str) -> None:
    with pytest.raises(CouponRefused, match="no such coupon"):
        _redeem(cast, clock, code)


@pytest.mark.parametrize(
    "fields", [{"value": 0}, {"value": -1}, {"value": 101}, {"code": "a"}, {"code": "a b"}, {"kind": "gift"}]
)
def test_a_coupon_must_make_sense(db: None, clock: FrozenClock, fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidField):
        _coupon(clock, **fields)
    assert not Coupon.objects.exists()


def test_what_a_used_coupon_is_worth_stays(cast: Cast, clock: FrozenClock) -> None:
    coupon = _coupon(clock, kind="credit")
    _redeem(cast, clock)
    coupon.value = 50
    with pytest.raises(Conflict, match="what it is worth stays"):
        save_coupon(coupon=coupon, actor=SYSTEM, now=clock.now())
    assert Coupon.objects.get().value == 25


def test_a_code_is_given_once_whatever_its_case(db: None, clock: FrozenClock) -> None:
    _coupon(clock)
    with pytest.raises((Conflict, InvalidField)):
        _coupon(clock, code="SPRING")
    assert Coupon.objects.count() == 1
