"""Coupons, promotion codes and the discounts that come of them."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from tests.fake_stripe.clock import months_later
from tests.fake_stripe.errors import invalid
from tests.fake_stripe.events import changing, emit
from tests.fake_stripe.params import Params, merge_metadata
from tests.fake_stripe.products import whole_cents
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj, page

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake


def create_coupon(fake: Fake, params: Params) -> Obj:
    percent, amount = params.decimal("percent_off"), params.whole("amount_off")
    if (percent is None) == (amount is None):
        raise invalid("Must provide either percent_off or amount_off but not both.", param="percent_off")
    if percent is not None and not 0 < percent <= 100:
        raise invalid("percent_off must be greater than 0 and at most 100", param="percent_off")
    object_id = params.text("id") or fake.store.new_id("coupon")
    if fake.store.find(object_id):
        raise invalid("Coupon already exists.", code="resource_already_exists")
    duration = params.choice("duration", {"once", "forever", "repeating"}, "once")
    coupon = {
        "id": object_id,
        "object": "coupon",
        "amount_off": amount,
        "created": fake.clock.now(),
        "currency": params.text("currency"),
        "duration": duration,
        "duration_in_months": params.whole("duration_in_months") if duration == "repeating" else None,
        "livemode": False,
        "max_redemptions": params.whole("max_redemptions"),
        "metadata": merge_metadata({}, params),
        "name": params.text("name"),
        "percent_off": None if percent is None else float(percent),
        "redeem_by": params.whole("redeem_by"),
        "times_redeemed": 0,
        "valid": True,
    }
    fake.store.add(coupon)
    emit(fake, "coupon.created", coupon)
    return coupon


def retrieve_coupon(fake: Fake, params: Params, coupon_id: str) -> Obj:
    return fake.store.get("coupon", coupon_id)


def list_coupons(fake: Fake, params: Params) -> Obj:
    return page(fake.store.every("coupon"), params, url="/v1/coupons")


def delete_coupon(fake: Fake, params: Params, coupon_id: str) -> Obj:
    """Discounts that were given before stay."""
    emit(fake, "coupon.deleted", fake.store.get("coupon", coupon_id))
    fake.store.remove(coupon_id)
    return {"id": coupon_id, "object": "coupon", "deleted": True}


def create_code(fake: Fake, params: Params) -> Obj:
    promotion = params.node("promotion")
    coupon = fake.store.get("coupon", promotion.need("coupon"), param="promotion[coupon]")
    text = params.text("code") or f"CODE{len(fake.store.every('promotion_code')) + 1:04d}"
    taken = [row for row in fake.store.every("promotion_code") if row["code"].lower() == text.lower()]
    if any(row["active"] for row in taken):
        raise invalid(f"An active promotion code with `code: {text}` already exists.", param="code")
    restrictions = params.node("restrictions")
    code = {
        "id": fake.store.new_id("promo"),
        "object": "promotion_code",
        "active": params.flag("active", True),
        "code": text,
        "created": fake.clock.now(),
        "customer": params.text("customer"),
        "expires_at": params.whole("expires_at"),
        "livemode": False,
        "max_redemptions": params.whole("max_redemptions"),
        "metadata": merge_metadata({}, params),
        "promotion": {"coupon": coupon["id"], "type": "coupon"},
        "restrictions": {
            "first_time_transaction": restrictions.flag("first_time_transaction"),
            "minimum_amount": restrictions.whole("minimum_amount"),
            "minimum_amount_currency": restrictions.text("minimum_amount_currency"),
        },
        "times_redeemed": 0,
    }
    fake.store.add(code)
    emit(fake, "promotion_code.created", code)
    return code


def update_code(fake: Fake, params: Params, code_id: str) -> Obj:
    code = fake.store.get("promotion_code", code_id)
    with changing(fake, code, "promotion_code.updated"):
        code["active"] = params.flag("active", code["active"])
        code["metadata"] = merge_metadata(code["metadata"], params)
    return code


def retrieve_code(fake: Fake, params: Params, code_id: str) -> Obj:
    return fake.store.get("promotion_code", code_id)


def list_codes(fake: Fake, params: Params) -> Obj:
    text, active, coupon = params.text("code"), params.text("active"), params.text("coupon")
    return page(
        fake.store.every("promotion_code"),
        params,
        url="/v1/promotion_codes",
        keep=lambda row: (
            (text is None or row["code"].lower() == text.lower())
            and (active is None or row["active"] == (active == "true"))
            and (coupon is None or row["promotion"]["coupon"] == coupon)
        ),
    )


def _require_redeemable(fake: Fake, row: Obj, *, name: str, ends: str) -> None:
    limit, end = row["max_redemptions"], row[ends]
    if limit is not None and row["times_redeemed"] >= limit:
        raise invalid(f"This {name} has been redeemed as often as it may be.", code=f"{name}_expired")
    if end is not None and fake.clock.now() >= end:
        raise invalid(f"This {name} has expired.", code=f"{name}_expired")


def find_code(fake: Fake, text: str, customer: str | None) -> Obj:
    """What a customer typed. Raises Stripe's 400 for codes that are not, or not theirs, or used up."""
    for code in fake.store.every("promotion_code"):
        if code["code"].lower() == text.lower() and code["active"] and code["customer"] in {None, customer}:
            return code
    raise invalid("This promotion code is invalid.", param="promotion_code")


