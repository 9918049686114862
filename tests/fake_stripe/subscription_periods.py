"""What time does to subscriptions: renewals, ends of trials and pauses, notices, expiries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from tests.fake_stripe import invoices
from tests.fake_stripe.clock import DAY_S, HOUR_S, Due, next_boundary
from tests.fake_stripe.events import changing, emit
from tests.fake_stripe.invoice_lines import Line
from tests.fake_stripe.store import Obj
from tests.fake_stripe.subscription_bills import bill, period_lines, take_pending, usage_lines
from tests.fake_stripe.subscription_objects import ENDED_STATES, interval_of, period_of, set_period
from tests.fake_stripe.subscription_states import UPDATED, end, expire_pending_update

if TYPE_CHECKING:
    from tests.fake_stripe.fake import Fake

NOTICE_S = 3 * DAY_S
FIRST_PAYMENT_S = 23 * HOUR_S
ORDER = 2


def renew(fake: Fake, subscription: Obj) -> None:
    """The period is over: the next begins, or the subscription ends."""
    start, over = period_of(subscription)
    if subscription["cancel_at_period_end"]:
        _end_with_period(fake, subscription, start, over)
        return
    if (
        subscription["status"] == "trialing"
        and not _has_card(fake, subscription)
        and _ends_without(fake, subscription)
    ):
        return
    used = usage_lines(fake, subscription, since=start, until=over)
    interval, count = interval_of(subscription)
    with changing(fake, subscription, UPDATED):
        anchor = subscription["billing_cycle_anchor"]
        set_period(subscription, over, next_boundary(anchor, over, interval=interval, count=count))
        if subscription["status"] == "trialing":
            subscription["status"] = "active"
        _draft_renewal(fake, subscription, used)


def _draft_renewal(fake: Fake, subscription: Obj, used: list[Line]) -> None:
    lines = [*used, *period_lines(fake, subscription)]
    invoice = bill(fake, subscription, lines, reason="subscription_cycle")
    if subscription["status"] == "unpaid":
        invoice["auto_advance"] = False
        return
    behaviour = (subscription["pause_collection"] or {}).get("behavior")
    if behaviour == "keep_as_draft":
        invoice["auto_advance"] = False
    elif behaviour == "void":
        invoices.void(fake, invoice)
    elif behaviour == "mark_uncollectible":
        invoices.mark_uncollectible(fake, invoice)
    else:
        invoice["automatically_finalizes_at"] = fake.clock.now() + invoices.DRAFT_S


def _end_with_period(fake: Fake, subscription: Obj, start: int, over: int) -> None:
    lines = usage_lines(fake, subscription, since=start, until=over)
    lines += take_pending(fake, customer=subscription["customer"], subscription=subscription["id"])
    if any(line.amount for line in lines):
        invoice = bill(fake, subscription, lines, reason="subscription_cycle")
        invoice["automatically_finalizes_at"] = fake.clock.now() + invoices.DRAFT_S
        at = invoice["automatically_finalizes_at"]
        end(fake, subscription, reason="cancellation_requested")
        # Ending leaves open invoices alone; this one is the last that is still collected.
        invoice.update(auto_advance=True, automatically_finalizes_at=at)
        return
    end(fake, subscription, reason="cancellation_requested")


def _has_card(fake: Fake, subscription: Obj) -> bool:
    customer = fake.store.get("customer", subscription["customer"])
    ids = (subscription["default_payment_method"], customer["invoice_settings"]["default_payment_method"])
    return any(card and card["customer"] for card in map(fake.store.find, ids))


def _ends_without(fake: Fake, subscription: Obj) -> bool:
    """A trial that nobody can pay for the rest of, where its settings say more than "make an invoice"."""
    behaviour = subscription["trial_settings"]["end_behavior"]["missing_payment_method"]
    if behaviour == "cancel":
        end(fake, subscription, reason="cancellation_requested")
    elif behaviour == "pause":
        subscription["status"] = "paused"
        emit(fake, "customer.subscription.paused", subscription)
    return behaviour != "create_invoice"


def _notify_trial_end(fake: Fake, subscription: Obj) -> None:
    fake.store.notes[subscription["id"]]["has_notice"] = True
    emit(fake, "customer.subscription.trial_will_end", subscription)


def _expire_first_payment(fake: Fake, subscription: Obj) -> None:
    invoices.void(fake, fake.store.get("invoice", subscription["latest_invoice"]))


def _resume(fake: Fake, subscription: Obj) -> None:
    with changing(fake, subscription, UPDATED):
        subscription["pause_collection"] = None


def _waiting(fake: Fake, subscription: Obj) -> Iterator[tuple[int, Callable[[Fake, Obj], object]]]:
    notes = fake.store.notes[subscription["id"]]
    if subscription["status"] == "incomplete":
        yield subscription["created"] + FIRST_PAYMENT_S, _expire_first_payment
        return
    if subscription["status"] != "paused":
        yield period_of(subscription)[1], renew
    if subscription["status"] == "trialing" and not notes.get("has_notice"):
        yield max(subscription["trial_end"] - NOTICE_S, subscription["created"] + 1), _notify_trial_end
    if (pause := subscription["pause_collection"]) and pause["resumes_at"]:
        yield pause["resumes_at"], _resume
    if subscription["cancel_at"] and not subscription["cancel_at_period_end"]:
        yield subscription["cancel_at"], lambda fake, row: end(fake, row, reason="cancellation_requested")
    if subscription["pending_update"]:
        yield subscription["pending_update"]["expires_at"], expire_pending_update


def dues(fake: Fake) -> Iterator[Due]:
    for subscription in fake.store.every("subscription"):
        if subscription["status"] in ENDED_STATES:
            continue
        for at, act in _waiting(fake, subscription):
            yield Due(
                at=at, order=ORDER, run=lambda act=act, subscription=subscription: act(fake, subscription)
            )
