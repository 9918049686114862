"""Changes of a running subscription: another price or quantity, its end, a pause, the end of a trial."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.fake_stripe import coupons, invoices
from tests.fake_stripe.clock import HOUR_S, next_boundary
from tests.fake_stripe.errors import Refusal, invalid
from tests.fake_stripe.events import changing
from tests.fake_stripe.invoice_lines import Line
from tests.fake_stripe.params import Params, merge_metadata
from tests.fake_stripe.routes import Route
from tests.fake_stripe.store import Obj
from tests.fake_stripe.subscription_bills import add_pending, bill, bill_now, change_lines, period_lines
from tests.fake_stripe.subscription_objects import (
    interval_of,
    items_of,
    period_of,
    quantity_for,
    read_price,
    set_period,
    set_price,
)
from tests.fake_stripe.subscription_states import UPDATED
from tests.fake_stripe.subscriptions import (
    BEHAVIOURS,
    live_subscription,
    require_tax_location,
    set_cancel_at_period_end,
)

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake

PENDING_S = 23 * HOUR_S
PRORATIONS = {"create_prorations", "always_invoice", "none"}


@dataclass(frozen=True, slots=True)
class Change:
    """Of one item."""

    item: Obj
    price: Obj
    quantity: int | None


def read_changes(fake: Fake, subscription: Obj, rows: list[Params]) -> list[Change]:
    """Raises Stripe's 400 for items that are not the subscription's: this fake adds and removes none."""
    by_id = {item["id"]: item for item in items_of(subscription)}
    changes = []
    for row in rows:
        item = by_id.get(row.need("id"))
        if item is None:
            raise invalid(
                f"No such subscription item: '{row.text('id')}'", code="resource_missing", param="items"
            )
        price = read_price(fake, row) if "price" in row else item["price"]
        quantity = quantity_for(price, row) if "quantity" in row else item.get("quantity")
        if price["recurring"]["interval"] != item["price"]["recurring"]["interval"]:
            raise invalid("This fake's subscriptions keep their interval.", param="items")
        changes.append(Change(item, price, quantity))
    return changes


def lines_of(fake: Fake, subscription: Obj, changes: list[Change], *, at: int) -> list[Line]:
    return [
        line
        for change in changes
        if change.price["id"] != change.item["price"]["id"] or change.quantity != change.item.get("quantity")
        for line in change_lines(
            fake, subscription, change.item, price=change.price, quantity=change.quantity, at=at
        )
    ]


def change_items(
    fake: Fake,
    subscription: Obj,
    changes: list[Change],
    *,
    proration: str,
    behaviour: str = "allow_incomplete",
    at: int | None = None,
) -> None:
    """Apply the changes, and charge or keep what they come to. Raises 402 where nothing may change then."""
    lines = lines_of(fake, subscription, changes, at=fake.clock.now() if at is None else at)
    if proration == "always_invoice" and lines and behaviour == "pending_if_incomplete":
        _change_once_paid(fake, subscription, changes, lines)
        return
    with changing(fake, subscription, UPDATED):
        for change in changes:
            set_price(change.item, change.price)
            if change.quantity is not None:
                change.item["quantity"] = change.quantity
    if proration == "none" or not lines:
        return
    if proration == "create_prorations":
        add_pending(fake, subscription, lines)
        return
    invoice = bill(fake, subscription, lines, reason="subscription_update")
    refusal = invoices.finalize_and_collect(fake, invoice)
    if refusal is not None and behaviour == "error_if_incomplete":
        raise refusal


def _change_once_paid(fake: Fake, subscription: Obj, changes: list[Change], lines: list[Line]) -> None:
    """The change waits for its payment for 23 hours; what is paid at once takes effect at once."""
    notes = fake.store.notes[subscription["id"]]
    if "pending_invoice" in notes:
        raise invalid("This subscription has a pending update already.")
    invoice = bill(fake, subscription, lines, reason="subscription_update")
    notes["pending_invoice"] = invoice["id"]
    notes["pending_items"] = [(change.item["id"], change.price["id"], change.quantity) for change in changes]
    invoices.finalize_and_collect(fake, invoice, off_session=False)
    if "pending_invoice" not in notes:
        return
    with changing(fake, subscription, UPDATED):
        items = [change.item | {"price": change.price} for change in changes]
        subscription["pending_update"] = {
            "billing_cycle_anchor": None,
            "discounts": None,
            "expires_at": fake.clock.now() + PENDING_S,
            "subscription_items": items,
            "trial_end": None,
            "trial_from_plan": None,
        }


def end_trial(fake: Fake, subscription: Obj, *, behaviour: str = "allow_incomplete") -> None:
    """The first paid period begins now. Raises 402 where nothing may change unless it is paid."""
    now = fake.clock.now()
    interval, count = interval_of(subscription)
    with changing(fake, subscription, UPDATED):
        set_period(subscription, now, next_boundary(now, now, interval=interval, count=count))
        subscription.update(status="active", trial_end=now, billing_cycle_anchor=now)
    refusal = bill_now(fake, subscription, period_lines(fake, subscription), reason="subscription_update")
    if refusal is not None and behaviour == "error_if_incomplete":
        raise refusal


def _apply_plain(fake: Fake, subscription: Obj, params: Params) -> None:
    """What costs nothing and waits for nobody."""
    subscription["metadata"] = merge_metadata(subscription["metadata"], params)
    for name in ("description", "default_payment_method"):
        if name in params:
            subscription[name] = params.text(name)
    if "cancel_at_period_end" in params:
        wanted = params.flag("cancel_at_period_end")
        if subscription["schedule"] and wanted:
            raise invalid("The subscription is managed by a subscription schedule; release it first.")
        if wanted != subscription["cancel_at_period_end"]:
            set_cancel_at_period_end(fake, subscription, is_canceled=wanted)
    if "cancel_at" in params:
        subscription["cancel_at"] = params.whole("cancel_at")
        subscription["canceled_at"] = fake.clock.now() if subscription["cancel_at"] else None
    if "pause_collection" in params:
        node = params.node("pause_collection")
        pause = {"behavior": node.need("behavior"), "resumes_at": node.whole("resumes_at")} if node else None
        subscription["pause_collection"] = pause
    if "automatic_tax" in params:
        is_on = params.node("automatic_tax").flag("enabled")
        if is_on:
            require_tax_location(fake.store.get("customer", subscription["customer"]))
        subscription["automatic_tax"] = subscription["automatic_tax"] | {"enabled": is_on}
    if "discounts" in params:
        subscription["discounts"] = [
            coupons.redeem(
                fake,
                coupon,
                code,
                customer=subscription["customer"],
                subscription=subscription["id"],
                session=None,
            )["id"]
            for coupon, code in coupons.chosen(fake, params.rows("discounts"))
        ]


def _move_trial_end(fake: Fake, subscription: Obj, params: Params, *, behaviour: str) -> None:
    if params.text("trial_end") == "now":
        if subscription["status"] == "trialing":
            end_trial(fake, subscription, behaviour=behaviour)
        return
    at = params.whole("trial_end")
    if at is None or at <= fake.clock.now() or subscription["status"] != "trialing":
        raise invalid("trial_end must be in the future, of a subscription on trial", param="trial_end")
    with changing(fake, subscription, UPDATED):
        set_period(subscription, period_of(subscription)[0], at)
        subscription.update(trial_end=at, billing_cycle_anchor=at)


def update(fake: Fake, params: Params, subscription_id: str) -> Obj:
    behaviour = params.choice("payment_behavior", BEHAVIOURS, "allow_incomplete")
    proration = params.choice("proration_behavior", PRORATIONS, "create_prorations")
    try:
        with fake.all_or_nothing():
            subscription = live_subscription(fake, subscription_id)
            changes = read_changes(fake, subscription, params.rows("items"))
            with changing(fake, subscription, UPDATED):
                _apply_plain(fake, subscription, params)
            if changes:
                change_items(
                    fake,
                    subscription,
                    changes,
                    proration=proration,
                    behaviour=behaviour,
                    at=params.whole("proration_date"),
                )
            if "trial_end" in params:
                _move_trial_end(fake, subscription, params, behaviour=behaviour)
            return subscription
    except Refusal as refusal:
        # What it names was undone with everything else.
        refusal.fields.pop("payment_intent", None)
        raise


ROUTES = [
    Route(
        "POST",
        "/v1/subscriptions/{id}",
        update,
        "SubscriptionModifyParams",
        "items.id items.price items.quantity proration_behavior proration_date payment_behavior off_session"
        " cancel_at_period_end cancel_at default_payment_method description metadata metadata.* trial_end"
        " pause_collection pause_collection.behavior pause_collection.resumes_at automatic_tax.enabled"
        " discounts discounts.coupon discounts.promotion_code",
    ),
]
