"""What subscriptions put on invoices: the period ahead, usage of the one behind, changes in between."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.fake_stripe import invoices, meters
from tests.fake_stripe.coupons import amount_off, coupon_of
from tests.fake_stripe.errors import Refusal
from tests.fake_stripe.events import changing, emit
from tests.fake_stripe.invoice_drafts import make_invoice
from tests.fake_stripe.invoice_lines import Line
from tests.fake_stripe.products import amount_of
from tests.fake_stripe.proration import share
from tests.fake_stripe.store import Obj
from tests.fake_stripe.subscription_objects import items_of, period_of

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake


def name_of(fake: Fake, price: Obj) -> str:
    return str(fake.store.get("product", price["product"])["name"])


def period_lines(fake: Fake, subscription: Obj) -> list[Line]:
    """The fixed prices of the period that runs now, or nothing to pay for a trial."""
    is_trial = subscription["status"] == "trialing"
    lines = []
    for item in items_of(subscription):
        quantity = item.get("quantity")
        if quantity is None:
            continue
        name = name_of(fake, item["price"])
        lines.append(
            Line(
                amount=0 if is_trial else amount_of(item["price"], quantity),
                description=f"Trial period for {name}" if is_trial else f"{quantity} × {name}",
                period=period_of(subscription),
                price=item["price"],
                quantity=quantity,
                subscription=subscription["id"],
                item=item["id"],
                metadata=dict(subscription["metadata"]),
            )
        )
    return lines


def usage_lines(fake: Fake, subscription: Obj, *, since: int, until: int) -> list[Line]:
    """Metered usage of [since, until); summed exactly and rounded to a cent once a line."""
    lines = []
    for item in items_of(subscription):
        if item.get("quantity") is not None:
            continue
        meter = fake.store.get("billing.meter", item["price"]["recurring"]["meter"])
        used = meters.usage(fake, meter, subscription["customer"], since=since, until=until, is_billing=True)
        lines.append(
            Line(
                amount=amount_of(item["price"], used),
                description=f"{used} × {name_of(fake, item['price'])}",
                period=(since, until),
                price=item["price"],
                quantity=int(used),
                subscription=subscription["id"],
                item=item["id"],
                metadata=dict(subscription["metadata"]),
            )
        )
    return lines


def net_amount(fake: Fake, subscription: Obj, price: Obj, quantity: int) -> int:
    """A period's price after the discounts in force: what prorations are shares of."""
    left = amount_of(price, quantity)
    for discount_id in subscription["discounts"]:
        if fake.store.find(discount_id) is not None:
            left -= amount_off(coupon_of(fake, discount_id), left)
    return left


def change_lines(
    fake: Fake, subscription: Obj, item: Obj, *, price: Obj, quantity: int | None, at: int
) -> list[Line]:
    """The unused time of the old price back, the rest of the period at the new one. None in a trial."""
    if subscription["status"] == "trialing" or item.get("quantity") is None or quantity is None:
        return []
    start, end = period_of(subscription)
    lines = []
    for sign, whose, count, words in (
        (-1, item["price"], item["quantity"], "Unused time on"),
        (1, price, quantity, "Remaining time on"),
    ):
        net = net_amount(fake, subscription, whose, count)
        lines.append(
            Line(
                amount=sign * share(net, start=start, end=end, at=at),
                description=f"{words} {name_of(fake, whose)}",
                period=(at, end),
                price=whose,
                quantity=count,
                subscription=subscription["id"],
                item=item["id"],
                is_proration=True,
                metadata=dict(subscription["metadata"]),
            )
        )
    return lines


def add_pending(fake: Fake, subscription: Obj, lines: list[Line]) -> None:
    """Keep the lines for the next invoice."""
    for line in lines:
        add_invoice_item(fake, customer=subscription["customer"], line=line)


def add_invoice_item(fake: Fake, *, customer: str, line: Line) -> Obj:
    details = {"subscription": line.subscription, "subscription_item": line.item}
    item = {
        "id": fake.store.new_id("ii"),
        "object": "invoiceitem",
        "amount": line.amount,
        "currency": "usd",
        "customer": customer,
        "date": fake.clock.now(),
        "description": line.description,
        "discountable": not line.is_proration,
        "discounts": [],
        "invoice": None,
        "livemode": False,
        "metadata": dict(line.metadata),
        "net_amount": line.amount,
        "parent": (
            {"subscription_details": details, "type": "subscription_details"} if line.subscription else None
        ),
        "period": {"start": line.period[0], "end": line.period[1]},
        "pricing": None,
        "proration": line.is_proration,
        "quantity": line.quantity or 1,
        "tax_rates": [],
        "test_clock": None,
    }
    fake.store.notes[item["id"]]["line"] = line
    fake.store.add(item)
    emit(fake, "invoiceitem.created", item)
    return item


def take_pending(
    fake: Fake, *, customer: str, subscription: str | None, invoice: str | None = None
) -> list[Line]:
    """The kept lines of a subscription, or of a customer without one; they are used up by `invoice`."""
    taken = []
    for item in fake.store.every("invoiceitem"):
        line: Line = fake.store.notes[item["id"]]["line"]
        if (
            item["invoice"] is None
            and item["customer"] == customer
            and line.subscription in {subscription, None}
        ):
            item["invoice"] = invoice or "taken"
            taken.append(
                Line(
                    amount=line.amount,
                    description=line.description,
                    period=line.period,
                    price=line.price,
                    quantity=line.quantity,
                    subscription=line.subscription,
                    invoice_item=item["id"],
                    is_proration=line.is_proration,
                    metadata=line.metadata,
                )
            )
    return taken


def bill(fake: Fake, subscription: Obj, lines: list[Line], *, reason: str) -> Obj:
    """A draft with the lines and whatever was kept for it; becomes the latest invoice."""
    customer = fake.store.get("customer", subscription["customer"])
    lines = [*take_pending(fake, customer=customer["id"], subscription=subscription["id"]), *lines]
    invoice = make_invoice(
        fake,
        customer=customer,
        lines=lines,
        reason=reason,
        subscription=subscription,
        discounts=_discounts_in_force(fake, subscription),
        is_taxed=subscription["automatic_tax"]["enabled"],
    )
    for line in lines:
        if line.invoice_item:
            fake.store.get("invoiceitem", line.invoice_item)["invoice"] = invoice["id"]
    subscription["latest_invoice"] = invoice["id"]
    if reason != "subscription_update":
        _use_up_discounts(fake, subscription)
    return invoice


def bill_now(fake: Fake, subscription: Obj, lines: list[Line], *, reason: str) -> Refusal | None:
    """Finalized and collected at once. Returns the bank's refusal."""
    return invoices.finalize_and_collect(fake, bill(fake, subscription, lines, reason=reason))


def _discounts_in_force(fake: Fake, subscription: Obj) -> list[str]:
    now = fake.clock.now()
    rows = [fake.store.get("discount", discount_id) for discount_id in subscription["discounts"]]
    return [row["id"] for row in rows if row["end"] is None or now < row["end"]]


def _use_up_discounts(fake: Fake, subscription: Obj) -> None:
    """Those for one invoice have had theirs, once a period was paid for; those that ended go."""
    if subscription["status"] == "trialing":
        return
    with changing(fake, subscription, "customer.subscription.updated"):
        subscription["discounts"] = [
            discount_id
            for discount_id in _discounts_in_force(fake, subscription)
            if coupon_of(fake, discount_id)["duration"] != "once"
        ]
