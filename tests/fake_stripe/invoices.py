"""Invoices from draft to paid: finalizing and collecting. Subscriptions follow what happens here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.fake_stripe import intents
from tests.fake_stripe.clock import DAY_S, HOUR_S, Due
from tests.fake_stripe.errors import Refusal, invalid
from tests.fake_stripe.events import emit
from tests.fake_stripe.invoice_drafts import compute_totals
from tests.fake_stripe.store import Obj

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake

DRAFT_S = HOUR_S
"""How long a renewal's invoice stays a draft."""


def finalize(fake: Fake, invoice: Obj) -> Obj:
    """Gets its number and its links. What is not worth charging, or owed, moves to the customer's balance."""
    if invoice["status"] != "draft":
        raise invalid("This invoice is already finalized, you can't re-finalize a non-draft invoice.")
    customer = fake.store.get("customer", invoice["customer"])
    invoice["starting_balance"] = customer["balance"]
    compute_totals(fake, invoice)
    now, sequence = fake.clock.now(), customer["next_invoice_sequence"]
    customer["next_invoice_sequence"] += 1
    customer["balance"] = invoice["total"] + customer["balance"] - invoice["amount_due"]
    invoice.update(
        status="open",
        number=f"{customer['invoice_prefix']}-{sequence:04d}",
        effective_at=now,
        ending_balance=customer["balance"],
        automatically_finalizes_at=None,
        hosted_invoice_url=f"{fake.url}/i/{invoice['id']}",
        invoice_pdf=f"{fake.url}/i/{invoice['id']}/pdf",
        status_transitions=invoice["status_transitions"] | {"finalized_at": now},
    )
    emit(fake, "invoice.finalized", invoice)
    if invoice["amount_due"] == 0:
        mark_paid(fake, invoice)
    else:
        _open_payment(fake, invoice)
    return invoice


def _open_payment(fake: Fake, invoice: Obj) -> None:
    intent = intents.make_intent(
        fake,
        amount=invoice["amount_due"],
        customer=invoice["customer"],
        description="Subscription update" if invoice["parent"] else "Invoice",
        setup_future_usage="off_session" if invoice["parent"] else None,
    )
    fake.store.notes[intent["id"]]["invoice"] = invoice["id"]
    fake.store.notes[invoice["id"]]["intent"] = intent["id"]
    row = {
        "id": fake.store.new_id("inpay"),
        "object": "invoice_payment",
        "amount_paid": None,
        "amount_requested": invoice["amount_due"],
        "created": fake.clock.now(),
        "currency": "usd",
        "invoice": invoice["id"],
        "is_default": True,
        "livemode": False,
        "payment": {"payment_intent": intent["id"], "type": "payment_intent"},
        "status": "open",
        "status_transitions": {"canceled_at": None, "paid_at": None},
    }
    fake.store.add(row)


def payment_rows(fake: Fake, invoice: Obj) -> list[Obj]:
    return [row for row in fake.store.every("invoice_payment") if row["invoice"] == invoice["id"]]


def card_for(fake: Fake, invoice: Obj) -> Obj | None:
    """The invoice's own, else the subscription's, else the customer's default."""
    ids = [invoice["default_payment_method"]]
    if invoice["parent"]:
        subscription = fake.store.find(invoice["parent"]["subscription_details"]["subscription"])
        ids.append((subscription or {}).get("default_payment_method"))
    ids.append(fake.store.get("customer", invoice["customer"])["invoice_settings"]["default_payment_method"])
    found = (fake.store.find(card_id) for card_id in ids if card_id)
    return next((card for card in found if card and card["customer"]), None)


def collect(fake: Fake, invoice: Obj, *, card: Obj | None = None, off_session: bool = True) -> Refusal | None:
    """One attempt. Returns the bank's refusal; what it means for the invoice has been written down then."""
    if invoice["status"] != "open":
        return None
    invoice.update(attempt_count=invoice["attempt_count"] + 1, attempted=True)
    intent = fake.store.get("payment_intent", fake.store.notes[invoice["id"]]["intent"])
    card = card or card_for(fake, invoice)
    if card is None:
        _note_failure(fake, invoice)
        return invalid("This customer has no attached payment source or default payment method.")
    try:
        intents.confirm(fake, intent, card, off_session=off_session)
    except Refusal as refusal:
        return refusal
    return None