def chosen(fake: Fake, rows: list[Params]) -> list[tuple[Obj, Obj | None]]:
    """Coupons and their promotion codes from `discounts[]`, all of them redeemable."""
    found: list[tuple[Obj, Obj | None]] = []
    for row in rows:
        code = None
        if code_id := row.text("promotion_code"):
            code = fake.store.get("promotion_code", code_id, param="discounts")
            if not code["active"]:
                raise invalid("This promotion code is not active.", param="discounts")
            coupon_id = code["promotion"]["coupon"]
        else:
            coupon_id = row.need("coupon")
        coupon = fake.store.get("coupon", coupon_id, param="discounts")
        require_redeemable(fake, coupon, code)
        found.append((coupon, code))
    return found


def require_redeemable(fake: Fake, coupon: Obj, code: Obj | None) -> None:
    _require_redeemable(fake, coupon, name="coupon", ends="redeem_by")
    if code is not None:
        _require_redeemable(fake, code, name="promotion_code", ends="expires_at")


def redeem(
    fake: Fake, coupon: Obj, code: Obj | None, *, customer: str, subscription: str | None, session: str | None
) -> Obj:
    """The discount of one subscription or payment; counts as one redemption."""
    for row in (coupon, code):
        if row is not None:
            row["times_redeemed"] += 1
            if row["max_redemptions"] is not None and row["times_redeemed"] >= row["max_redemptions"]:
                row["valid" if row is coupon else "active"] = False
    now, months = fake.clock.now(), coupon["duration_in_months"]
    discount = {
        "id": fake.store.new_id("di"),
        "object": "discount",
        "checkout_session": session,
        "customer": customer,
        "end": None if months is None else months_later(now, months),
        "invoice": None,
        "invoice_item": None,
        "promotion_code": code["id"] if code else None,
        "source": {"coupon": coupon["id"], "type": "coupon"},
        "start": now,
        "subscription": subscription,
        "subscription_item": None,
    }
    fake.store.notes[discount["id"]]["coupon"] = coupon
    fake.store.add(discount)
    emit(fake, "customer.discount.created", discount)
    return discount


def coupon_of(fake: Fake, discount_id: str) -> Obj:
    coupon: Obj = fake.store.notes[discount_id]["coupon"]
    return coupon


def amount_off(coupon: Obj, subtotal: int) -> int:
    """Cents, never more than `subtotal`."""
    if subtotal <= 0:
        return 0
    if coupon["percent_off"] is not None:
        return whole_cents(subtotal * Decimal(str(coupon["percent_off"])) / 100)
    return min(subtotal, coupon["amount_off"])


PAGE = "limit starting_after ending_before created.*"
ROUTES = [
    Route(
        "POST",
        "/v1/coupons",
        create_coupon,
        "CouponCreateParams",
        "id percent_off amount_off currency duration duration_in_months max_redemptions name"
        " redeem_by metadata.*",
    ),
    Route("GET", "/v1/coupons", list_coupons, "CouponListParams", PAGE),
    Route("GET", "/v1/coupons/{id}", retrieve_coupon, "CouponRetrieveParams"),
    Route("DELETE", "/v1/coupons/{id}", delete_coupon, "CouponDeleteParams"),
    Route(
        "POST",
        "/v1/promotion_codes",
        create_code,
        "PromotionCodeCreateParams",
        "code active customer expires_at max_redemptions promotion.type promotion.coupon metadata.*"
        " restrictions.first_time_transaction restrictions.minimum_amount"
        " restrictions.minimum_amount_currency",
    ),
    Route("GET", "/v1/promotion_codes", list_codes, "PromotionCodeListParams", f"code active coupon {PAGE}"),
    Route("GET", "/v1/promotion_codes/{id}", retrieve_code, "PromotionCodeRetrieveParams"),
    Route(
        "POST",
        "/v1/promotion_codes/{id}",
        update_code,
        "PromotionCodeModifyParams",
        "active metadata metadata.*",
    ),
]
