"""Which message leads to which fetch. Another one is a line of HANDLERS, unless a prefix covers it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Final, TypeAlias

from django.db import transaction

from apps.audit import services as audit
from apps.audit.refs import SYSTEM
from apps.billing.money import format_usd
from apps.payments.calls.customers import find_setup_metadata
from apps.payments.calls.money import find_intent
from apps.payments.calls.sessions import own_key
from apps.payments.customers import find_customer_row, one_at_a_time
from apps.payments.dispute_syncing import sync_dispute
from apps.payments.events import Message
from apps.payments.invoicing import sync_invoice
from apps.payments.mailing import tell_billing, tell_operators
from apps.payments.models import Card, Checkout, Payment, StripeCustomer
from apps.payments.pay_as_you_go import begin, follow_cards
from apps.payments.refund_syncing import sync_refunds
from apps.payments.stripe_api import StripeApi
from apps.payments.syncing import sync_checkout, sync_intent, sync_subscription

Handler: TypeAlias = Callable[[StripeApi, StripeCustomer, Message, datetime], None]


def handle(api: StripeApi, message: Message, *, now: datetime) -> str:
    """Make our rows fit what Stripe has now; why nothing was to be done, or "".

    Raises whatever fetching and writing raise; the message is then tried again.
    """
    if ".meter.error_report" in message.type:
        _meter_error(message, now=now)
        return ""
    handler = handler_of(message.type)
    if handler is None:
        return "nothing here depends on messages of this type"
    if not message.object_id:
        return "it is about something that does not exist yet"
    row = _customer_of(api, message)
    if row is None:
        return "it is about nobody who is a customer of this installation"
    with one_at_a_time(row.account_id):
        row.refresh_from_db()
        handler(api, row, message, now)
    return ""


def handler_of(event_type: str) -> Handler | None:
    """The handler of the longest prefix; None for types that mean nothing here."""
    found = [prefix for prefix in HANDLERS if event_type.startswith(prefix)]
    return HANDLERS[max(found, key=len)] if found else None


def _customer_of(api: StripeApi, message: Message) -> StripeCustomer | None:
    """By the message, or by what we know of its payment or card: refunds and disputes name no customer."""
    if message.customer_id:
        return find_customer_row(api, message.customer_id)
    if message.intent_id:
        payment = Payment.objects.filter(intent_id=message.intent_id).first()
        if payment is not None:
            return StripeCustomer.objects.select_related("account").filter(account=payment.account_id).first()
        intent = find_intent(api, message.intent_id)
        return find_customer_row(api, intent.customer_id) if intent is not None else None
    card = (
        Card.objects.select_related("customer__account").filter(payment_method_id=message.object_id).first()
    )
    return card.customer if card is not None else None


def _checkout(api: StripeApi, row: StripeCustomer, message: Message, now: datetime) -> None:
    sync_checkout(api, row=row, session_id=message.object_id, now=now)


def _subscription(api: StripeApi, row: StripeCustomer, message: Message, now: datetime) -> None:
    if not message.subscription_id:
        return
    sync_subscription(api, row=row, subscription_id=message.subscription_id, now=now)
    if message.type == "customer.subscription.trial_will_end":
        with transaction.atomic(durable=True):
            tell_billing(
                account=row.account,
                template="payments_trial_ends",
                context={"account": row.account.name},
                key=f"trial-ends:{message.subscription_id}",
                now=now,
            )


def _invoice(api: StripeApi, row: StripeCustomer, message: Message, now: datetime) -> None:
    seen = sync_invoice(api, row=row, invoice_id=message.object_id, now=now)
    if seen is None:
        return
    if seen.subscription_id:
        sync_subscription(api, row=row, subscription_id=seen.subscription_id, now=now)
    template = UNPAID_MAILS.get(message.type)
    if template is None or seen.status != "open":
        return
    with transaction.atomic(durable=True):
        tell_billing(
            account=row.account,
            template=template,
            context={
                "account": row.account.name,
                "number": seen.number,
                "amount": format_usd(seen.due_micro),
                "url": seen.hosted_url,
            },
            key=f"{template}:{seen.id}:{seen.attempts}",
            now=now,
        )


def _intent(api: StripeApi, row: StripeCustomer, message: Message, now: datetime) -> None:
    sync_intent(api, row=row, intent_id=message.object_id, now=now)


def _refunds(api: StripeApi, row: StripeCustomer, message: Message, now: datetime) -> None:
    if message.intent_id:
        sync_refunds(api, row=row, intent_id=message.intent_id, now=now)


def _dispute(api: StripeApi, row: StripeCustomer, message: Message, now: datetime) -> None:
    sync_dispute(api, row=row, dispute_id=message.object_id, now=now)


def _setup(api: StripeApi, row: StripeCustomer, message: Message, now: datetime) -> None:
    """Beside the visit's own message, which may be later or never come."""
    key = own_key(find_setup_metadata(api, message.object_id))
    checkout = Checkout.objects.filter(account=row.account, key=key).first()
    if checkout is not None:
        begin(api, row=row, checkout=checkout, setup_id=message.object_id, now=now)


def _cards(api: StripeApi, row: StripeCustomer, message: Message, now: datetime) -> None:
    follow_cards(api, row=row, now=now)


def _meter_error(message: Message, *, now: datetime) -> None:
    """Stripe could not count usage: reconciliation finds how much, an operator finds why."""
    with transaction.atomic(durable=True):
        audit.record(
            "payments.meter.failed", actor=SYSTEM, subject=SYSTEM, data={"event": message.event_id}, now=now
        )
        tell_operators(
            template="payments_meter_error",
            context={"event": message.event_id, "meter": message.object_id},
            key=f"meter-error:{message.event_id}",
            now=now,
        )


UNPAID_MAILS: Final = {
    "invoice.payment_failed": "payments_invoice_failed",
    "invoice.payment_action_required": "payments_confirm_payment",
}
HANDLERS: Final[Mapping[str, Handler]] = {
    "checkout.session.": _checkout,
    "customer.": _cards,
    "customer.subscription.": _subscription,
    "subscription_schedule.": _subscription,
    "invoice.": _invoice,
    "payment_intent.": _intent,
    "charge.refund": _refunds,
    "refund.": _refunds,
    "charge.dispute.": _dispute,
    "setup_intent.succeeded": _setup,
    "payment_method.": _cards,
}
