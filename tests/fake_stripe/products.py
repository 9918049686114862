"""Products and prices, and the fixed sums they come to."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import TYPE_CHECKING, Any

from tests.fake_stripe.errors import invalid
from tests.fake_stripe.events import changing, emit
from tests.fake_stripe.params import Params, merge_metadata
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj, page

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake


def whole_cents(value: Decimal) -> int:
    """Half a cent is rounded away from zero, as on Stripe's invoices."""
    return int(value.quantize(Decimal(1), rounding=ROUND_HALF_UP))


def amount_of(price: Obj, quantity: int | Decimal) -> int:
    """Cents that `quantity` units cost."""
    return whole_cents(Decimal(price["unit_amount_decimal"]) * quantity)


def create_product(fake: Fake, params: Params) -> Obj:
    object_id = params.text("id") or fake.store.new_id("prod")
    if fake.store.find(object_id):
        raise invalid(f"Product already exists with id: {object_id}", code="resource_already_exists")
    product = {
        "id": object_id,
        "object": "product",
        "active": params.flag("active", True),
        "created": fake.clock.now(),
        "default_price": None,
        "description": params.text("description"),
        "images": [],
        "livemode": False,
        "marketing_features": [],
        "metadata": merge_metadata({}, params),
        "name": params.need("name"),
        "package_dimensions": None,
        "shippable": None,
        "statement_descriptor": params.text("statement_descriptor"),
        "tax_code": params.text("tax_code"),
        "type": "service",
        "unit_label": params.text("unit_label"),
        "updated": fake.clock.now(),
        "url": None,
    }
    fake.store.add(product)
    emit(fake, "product.created", product)
    return product


def update_product(fake: Fake, params: Params, product_id: str) -> Obj:
    product = fake.store.get("product", product_id)
    with changing(fake, product, "product.updated"):
        for name in ("name", "description", "unit_label", "tax_code", "statement_descriptor"):
            if name in params:
                product[name] = params.text(name)
        product["active"] = params.flag("active", product["active"])
        product["metadata"] = merge_metadata(product["metadata"], params)
        product["updated"] = fake.clock.now()
    return product


def retrieve_product(fake: Fake, params: Params, product_id: str) -> Obj:
    return fake.store.get("product", product_id)


def list_products(fake: Fake, params: Params) -> Obj:
    active, ids = params.text("active"), params.texts("ids")
    return page(
        fake.store.every("product"),
        params,
        url="/v1/products",
        keep=lambda row: (
            (active is None or row["active"] == (active == "true")) and (not ids or row["id"] in ids)
        ),
    )


def _unit_amount(params: Params) -> Decimal:
    whole, exact = params.whole("unit_amount"), params.decimal("unit_amount_decimal")
    if (whole is None) == (exact is None):
        raise invalid("You must specify one of `unit_amount` and `unit_amount_decimal`.", param="unit_amount")
    amount = exact if exact is not None else Decimal(whole or 0)
    if amount < 0:
        raise invalid("Invalid non-negative integer", param="unit_amount")
    if -int(amount.as_tuple().exponent) > 12:
        raise invalid("unit_amount_decimal has at most 12 decimal places", param="unit_amount_decimal")
    return amount


def _recurring(fake: Fake, params: Params) -> dict[str, Any] | None:
    if "recurring" not in params:
        return None
    node = params.node("recurring")
    usage = node.choice("usage_type", {"licensed", "metered"}, "licensed")
    meter = node.text("meter")
    if (usage == "metered") != (meter is not None):
        raise invalid(
            "Metered prices need `recurring[meter]`, and others have none.", param="recurring[meter]"
        )
    if meter is not None:
        fake.store.get("billing.meter", meter, param="recurring[meter]")
    return {
        "interval": node.choice("interval", {"day", "week", "month", "year"}, node.need("interval")),
        "interval_count": node.whole("interval_count", 1),
        "meter": meter,
        "trial_period_days": None,
        "usage_type": usage,
    }


