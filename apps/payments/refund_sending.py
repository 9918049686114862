"""Asking Stripe to give money back: at once, and again until it has answered."""

from __future__ import annotations

import logging
from datetime import datetime

from django.db import transaction

from apps.billing.money import to_cents
from apps.core.errors import DomainError
from apps.payments.calls.money import create_refund, list_refunds
from apps.payments.calls.sessions import own_key
from apps.payments.calls.subscriptions import cancel_now, find_subscription
from apps.payments.choices import PaymentKind, SendState
from apps.payments.connection import open_api
from apps.payments.errors import CardDeclined, PaymentRefused
from apps.payments.models import Refund
from apps.payments.outbox import BATCH, is_key_forgotten, note_attempt, note_failure
from apps.payments.refund_books import put_back
from apps.payments.seen import RefundSeen
from apps.payments.stripe_api import StripeApi

FAILED = frozenset({"failed", "canceled"})
log = logging.getLogger(__name__)


def send_due_refunds(*, now: datetime) -> int:
    """Whatever Stripe has not heard of yet; how many it has now."""
    due = Refund.objects.filter(state=SendState.WAITING, is_ours=True, due_at__lte=now)
    return sum(send_refund(row, now=now) for row in due.select_related("payment").order_by("due_at")[:BATCH])


def send_refund(refund: Refund, *, now: datetime) -> bool:
    """Ask Stripe for one refund; whether it has answered. When Stripe is down, the schedule asks again."""
    if refund.state != SendState.WAITING or not note_attempt(refund, now=now):
        return False
    try:
        api = open_api()
        seen = _ask(api, refund, now=now)
    except (PaymentRefused, CardDeclined) as refusal:
        put_back(refund, reason=str(refusal), now=now)
        return True
    except DomainError as failure:
        return _wait(refund, failure)
    try:
        take_answer(api, refund, seen, now=now)
    except DomainError as failure:
        # The money is on its way: whatever fails now is tried again, and never put back.
        return _wait(refund, failure)
    return True


def _wait(refund: Refund, failure: DomainError) -> bool:
    log.warning("refund %s waits: %s", refund.key, failure)
    note_failure(refund, str(failure))
    return False


def take_answer(api: StripeApi, refund: Refund, seen: RefundSeen, *, now: datetime) -> None:
    """What Stripe says of a refund that we asked for: a plan ends once its payment is on its way back.

    The plan first: while it goes on, the refund's row waits and is looked at again. Raises what Stripe's
    calls raise.
    """
    if refund.state == SendState.WAITING and seen.status not in FAILED:
        _end_plan(api, refund)
    _write_own_refund(refund, seen, now=now)


def _end_plan(api: StripeApi, refund: Refund) -> None:
    """Who takes the first payment back has no plan any more; no further invoice follows."""
    subscription_id = refund.payment.subscription_id
    if refund.payment.kind != PaymentKind.SUBSCRIPTION or not subscription_id:
        return
    seen = find_subscription(api, subscription_id)
    if seen is not None and seen.status not in ("canceled", "incomplete_expired"):
        cancel_now(api, subscription_id)


def _ask(api: StripeApi, refund: Refund, *, now: datetime) -> RefundSeen:
    intent_id = refund.payment.intent_id or ""
    if is_key_forgotten(refund, now=now):
        made = (seen for seen in list_refunds(api, intent_id) if own_key(seen.metadata) == refund.key)
        found = next(made, None)
        if found is not None:
            return found
    cents = to_cents(refund.net_micro + refund.tax_micro).cents
    return create_refund(api, key=refund.key, intent_id=intent_id, cents=cents)


def _write_own_refund(refund: Refund, seen: RefundSeen, *, now: datetime) -> None:
    with transaction.atomic(durable=True):
        Refund.objects.filter(pk=refund.pk, state=SendState.WAITING).update(
            state=SendState.SENT, refund_id=seen.id, sent_at=seen.created, last_error=""
        )
    if seen.status in FAILED:
        put_back(refund, reason=f"Stripe says the refund {seen.status}.", now=now)
