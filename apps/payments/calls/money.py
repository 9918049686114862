"""Payments, refunds, disputes, invoices and the meter at Stripe."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

from apps.payments.calls.catalogue import METER_EVENT
from apps.payments.calls.sessions import KEY, PURPOSE
from apps.payments.seen import (
    DisputeSeen,
    IntentSeen,
    RefundSeen,
    id_of,
    read_dispute,
    read_intent,
    read_refund,
)
from apps.payments.seen_invoices import InvoiceSeen, read_invoice
from apps.payments.stripe_api import StripeApi, once


def find_intent(api: StripeApi, intent_id: str) -> IntentSeen | None:
    data = api.find(lambda client: client.v1.payment_intents.retrieve(intent_id))
    return None if data is None else read_intent(data)


def charge_off_session(
    api: StripeApi, *, key: UUID, customer_id: str, card_id: str, cents: int
) -> IntentSeen:
    """Take money from a card on file while its owner is elsewhere. Raises CardDeclined."""
    return read_intent(
        api.ask(
            lambda client: client.v1.payment_intents.create(
                {
                    "amount": cents,
                    "currency": "usd",
                    "customer": customer_id,
                    "payment_method": card_id,
                    "off_session": True,
                    "confirm": True,
                    "description": "Automatic wallet top-up",
                    "metadata": {PURPOSE: "auto_top_up", KEY: str(key)},
                },
                once(f"auto-top-up-{key}"),
            )
        )
    )


def create_refund(api: StripeApi, *, key: UUID, intent_id: str, cents: int) -> RefundSeen:
    """Give money back. Raises PaymentRefused when Stripe does not hold that much of it any more."""
    return read_refund(
        api.ask(
            lambda client: client.v1.refunds.create(
                {
                    "payment_intent": intent_id,
                    "amount": cents,
                    "reason": "requested_by_customer",
                    "metadata": {KEY: str(key)},
                },
                once(f"refund-{key}"),
            )
        )
    )


def list_refunds(api: StripeApi, intent_id: str) -> list[RefundSeen]:
    """All of one payment."""
    rows = api.every(lambda client: client.v1.refunds.list({"payment_intent": intent_id, "limit": 100}))
    return [read_refund(row) for row in rows]


def find_dispute(api: StripeApi, dispute_id: str) -> DisputeSeen | None:
    data = api.find(lambda client: client.v1.disputes.retrieve(dispute_id))
    return None if data is None else read_dispute(data)


def every_dispute(api: StripeApi, *, since: datetime, until: datetime) -> Iterator[DisputeSeen]:
    """Disputes that were opened in a stretch of time."""
    rows = api.every(
        lambda client: client.v1.disputes.list(
            {"created": {"gte": int(since.timestamp()), "lt": int(until.timestamp())}, "limit": 100}
        )
    )
    return (read_dispute(row) for row in rows)


def find_invoice(api: StripeApi, invoice_id: str) -> InvoiceSeen | None:
    """None for one that is not there: drafts are deleted."""
    data = api.find(lambda client: client.v1.invoices.retrieve(invoice_id, {"expand": ["payments"]}))
    return None if data is None else read_invoice(data)


def find_invoice_of_intent(api: StripeApi, intent_id: str) -> str:
    """Id of the invoice that a payment is for; "" for none."""
    rows = api.every(
        lambda client: client.v1.invoice_payments.list(
            {"payment": {"type": "payment_intent", "payment_intent": intent_id}, "limit": 1}
        )
    )
    return next((id_of(row["invoice"]) for row in rows), "")


def list_intents(api: StripeApi, customer_id: str) -> list[IntentSeen]:
    """All payments of a customer, newest first."""
    rows = api.every(lambda client: client.v1.payment_intents.list({"customer": customer_id, "limit": 100}))
    return [read_intent(row) for row in rows]


def send_meter_event(
    api: StripeApi, *, identifier: str, customer_id: str, value_micro: int, at: datetime
) -> None:
    """Count usage of one customer. Raises PaymentRefused for a repetition that Stripe still remembers."""
    api.ask(
        lambda client: client.v1.billing.meter_events.create(
            {
                "event_name": METER_EVENT,
                "payload": {"stripe_customer_id": customer_id, "value": str(value_micro)},
                "identifier": identifier,
                "timestamp": int(at.timestamp()),
            },
            once(identifier),
        )
    )


def metered_micro(
    api: StripeApi, *, meter_id: str, customer_id: str, since: datetime, until: datetime
) -> int:
    """What the meter has counted of one customer; both times are whole minutes."""
    rows = api.every(
        lambda client: client.v1.billing.meters.event_summaries.list(
            meter_id,
            {
                "customer": customer_id,
                "start_time": int(since.timestamp()),
                "end_time": int(until.timestamp()),
                "limit": 100,
            },
        )
    )
    # The sums are whole numbers, far below what a float holds exactly.
    return sum(round(row["aggregated_value"]) for row in rows)


def every_intent(api: StripeApi, *, since: datetime, until: datetime) -> Iterator[IntentSeen]:
    """Payments that were begun in a stretch of time."""
    rows = api.every(
        lambda client: client.v1.payment_intents.list(
            {"created": {"gte": int(since.timestamp()), "lt": int(until.timestamp())}, "limit": 100}
        )
    )
    return (read_intent(row) for row in rows)


def every_refund(api: StripeApi, *, since: datetime, until: datetime) -> Iterator[RefundSeen]:
    """Refunds that were made in a stretch of time."""
    rows = api.every(
        lambda client: client.v1.refunds.list(
            {"created": {"gte": int(since.timestamp()), "lt": int(until.timestamp())}, "limit": 100}
        )
    )
    return (read_refund(row) for row in rows)


def every_invoice(api: StripeApi, *, since: datetime, until: datetime) -> Iterator[InvoiceSeen]:
    """Invoices that were made in a stretch of time."""
    rows = api.every(
        lambda client: client.v1.invoices.list(
            {
                "created": {"gte": int(since.timestamp()), "lt": int(until.timestamp())},
                "limit": 100,
                "expand": ["data.payments"],
            }
        )
    )
    return (read_invoice(row) for row in rows)
