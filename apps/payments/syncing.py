"""Writing down what Stripe says: each function fetches an object as it is now and makes our rows fit.

Whatever order messages come in, and however often, the last fetch wins, and money is booked under keys made
of Stripe's ids: any order ends in the same state. Call all of these within `one_at_a_time` of the account.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.accounts.models import Account
from apps.audit.refs import SYSTEM
from apps.billing.ledger.services import top_up
from apps.payments import pay_as_you_go
from apps.payments.calls import money as calls
from apps.payments.calls.sessions import PURPOSE, find_session, own_key
from apps.payments.calls.subscriptions import find_subscription
from apps.payments.choices import CheckoutKind, CheckoutState, PaymentKind, SendState
from apps.payments.customers import sync_cards
from apps.payments.keeping import end_unpaid
from apps.payments.models import Checkout, Payment, StripeCustomer
from apps.payments.seen import IntentSeen, SessionSeen, SubscriptionSeen
from apps.payments.stripe_api import StripeApi
from apps.payments.subscribed import facts_of
from apps.plans.subscriptions import apply_subscription

TOP_UP_PURPOSES = {"top_up": PaymentKind.TOP_UP, "auto_top_up": PaymentKind.AUTO_TOP_UP}


def sync_subscription(api: StripeApi, *, row: StripeCustomer, subscription_id: str, now: datetime) -> None:
    """The subscription and the account's plan; or whether pay as you go is on."""
    seen = find_subscription(api, subscription_id)
    if seen is None:
        return
    if seen.metadata.get(PURPOSE) == pay_as_you_go.PAYG_PURPOSE:
        pay_as_you_go.write_metered(seen, row=row, now=now)
        return
    write_subscription(seen, account=row.account, now=now)


def write_subscription(seen: SubscriptionSeen, *, account: Account, now: datetime) -> None:
    """Nothing while its first payment is not made. Raises PriceUnknown."""
    facts = facts_of(seen)
    if facts is not None:
        apply_subscription(account=account, facts=facts, actor=SYSTEM, now=now)


def sync_checkout(api: StripeApi, *, row: StripeCustomer, session_id: str, now: datetime) -> None:
    """How a visit ended, and what it brought."""
    seen = find_session(api, session_id)
    if seen is None:
        return
    checkout = _checkout_of(seen, row)
    if checkout is None:
        return
    # What it brought comes first: after a crash in between, the visit is still to be dealt with.
    if seen.status == "complete":
        _take_in(api, seen, checkout, row=row, now=now)
    _end_checkout(checkout, seen, now=now)


def _checkout_of(seen: SessionSeen, row: StripeCustomer) -> Checkout | None:
    """Our row of a session; by its key, since a crash may have come before its id was written down."""
    return Checkout.objects.filter(account=row.account, key=own_key(seen.metadata)).first()


def _take_in(
    api: StripeApi, seen: SessionSeen, checkout: Checkout, *, row: StripeCustomer, now: datetime
) -> None:
    match checkout.kind:
        case CheckoutKind.PLAN:
            sync_subscription(api, row=row, subscription_id=seen.subscription_id, now=now)
            sync_cards(api, row=row, now=now)
        case CheckoutKind.TOP_UP:
            if seen.intent_id:
                sync_intent(api, row=row, intent_id=seen.intent_id, now=now)
        case CheckoutKind.CARD:
            pay_as_you_go.begin(api, row=row, checkout=checkout, setup_id=seen.setup_id, now=now)


def _end_checkout(checkout: Checkout, seen: SessionSeen, *, now: datetime) -> None:
    states = {
        "complete": CheckoutState.COMPLETE,
        "expired": CheckoutState.EXPIRED,
        "open": CheckoutState.OPEN,
    }
    state = states.get(seen.status, CheckoutState.OPEN)
    if state == CheckoutState.EXPIRED:
        end_unpaid(checkout, now=now)
    ended_at = None if state == CheckoutState.OPEN else checkout.ended_at or now
    Checkout.objects.filter(pk=checkout.pk).exclude(state=CheckoutState.COMPLETE).update(
        state=state, session_id=seen.id, url=seen.url or checkout.url, ended_at=ended_at
    )


def sync_intent(api: StripeApi, *, row: StripeCustomer, intent_id: str, now: datetime) -> None:
    """A payment into the wallet. One for an invoice is written down with that."""
    seen = calls.find_intent(api, intent_id)
    if seen is not None and seen.metadata.get(PURPOSE) in TOP_UP_PURPOSES:
        write_top_up(seen, row=row, now=now)


def write_top_up(seen: IntentSeen, *, row: StripeCustomer, now: datetime) -> None:
    """Money that has come goes into the wallet, once; the payment's row says so."""
    payment = _payment_of(seen, row, now=now)
    if seen.status == "canceled" and payment.paid_at is None:
        Payment.objects.filter(pk=payment.pk, failed_at=None).update(state=SendState.SENT, failed_at=now)
    if seen.status != "succeeded" or payment.paid_at is not None or seen.received_micro == 0:
        return
    with transaction.atomic(durable=True):
        first = Payment.objects.filter(pk=payment.pk, paid_at=None)
        change = {"net_micro": seen.received_micro, "paid_at": seen.created, "failed_at": None}
        if first.update(**change, intent_id=seen.id, state=SendState.SENT, sent_at=now) != 1:
            return
        top_up(
            account_id=row.account_id,
            amount_micro=seen.received_micro,
            key=f"topup:{seen.id}",
            memo=payment.get_kind_display(),
            now=now,
        )


def _payment_of(seen: IntentSeen, row: StripeCustomer, *, now: datetime) -> Payment:
    """The row of an intent: an automatic one is older than the intent, others come with the money."""
    kind = TOP_UP_PURPOSES[seen.metadata[PURPOSE]]
    if kind == PaymentKind.AUTO_TOP_UP:
        asked = Payment.objects.filter(account=row.account_id, key=own_key(seen.metadata)).first()
        if asked is not None:
            return asked
    payment, _ = Payment.objects.get_or_create(
        intent_id=seen.id,
        defaults={
            "account_id": row.account_id,
            "is_live": row.is_live,
            "kind": kind,
            "state": SendState.SENT,
            "net_micro": seen.received_micro,
            "due_at": now,
            "created_at": seen.created,
        },
    )
    return payment
