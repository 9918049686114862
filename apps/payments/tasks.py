"""django-q2 entry points. The rows are the truth; a task too many finds nothing to do."""

from __future__ import annotations

from apps.core.clock import now
from apps.payments import auto_top_up, closing, inbox, metering, refund_sending
from apps.payments import reconcile as books


def handle_events() -> int:
    """Messages from Stripe that could not be handled when they came; due once a minute."""
    return inbox.handle_due_events(now=now())


def send() -> int:
    """Refunds, and batches for the meter, that Stripe has not heard of; due once a minute."""
    moment = now()
    return refund_sending.send_due_refunds(now=moment) + metering.send_due_batches(now=moment)


def end_closed() -> int:
    """What Stripe still bills to accounts that were closed; due once a minute."""
    return closing.end_billing_of_closed(now=now())


def fill_wallets() -> int:
    """Automatic top-ups; due once a minute."""
    return auto_top_up.run_auto_top_ups(now=now())


def meter_usage() -> int:
    """Pay-as-you-go usage into batches, which `send` sends; due every few minutes."""
    return metering.collect_usage(now=now())


def reconcile() -> int:
    """Yesterday's books against Stripe's, once a day; due once an hour."""
    return books.reconcile_yesterday(now=now())


def prune() -> int:
    """Forget old messages; due once an hour."""
    return inbox.prune_events(now=now())
