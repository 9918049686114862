"""Checkout sessions: what is for sale and until when. What visitors do there is in `checkout_visits`."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.fake_stripe import coupons
from tests.fake_stripe.clock import DAY_S, HOUR_S, Due
from tests.fake_stripe.customers import live_customer
from tests.fake_stripe.errors import invalid, required
from tests.fake_stripe.events import emit
from tests.fake_stripe.params import Params, merge_metadata
from tests.fake_stripe.products import amount_of, make_price, whole_cents
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj, as_list, page

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake

MODES = {"payment", "setup", "subscription"}


def create(fake: Fake, params: Params) -> Obj:
    mode = params.choice("mode", MODES, params.need("mode"))
    customer = live_customer(fake, given) if (given := params.text("customer")) else None
    params.need("success_url")
    expires = params.whole("expires_at", fake.clock.now() + DAY_S) or 0
    if not fake.clock.now() + HOUR_S // 2 <= expires <= fake.clock.now() + DAY_S:
        raise invalid("expires_at must be between 30 minutes and 24 hours from now.", param="expires_at")
    is_taxed = params.node("automatic_tax").flag("enabled")
    _require_tax_address(customer, params, is_taxed=is_taxed)
    chosen = coupons.chosen(fake, params.rows("discounts"))
    if chosen and params.flag("allow_promotion_codes"):
        raise invalid("You may only specify one of these parameters: allow_promotion_codes, discounts.")
    session = _blank(fake, params, mode=mode, customer=customer, expires=expires, is_taxed=is_taxed)
    notes = fake.store.notes[session["id"]]
    notes["discounts"] = [(coupon["id"], code["id"] if code else None) for coupon, code in chosen]
    notes["items"] = _read_items(fake, params, mode)
    notes["subscription_data"] = _subscription_data(params.node("subscription_data"))
    notes["intent_data"] = _intent_data(params.node("payment_intent_data"))
    notes["setup_metadata"] = merge_metadata({}, params.node("setup_intent_data"))
    notes["collection"] = params.choice("payment_method_collection", {"always", "if_required"}, "always")
    price_up(fake, session)
    return fake.store.add(session)


def _require_tax_address(customer: Obj | None, params: Params, *, is_taxed: bool) -> None:
    if "customer_update" in params and customer is None:
        raise invalid("`customer_update` can only be used with `customer`.", param="customer_update")
    if not is_taxed or customer is None or (customer["address"] or {}).get("country"):
        return
    if params.node("customer_update").text("address") != "auto":
        raise invalid(
            "Automatic tax calculation in Checkout requires a valid address on the Customer. Add one, or set"
            " `customer_update[address]` to 'auto' to save the address entered in Checkout to the Customer.",
            code="customer_tax_location_invalid",
        )


def _read_items(fake: Fake, params: Params, mode: str) -> list[tuple[str, int | None]]:
    rows = params.rows("line_items")
    if not rows and mode != "setup":
        raise required("line_items")
    items: list[tuple[str, int | None]] = []
    for row in rows:
        if node := row.node("price_data"):
            price = make_price(fake, node, is_inline=True)
        else:
            price = fake.store.get("price", row.need("price"), param=row.path_of("price"))
        is_metered = bool(price["recurring"]) and price["recurring"]["usage_type"] == "metered"
        quantity = row.whole("quantity")
        if quantity is None and not is_metered:
            raise required(row.path_of("quantity"))
        items.append((price["id"], quantity))
    if mode == "subscription" and not any(fake.store.get("price", price)["recurring"] for price, _ in items):
        raise invalid(
            "You must provide at least one recurring price in `subscription` mode.", param="line_items"
        )
    if mode == "payment" and any(fake.store.get("price", price)["recurring"] for price, _ in items):
        raise invalid("You specified `payment` mode but passed a recurring price.", param="line_items")
    return items


def _subscription_data(node: Params) -> dict[str, Any]:
    behaviour = node.node("trial_settings").node("end_behavior")
    return {
        "metadata": merge_metadata({}, node),
        "description": node.text("description"),
        "trial_period_days": node.whole("trial_period_days"),
        "missing_card": behaviour.text("missing_payment_method") or "create_invoice",
    }


def _intent_data(node: Params) -> dict[str, Any]:
    return {
        "metadata": merge_metadata({}, node),
        "description": node.text("description"),
        "setup_future_usage": node.text("setup_future_usage"),
    }


def _blank(
    fake: Fake, params: Params, *, mode: str, customer: Obj | None, expires: int, is_taxed: bool
) -> Obj:
    object_id = fake.store.new_id("cs_test")
    fake.store.notes[object_id]["updates_address"] = params.node("customer_update").text("address") == "auto"
    return {
        "id": object_id,
        "object": "checkout.session",
        "adaptive_pricing": {"enabled": False},
        "after_expiration": None,
        "allow_promotion_codes": params.flag("allow_promotion_codes") or None,
        "amount_subtotal": None,
        "amount_total": None,
        "automatic_tax": {
            "enabled": is_taxed,
            "liability": {"type": "self"} if is_taxed else None,
            "provider": "stripe" if is_taxed else None,
            "status": "requires_location_inputs" if is_taxed else None,
        },
        "billing_address_collection": params.text("billing_address_collection"),
        "cancel_url": params.text("cancel_url"),
        "client_reference_id": params.text("client_reference_id"),
        "client_secret": None,
        "consent": None,
        "created": fake.clock.now(),
        "currency": "usd",
        "custom_fields": [],
        "customer": customer["id"] if customer else None,
        "customer_creation": None
        if customer
        else params.text("customer_creation") or ("always" if mode == "subscription" else "if_required"),
        "customer_details": None,
        "customer_email": params.text("customer_email"),
        "discounts": None,
        "expires_at": expires,
        "invoice": None,
        "livemode": False,
        "locale": params.text("locale"),
        "metadata": merge_metadata({}, params),
        "mode": mode,
        "payment_intent": None,
        "payment_link": None,
        "payment_method_collection": params.text("payment_method_collection") or "always",
        "payment_method_types": ["card"],
        "payment_status": "no_payment_required" if mode == "setup" else "unpaid",
        "phone_number_collection": {"enabled": False},
        "recovered_from": None,
        "setup_intent": None,
        "status": "open",
        "submit_type": None,
        "subscription": None,
        "success_url": params.text("success_url"),
        "total_details": None,
        "ui_mode": "hosted_page",
        "url": f"{fake.url}/c/pay/{object_id}",
    }


def price_up(fake: Fake, session: Obj) -> None:
    """Amounts from the items, the discounts and the tax. Nothing is due today where a trial begins."""
    if session["mode"] == "setup":
        return
    notes = fake.store.notes[session["id"]]
    prices = [(fake.store.get("price", price), quantity) for price, quantity in notes["items"]]
    is_trial = bool(notes["subscription_data"]["trial_period_days"])
    rows = [
        (price, quantity, 0 if is_trial or quantity is None else amount_of(price, quantity))
        for price, quantity in prices
    ]
    subtotal = left = sum(amount for _, _, amount in rows)
    for coupon_id, _ in notes["discounts"]:
        left -= coupons.amount_off(fake.store.get("coupon", coupon_id), left)
    rate = fake.settings.tax_percent if session["automatic_tax"]["enabled"] else 0
    tax = whole_cents(Decimal(left * rate) / 100)
    session.update(
        amount_subtotal=subtotal,
        amount_total=left + tax,
        total_details={"amount_discount": subtotal - left, "amount_shipping": 0, "amount_tax": tax},
        discounts=[{"coupon": coupon, "promotion_code": code} for coupon, code in notes["discounts"]] or None,
    )
    notes["line_items"] = [
        {
            "id": f"li_{session['id']}_{index}",
            "object": "item",
            "amount_discount": 0,
            "amount_subtotal": amount,
            "amount_tax": 0,
            "amount_total": amount,
            "currency": "usd",
            "description": fake.store.get("product", price["product"])["name"],
            "price": price,
            "quantity": quantity,
        }
        for index, (price, quantity, amount) in enumerate(rows)
    ]


def retrieve(fake: Fake, params: Params, session_id: str) -> Obj:
    return fake.store.get("checkout.session", session_id)


def list_sessions(fake: Fake, params: Params) -> Obj:
    names = ("customer", "payment_intent", "subscription", "status")
    wanted = {name: value for name in names if (value := params.text(name))}
    return page(
        fake.store.every("checkout.session"),
        params,
        url="/v1/checkout/sessions",
        keep=lambda row: all(row[name] == value for name, value in wanted.items()),
    )


def list_line_items(fake: Fake, params: Params, session_id: str) -> Obj:
    fake.store.get("checkout.session", session_id)
    rows = fake.store.notes[session_id].get("line_items", [])
    return as_list(rows, url=f"/v1/checkout/sessions/{session_id}/line_items")


def expire_now(fake: Fake, session: Obj) -> None:
    session.update(status="expired", url=None)
    emit(fake, "checkout.session.expired", session)


def expire(fake: Fake, params: Params, session_id: str) -> Obj:
    session = fake.store.get("checkout.session", session_id)
    if session["status"] != "open":
        raise invalid(
            'Only Checkout Sessions with a status in ["open"] can be expired. This Checkout Session has a'
            f" status of {session['status']}."
        )
    expire_now(fake, session)
    return session


def dues(fake: Fake) -> Iterator[Due]:
    for session in fake.store.every("checkout.session"):
        if session["status"] == "open":
            yield Due(
                at=session["expires_at"], order=4, run=lambda session=session: expire_now(fake, session)
            )


PRICE_DATA = " ".join(
    f"line_items.price_data.{name}"
    for name in (
        "currency",
        "unit_amount",
        "unit_amount_decimal",
        "product",
        "product_data.name",
        "recurring.interval",
        "tax_behavior",
    )
)
PAGE = "limit starting_after ending_before"
ROUTES = [
    Route(
        "POST",
        "/v1/checkout/sessions",
        create,
        "checkout.SessionCreateParams",
        "mode customer customer_email customer_creation success_url cancel_url client_reference_id"
        f" line_items.price line_items.quantity {PRICE_DATA} currency expires_at locale"
        " metadata.* allowed_payment_method_types"
        f" automatic_tax.enabled customer_update.address customer_update.name tax_id_collection.enabled"
        f" allow_promotion_codes discounts.coupon discounts.promotion_code billing_address_collection"
        f" payment_method_collection subscription_data.metadata.* subscription_data.trial_period_days"
        f" subscription_data.description subscription_data.trial_settings.end_behavior.missing_payment_method"
        " payment_intent_data.metadata.* payment_intent_data.setup_future_usage"
        " payment_intent_data.description"
        f" setup_intent_data.metadata.*",
    ),
    Route(
        "GET",
        "/v1/checkout/sessions",
        list_sessions,
        "checkout.SessionListParams",
        f"customer payment_intent subscription status created.* {PAGE}",
    ),
    Route("GET", "/v1/checkout/sessions/{id}", retrieve, "checkout.SessionRetrieveParams"),
    Route("POST", "/v1/checkout/sessions/{id}/expire", expire, "checkout.SessionExpireParams"),
    Route(
        "GET",
        "/v1/checkout/sessions/{id}/line_items",
        list_line_items,
        "checkout.SessionListLineItemsParams",
        PAGE,
    ),
]