def make_price(fake: Fake, params: Params, *, is_inline: bool = False) -> Obj:
    """A price from parameters, or from `price_data` of a checkout (`is_inline`: not for sale otherwise)."""
    amount = _unit_amount(params)
    if node := params.node("product_data"):
        product = create_product(fake, node)["id"]
    else:
        product = fake.store.get("product", params.need("product"), param="product")["id"]
    recurring = _recurring(fake, params)
    price = {
        "id": fake.store.new_id("price"),
        "object": "price",
        "active": not is_inline and params.flag("active", True),
        "billing_scheme": "per_unit",
        "created": fake.clock.now(),
        "currency": params.need("currency").lower(),
        "custom_unit_amount": None,
        "livemode": False,
        "lookup_key": None,
        "metadata": merge_metadata({}, params),
        "nickname": params.text("nickname"),
        "product": product,
        "recurring": recurring,
        "tax_behavior": params.text("tax_behavior") or "unspecified",
        "tiers_mode": None,
        "transform_quantity": None,
        "type": "recurring" if recurring else "one_time",
        "unit_amount": int(amount) if amount == int(amount) else None,
        "unit_amount_decimal": format(amount.normalize(), "f"),
    }
    _take_lookup_key(fake, price, params)
    return fake.store.add(price)


def _take_lookup_key(fake: Fake, price: Obj, params: Params) -> None:
    key = params.text("lookup_key")
    if key is None:
        return
    holder = next((row for row in fake.store.every("price") if row["lookup_key"] == key), None)
    if holder is not None and holder["id"] != price["id"]:
        if not params.flag("transfer_lookup_key"):
            raise invalid(
                f"A price (`{holder['id']}`) already uses that lookup key.",
                param="lookup_key",
                code="resource_already_exists",
            )
        with changing(fake, holder, "price.updated"):
            holder["lookup_key"] = None
    price["lookup_key"] = key


def create_price(fake: Fake, params: Params) -> Obj:
    price = make_price(fake, params)
    emit(fake, "price.created", price)
    return price


def update_price(fake: Fake, params: Params, price_id: str) -> Obj:
    price = fake.store.get("price", price_id)
    with changing(fake, price, "price.updated"):
        price["active"] = params.flag("active", price["active"])
        if "nickname" in params:
            price["nickname"] = params.text("nickname")
        _take_lookup_key(fake, price, params)
        price["metadata"] = merge_metadata(price["metadata"], params)
    return price


def retrieve_price(fake: Fake, params: Params, price_id: str) -> Obj:
    return fake.store.get("price", price_id)


def list_prices(fake: Fake, params: Params) -> Obj:
    active, product, keys = params.text("active"), params.text("product"), params.texts("lookup_keys")
    return page(
        fake.store.every("price"),
        params,
        url="/v1/prices",
        keep=lambda row: (
            (active is None or row["active"] == (active == "true"))
            and (product is None or row["product"] == product)
            and (not keys or row["lookup_key"] in keys)
        ),
    )


PAGE = "limit starting_after ending_before created.*"
PRODUCT_FIELDS = "name description active unit_label tax_code statement_descriptor metadata metadata.*"
PRICE_FIELDS = "active nickname lookup_key transfer_lookup_key metadata metadata.* tax_behavior"
ROUTES = [
    Route("POST", "/v1/products", create_product, "ProductCreateParams", f"id {PRODUCT_FIELDS}"),
    Route("GET", "/v1/products", list_products, "ProductListParams", f"active ids {PAGE}"),
    Route("GET", "/v1/products/{id}", retrieve_product, "ProductRetrieveParams"),
    Route("POST", "/v1/products/{id}", update_product, "ProductModifyParams", PRODUCT_FIELDS),
    Route(
        "POST",
        "/v1/prices",
        create_price,
        "PriceCreateParams",
        f"product currency unit_amount unit_amount_decimal recurring.interval recurring.interval_count"
        f" recurring.usage_type recurring.meter product_data.name product_data.metadata.* {PRICE_FIELDS}",
    ),
    Route("GET", "/v1/prices", list_prices, "PriceListParams", f"active product lookup_keys {PAGE}"),
    Route("GET", "/v1/prices/{id}", retrieve_price, "PriceRetrieveParams"),
    Route("POST", "/v1/prices/{id}", update_price, "PriceModifyParams", PRICE_FIELDS),
]
