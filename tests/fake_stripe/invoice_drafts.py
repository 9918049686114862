"""Drafts of invoices, and what their lines come to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fake_stripe.events import emit
from tests.fake_stripe.intents import SMALLEST_CHARGE
from tests.fake_stripe.invoice_lines import Line, apply_discounts, apply_tax, line_object
from tests.fake_stripe.store import Obj, as_list

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake


def make_invoice(
    fake: Fake,
    *,
    customer: Obj,
    lines: list[Line],
    reason: str,
    subscription: Obj | None = None,
    discounts: list[str] | None = None,
    is_taxed: bool = False,
    metadata: dict[str, str] | None = None,
    is_preview: bool = False,
) -> Obj:
    """A draft with its totals. A preview is not kept."""
    object_id = fake.store.new_id("upcoming_in" if is_preview else "in")
    rows = [line_object(fake, line, invoice=object_id) for line in lines]
    now = fake.clock.now()
    parent = subscription and {
        "quote_details": None,
        "subscription_details": {
            "metadata": dict(subscription["metadata"]),
            "subscription": subscription["id"],
        },
        "type": "subscription_details",
    }
    invoice: Obj = {
        "id": object_id,
        "object": "invoice",
        "account_country": "US",
        "account_name": "Fake",
        "amount_overpaid": 0,
        "amount_paid": 0,
        "amount_shipping": 0,
        "attempt_count": 0,
        "attempted": False,
        "auto_advance": subscription is not None,
        "automatic_tax": {
            "disabled_reason": None,
            "enabled": is_taxed,
            "liability": {"type": "self"} if is_taxed else None,
            "provider": "stripe" if is_taxed else None,
            "status": "complete" if is_taxed else None,
        },
        "automatically_finalizes_at": None,
        "billing_reason": reason,
        "collection_method": "charge_automatically",
        "created": now,
        "currency": "usd",
        "customer": customer["id"],
        "customer_address": customer["address"],
        "customer_email": customer["email"],
        "customer_name": customer["name"],
        "default_payment_method": None,
        "description": None,
        "discounts": list(discounts or []),
        "due_date": None,
        "effective_at": None,
        "ending_balance": None,
        "hosted_invoice_url": None,
        "invoice_pdf": None,
        "last_finalization_error": None,
        "lines": as_list(rows, url=f"/v1/invoices/{object_id}/lines"),
        "livemode": False,
        "metadata": metadata or {},
        "next_payment_attempt": None,
        "number": None,
        "parent": parent,
        "period_end": now,
        "period_start": now,
        "receipt_number": None,
        "starting_balance": customer["balance"],
        "status": "draft",
        "status_transitions": dict.fromkeys(
            ("finalized_at", "marked_uncollectible_at", "paid_at", "voided_at")
        ),
    }
    compute_totals(fake, invoice)
    if not is_preview:
        fake.store.add(invoice)
        emit(fake, "invoice.created", invoice)
    return invoice


def compute_totals(fake: Fake, invoice: Obj) -> None:
    """From the lines, with the customer's balance as it is now."""
    rows = invoice["lines"]["data"]
    for row in rows:
        row.update(discount_amounts=[], discounts=[], taxes=[])
    subtotal = sum(row["amount"] for row in rows)
    discounts = apply_discounts(fake, rows, invoice["discounts"])
    taxes = apply_tax(fake, rows) if invoice["automatic_tax"]["enabled"] else []
    net = subtotal - sum(row["amount"] for row in discounts)
    total = net + sum(row["amount"] for row in taxes)
    due = max(0, total + invoice["starting_balance"])
    invoice.update(
        subtotal=subtotal,
        subtotal_excluding_tax=subtotal,
        total=total,
        total_excluding_tax=net,
        total_discount_amounts=discounts,
        total_pretax_credit_amounts=[],
        total_taxes=taxes,
        amount_due=0 if due < SMALLEST_CHARGE else due,
        amount_remaining=0 if due < SMALLEST_CHARGE else due,
    )
