"""Lines of invoices: amounts, discounts and tax, in whole cents."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from tests.fake_stripe.coupons import amount_off, coupon_of
from tests.fake_stripe.products import whole_cents
from tests.fake_stripe.store import Obj

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake

TAX_RATE = "txr_fake"


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a line is about, before discounts and tax."""

    amount: int
    description: str
    period: tuple[int, int]
    price: Obj | None
    quantity: int | None = 1
    subscription: str | None = None
    item: str | None = None
    """Of the subscription."""
    invoice_item: str | None = None
    is_proration: bool = False
    """Prorations are of amounts that are discounted already."""
    metadata: dict[str, str] = field(default_factory=dict)


def line_object(fake: Fake, line: Line, *, invoice: str | None) -> Obj:
    return {
        "id": fake.store.new_id("il"),
        "object": "line_item",
        "amount": line.amount,
        "currency": "usd",
        "description": line.description,
        "discount_amounts": [],
        "discountable": not line.is_proration,
        "discounts": [],
        "invoice": invoice,
        "livemode": False,
        "metadata": line.metadata,
        "parent": _parent(line),
        "period": {"start": line.period[0], "end": line.period[1]},
        "pretax_credit_amounts": [],
        "pricing": _pricing(line.price),
        "quantity": line.quantity,
        "subscription": line.subscription,
        "subtotal": line.amount,
        "taxes": [],
    }


def _parent(line: Line) -> dict[str, Any] | None:
    about = {"proration": line.is_proration, "proration_details": {"credited_items": None}}
    if line.invoice_item is not None:
        details = {"invoice_item": line.invoice_item, "subscription": line.subscription, **about}
        return {
            "invoice_item_details": details,
            "subscription_item_details": None,
            "type": "invoice_item_details",
        }
    if line.item is None:
        return None
    details = {
        "invoice_item": None,
        "subscription": line.subscription,
        "subscription_item": line.item,
        **about,
    }
    return {
        "invoice_item_details": None,
        "subscription_item_details": details,
        "type": "subscription_item_details",
    }


def _pricing(price: Obj | None) -> dict[str, Any] | None:
    if price is None:
        return None
    return {
        "price_details": {"price": price["id"], "product": price["product"]},
        "type": "price_details",
        "unit_amount_decimal": price["unit_amount_decimal"],
    }


def apply_discounts(fake: Fake, lines: list[Obj], discounts: list[str]) -> list[dict[str, Any]]:
    """Write each discount's share into the lines; returns the invoice's `total_discount_amounts`."""
    totals: list[dict[str, Any]] = []
    for discount_id in discounts:
        coupon, total = coupon_of(fake, discount_id), 0
        budget = coupon["amount_off"]
        for line in lines:
            if not line["discountable"]:
                continue
            left = line["amount"] - sum(row["amount"] for row in line["discount_amounts"])
            share = amount_off(coupon | {"amount_off": None if budget is None else budget - total}, left)
            line["discount_amounts"].append({"amount": share, "discount": discount_id})
            line["discounts"].append(discount_id)
            total += share
        totals.append({"amount": total, "discount": discount_id})
    return totals


def apply_tax(fake: Fake, lines: list[Obj]) -> list[dict[str, Any]]:
    """One fixed rate on top of what each line comes to; returns the invoice's `total_taxes`."""
    total = taxable_total = 0
    for line in lines:
        taxable = line["amount"] - sum(row["amount"] for row in line["discount_amounts"])
        tax = whole_cents(Decimal(taxable * fake.settings.tax_percent) / 100)
        line["taxes"] = [tax_row(tax, taxable)]
        total, taxable_total = total + tax, taxable_total + taxable
    return [tax_row(total, taxable_total)]


def tax_row(amount: int, taxable: int) -> dict[str, Any]:
    return {
        "amount": amount,
        "tax_behavior": "exclusive",
        "tax_rate_details": {"tax_rate": TAX_RATE},
        "taxability_reason": "standard_rated",
        "taxable_amount": taxable,
        "type": "tax_rate_details",
    }
