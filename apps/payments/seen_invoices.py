"""Stripe's invoices as we read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from apps.payments.seen import id_of, moment, money, optional_moment, texts
from apps.payments.stripe_api import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLineSeen:
    price_id: str
    amount_micro: int
    """What is charged for it: whole cents, after discounts, before tax."""
    quantity: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceSeen:
    id: str
    number: str
    status: str
    """draft, open, paid, uncollectible or void."""
    billing_reason: str
    customer_id: str
    subscription_id: str
    subscription_metadata: Mapping[str, str]
    total_micro: int
    tax_micro: int
    due_micro: int
    paid_micro: int
    attempts: int
    """How often it was tried to collect it."""
    lines: tuple[InvoiceLineSeen, ...]
    intent_id: str
    """Of the payment that was made; "" for none, e.g. for what a credit balance paid."""
    hosted_url: str
    pdf_url: str
    period_start: datetime
    period_end: datetime
    created: datetime
    paid_at: datetime | None


def read_invoice(data: Json) -> InvoiceSeen:
    """Of an invoice with `payments` expanded."""
    currency = data["currency"]
    parent = (data.get("parent") or {}).get("subscription_details") or {}
    transitions = data.get("status_transitions") or {}
    return InvoiceSeen(
        id=data["id"],
        number=str(data.get("number") or ""),
        status=str(data.get("status") or "draft"),
        billing_reason=str(data.get("billing_reason") or ""),
        customer_id=id_of(data.get("customer")),
        subscription_id=id_of(parent.get("subscription")),
        subscription_metadata=texts(parent.get("metadata")),
        total_micro=money(data["total"], currency),
        tax_micro=sum(money(tax["amount"], currency) for tax in data.get("total_taxes") or []),
        due_micro=money(data.get("amount_remaining"), currency),
        paid_micro=money(data.get("amount_paid"), currency),
        attempts=int(data.get("attempt_count") or 0),
        lines=tuple(_read_line(line, currency) for line in data["lines"]["data"]),
        intent_id=_paying_intent(data.get("payments")),
        hosted_url=str(data.get("hosted_invoice_url") or ""),
        pdf_url=str(data.get("invoice_pdf") or ""),
        period_start=moment(data["period_start"]),
        period_end=moment(data["period_end"]),
        created=moment(data["created"]),
        paid_at=optional_moment(transitions.get("paid_at")),
    )


def _read_line(line: Json, currency: str) -> InvoiceLineSeen:
    pricing = (line.get("pricing") or {}).get("price_details") or {}
    discounts = sum(int(each["amount"]) for each in line.get("discount_amounts") or [])
    return InvoiceLineSeen(
        price_id=id_of(pricing.get("price")),
        amount_micro=money(int(line["amount"]) - discounts, currency),
        quantity=int(line.get("quantity") or 0),
    )


def _paying_intent(payments: Any) -> str:
    """The intent that paid, else the default one, which is the one to be confirmed (Any: JSON)."""
    rows = (payments or {}).get("data") or []
    chosen = [row for row in rows if row["status"] == "paid"] or [
        row for row in rows if row.get("is_default")
    ]
    return id_of(chosen[0]["payment"].get("payment_intent")) if chosen else ""
