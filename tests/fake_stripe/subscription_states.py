"""What payments, time and people do to the state of a subscription."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fake_stripe import invoices
from tests.fake_stripe.events import changing, emit
from tests.fake_stripe.store import Obj
from tests.fake_stripe.subscription_bills import bill_now, take_pending, usage_lines
from tests.fake_stripe.subscription_objects import ENDED_STATES, period_of, set_price

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake

UPDATED = "customer.subscription.updated"


def subscription_of(fake: Fake, invoice: Obj) -> Obj | None:
    if invoice["parent"] is None:
        return None
    return fake.store.find(invoice["parent"]["subscription_details"]["subscription"])


def follow_invoice(fake: Fake, invoice: Obj) -> None:
    subscription = subscription_of(fake, invoice)
    if subscription is None or subscription["status"] in ENDED_STATES:
        return
    match invoice["status"]:
        case "paid":
            _invoice_paid(fake, subscription, invoice)
        case "open":
            _invoice_failed(fake, subscription, invoice)
        case "void":
            if subscription["status"] == "incomplete":
                with changing(fake, subscription, UPDATED):
                    subscription.update(status="incomplete_expired", ended_at=fake.clock.now())


def _invoice_paid(fake: Fake, subscription: Obj, invoice: Obj) -> None:
    if fake.store.notes[subscription["id"]].get("pending_invoice") == invoice["id"]:
        apply_pending_update(fake, subscription)
        return
    with changing(fake, subscription, UPDATED):
        if subscription["status"] == "incomplete" or (
            subscription["status"] in {"past_due", "unpaid"} and not _unpaid(fake, subscription)
        ):
            subscription["status"] = "active"


def _unpaid(fake: Fake, subscription: Obj) -> list[Obj]:
    return [
        row
        for row in fake.store.every("invoice")
        if row["status"] == "open" and row["attempted"] and subscription_of(fake, row) is subscription
    ]


def _invoice_failed(fake: Fake, subscription: Obj, invoice: Obj) -> None:
    if fake.store.notes[subscription["id"]].get("pending_invoice") == invoice["id"]:
        return
    if subscription["status"] == "active":
        with changing(fake, subscription, UPDATED):
            subscription["status"] = "past_due"
    is_given_up = (
        invoice["next_payment_attempt"] is None and invoice["billing_reason"] == "subscription_cycle"
    )
    if is_given_up and invoice["attempt_count"] > len(fake.settings.retry_days):
        _give_up(fake, subscription)


def _give_up(fake: Fake, subscription: Obj) -> None:
    """All attempts failed: the account's settings say what follows."""
    if fake.settings.after_retries == "cancel":
        end(fake, subscription, reason="payment_failed")
    elif fake.settings.after_retries == "unpaid":
        with changing(fake, subscription, UPDATED):
            subscription["status"] = "unpaid"


def end(fake: Fake, subscription: Obj, *, reason: str, is_billed: bool = False) -> Obj:
    """Canceled now. `is_billed`: what was used or kept is invoiced first; open invoices are left alone."""
    now = fake.clock.now()
    start, _ = period_of(subscription)
    if is_billed:
        lines = usage_lines(fake, subscription, since=start, until=now)
        kept = take_pending(fake, customer=subscription["customer"], subscription=subscription["id"])
        if any(line.amount for line in [*kept, *lines]):
            bill_now(fake, subscription, [*kept, *lines], reason="subscription_update")
    for invoice in fake.store.every("invoice"):
        if subscription_of(fake, invoice) is subscription and invoice["status"] in {"open", "draft"}:
            invoice.update(auto_advance=False, next_payment_attempt=None)
    was_incomplete = subscription["status"] == "incomplete"
    details = subscription["cancellation_details"] | {"reason": reason}
    subscription.update(
        status="incomplete_expired" if was_incomplete and reason == "expired" else "canceled",
        canceled_at=subscription["canceled_at"] or now,
        ended_at=now,
        cancellation_details=details,
        pending_update=None,
    )
    release_schedule_of(fake, subscription)
    emit(fake, "customer.subscription.deleted", subscription)
    return subscription


def release_schedule_of(fake: Fake, subscription: Obj) -> None:
    schedule = fake.store.find(subscription["schedule"])
    if schedule is None:
        return
    subscription["schedule"] = None
    schedule.update(status="canceled", canceled_at=fake.clock.now(), current_phase=None)
    emit(fake, "subscription_schedule.canceled", schedule)


def apply_pending_update(fake: Fake, subscription: Obj) -> None:
    """The payment that a change waited for came."""
    notes = fake.store.notes[subscription["id"]]
    for item, price, quantity in notes.pop("pending_items"):
        live = next(row for row in subscription["items"]["data"] if row["id"] == item)
        set_price(live, fake.store.get("price", price))
        if quantity is not None:
            live["quantity"] = quantity
    del notes["pending_invoice"]
    subscription["pending_update"] = None
    emit(fake, "customer.subscription.pending_update_applied", subscription)
    emit(fake, UPDATED, subscription)


def expire_pending_update(fake: Fake, subscription: Obj) -> None:
    """The payment did not come: the invoice is void, and nothing has changed."""
    notes = fake.store.notes[subscription["id"]]
    invoice = fake.store.get("invoice", notes.pop("pending_invoice"))
    notes.pop("pending_items")
    subscription["pending_update"] = None
    emit(fake, "customer.subscription.pending_update_expired", subscription)
    invoices.void(fake, invoice)