def follow_intent(fake: Fake, intent: Obj) -> None:
    invoice = fake.store.find(fake.store.notes[intent["id"]].get("invoice"))
    if invoice is None or invoice["status"] != "open":
        return
    if intent["status"] == "succeeded":
        mark_paid(fake, invoice)
    elif intent["status"] == "requires_action":
        emit(fake, "invoice.payment_action_required", invoice)
        _tell(fake, invoice)
    elif intent["status"] == "requires_payment_method":
        is_for_owner = (intent["last_payment_error"] or {}).get("code") == "authentication_required"
        if is_for_owner:
            emit(fake, "invoice.payment_action_required", invoice)
        _note_failure(fake, invoice)


def _note_failure(fake: Fake, invoice: Obj) -> None:
    waits = fake.settings.retry_days
    count = invoice["attempt_count"]
    is_retried = invoice["auto_advance"] and invoice["billing_reason"] == "subscription_cycle"
    later = fake.clock.now() + waits[count - 1] * DAY_S if is_retried and count <= len(waits) else None
    invoice["next_payment_attempt"] = later
    emit(fake, "invoice.payment_failed", invoice)
    _tell(fake, invoice)


def mark_paid(fake: Fake, invoice: Obj, *, is_out_of_band: bool = False) -> None:
    now = fake.clock.now()
    invoice.update(
        status="paid",
        attempted=True,
        amount_paid=0 if is_out_of_band else invoice["amount_due"],
        amount_remaining=0,
        next_payment_attempt=None,
        status_transitions=invoice["status_transitions"] | {"paid_at": now},
    )
    for row in payment_rows(fake, invoice):
        row.update(
            status="paid",
            amount_paid=row["amount_requested"],
            status_transitions=row["status_transitions"] | {"paid_at": now},
        )
        emit(fake, "invoice_payment.paid", row)
    emit(fake, "invoice.paid", invoice)
    emit(fake, "invoice.payment_succeeded", invoice)
    _tell(fake, invoice)


def void(fake: Fake, invoice: Obj) -> Obj:
    if invoice["status"] not in {"open", "uncollectible", "draft"}:
        raise invalid(f"You can't void an invoice that is {invoice['status']}.")
    _end_payments(fake, invoice)
    invoice.update(
        status="void",
        auto_advance=False,
        next_payment_attempt=None,
        status_transitions=invoice["status_transitions"] | {"voided_at": fake.clock.now()},
    )
    emit(fake, "invoice.voided", invoice)
    _tell(fake, invoice)
    return invoice


def mark_uncollectible(fake: Fake, invoice: Obj) -> Obj:
    if invoice["status"] not in {"open", "draft"}:
        raise invalid(f"You can't mark an invoice uncollectible that is {invoice['status']}.")
    moment = invoice["status_transitions"] | {"marked_uncollectible_at": fake.clock.now()}
    invoice.update(
        status="uncollectible", auto_advance=False, next_payment_attempt=None, status_transitions=moment
    )
    emit(fake, "invoice.marked_uncollectible", invoice)
    _tell(fake, invoice)
    return invoice


def _end_payments(fake: Fake, invoice: Obj) -> None:
    for row in payment_rows(fake, invoice):
        row["status"] = "canceled"
        intent = fake.store.get("payment_intent", row["payment"]["payment_intent"])
        if intent["status"] in intents.OPEN_STATES:
            intents.cancel_intent(fake, intent, "void_invoice")


def _tell(fake: Fake, invoice: Obj) -> None:
    for told in fake.when_invoice_changes:
        told(fake, invoice)


def finalize_and_collect(fake: Fake, invoice: Obj, *, off_session: bool = True) -> Refusal | None:
    finalize(fake, invoice)
    return collect(fake, invoice, off_session=off_session)


def dues(fake: Fake) -> Iterator[Due]:
    for invoice in fake.store.every("invoice"):
        if invoice["status"] == "draft" and invoice["automatically_finalizes_at"]:
            at, act = invoice["automatically_finalizes_at"], finalize_and_collect
        elif invoice["status"] == "open" and invoice["next_payment_attempt"]:
            at, act = invoice["next_payment_attempt"], collect
        else:
            continue
        yield Due(at=at, order=3, run=lambda act=act, invoice=invoice: act(fake, invoice))
