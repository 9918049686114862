"""The two sides of the books that `reconcile` compares: micro-USD by Stripe's id, or by account."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

from django.db import connection

from apps.billing.choices import Source
from apps.payments.calls.catalogue import ensure_meter
from apps.payments.calls.money import (
    every_dispute,
    every_intent,
    every_invoice,
    every_refund,
    metered_micro,
)
from apps.payments.calls.sessions import PURPOSE
from apps.payments.models import MeterBatch, Payment, StripeCustomer
from apps.payments.pay_as_you_go import PAYG_PURPOSE
from apps.payments.refund_sending import FAILED
from apps.payments.stripe_api import StripeApi
from apps.payments.syncing import TOP_UP_PURPOSES

DISPUTES_LAST: Final = timedelta(days=120)
"""At most, as a rule: each day those of the last months are compared, whose end may be that day's."""


def _sums(query: str, *values: str | datetime | bool) -> dict[str, int]:
    """A query of names and amounts."""
    with connection.cursor() as cursor:
        cursor.execute(query, list(values))
        return {str(name): int(micro) for name, micro in cursor.fetchall() if micro}


def our_top_ups(api: StripeApi, since: datetime, until: datetime) -> dict[str, int]:
    """What the ledger says came in, by intent, on the day on which Stripe made the intent."""
    return _sums(
        """
        SELECT payment.intent_id, entry.amount_micro
          FROM payments_payment AS payment
          LEFT JOIN billing_ledgerentry AS entry ON entry.key = 'topup:' || payment.intent_id
         WHERE payment.kind IN ('top_up', 'auto_top_up') AND payment.paid_at >= %s AND payment.paid_at < %s
           AND entry.amount_micro IS NOT NULL AND payment.is_live = %s
        """,
        since,
        until,
        api.config.is_live,
    )


def their_top_ups(api: StripeApi, since: datetime, until: datetime) -> dict[str, int]:
    return {
        seen.id: seen.received_micro
        for seen in every_intent(api, since=since, until=until)
        if seen.metadata.get(PURPOSE) in TOP_UP_PURPOSES and seen.received_micro
    }


def our_refunds(since: datetime, until: datetime) -> dict[str, int]:
    """What went back, by refund, tax included; those that failed went nowhere."""
    return _sums(
        """
        SELECT refund_id, net_micro + tax_micro FROM payments_refund
         WHERE refund_id IS NOT NULL AND reversed_at IS NULL
           AND sent_at >= %s AND sent_at < %s
        """,
        since,
        until,
    )


def their_refunds(api: StripeApi, since: datetime, until: datetime) -> dict[str, int]:
    """Only of payments that we know: others may use the same Stripe account."""
    known = _known_intents()
    return {
        seen.id: seen.amount_micro
        for seen in every_refund(api, since=since, until=until)
        if seen.status not in FAILED and seen.intent_id in known
    }


def _known_intents() -> set[str | None]:
    return set(Payment.objects.exclude(intent_id=None).values_list("intent_id", flat=True))


def our_disputes(since: datetime, until: datetime) -> dict[str, int]:
    """What disputes of the last months took out of our cash, fees included, by dispute."""
    return _sums(
        """
        SELECT dispute.dispute_id, sum(line.amount_micro) FROM payments_dispute AS dispute
          JOIN billing_ledgerentry AS entry
            ON entry.key IN ('dispute:' || dispute.dispute_id, 'dispute-won:' || dispute.dispute_id)
            OR entry.key LIKE 'dispute-fee:' || dispute.dispute_id || ':%%'
          JOIN billing_ledgerline AS line ON line.entry_id = entry.id
          JOIN billing_ledgeraccount AS place ON place.id = line.ledger_account_id AND place.kind = 'cash'
         WHERE dispute.opened_at >= %s AND dispute.opened_at < %s
         GROUP BY dispute.dispute_id
        """,
        since - DISPUTES_LAST,
        until,
    )


def their_disputes(api: StripeApi, since: datetime, until: datetime) -> dict[str, int]:
    """What Stripe took out of our balance there, of payments that we know."""
    known = _known_intents()
    return {
        seen.id: -sum(move.net_micro for move in seen.moves)
        for seen in every_dispute(api, since=since - DISPUTES_LAST, until=until)
        if seen.intent_id in known
    }


def invoices(
    api: StripeApi, since: datetime, until: datetime, *, is_metered: bool
) -> tuple[dict[str, int], dict[str, int]]:
    """What was paid on invoices that Stripe made that day, by invoice: booked here, and collected there."""
    customers = set(StripeCustomer.objects.values_list("customer_id", flat=True))
    theirs = {}
    for seen in every_invoice(api, since=since, until=until):
        is_usage = seen.subscription_metadata.get(PURPOSE) == PAYG_PURPOSE
        is_paid = seen.status == "paid" and seen.paid_micro > 0
        if is_paid and is_usage == is_metered and seen.customer_id in customers:
            theirs[seen.id] = seen.paid_micro
    prefix = "paid:" if is_metered else "payment:"
    ours = _sums(
        """
        SELECT mirror.invoice_id, entry.amount_micro
          FROM payments_stripeinvoice AS mirror JOIN billing_ledgerentry AS entry
               ON entry.key = %s || mirror.invoice_id
         WHERE mirror.issued_at >= %s AND mirror.issued_at < %s AND mirror.is_live = %s
        """,
        prefix,
        since,
        until,
        api.config.is_live,
    )
    return ours, theirs


def usage_by_account() -> dict[str, int]:
    """All pay-as-you-go usage ever of customers at Stripe: nothing may be lost at a border of days."""
    return _sums(
        """
        SELECT usage.account_id, sum(usage.price_micro) FROM billing_usageevent AS usage
          JOIN payments_stripecustomer AS customer
            ON customer.account_id = usage.account_id AND customer.customer_id IS NOT NULL
         WHERE usage.funding = %s AND usage.price_micro > 0
         GROUP BY usage.account_id
        """,
        Source.PAYG,
    )


def batched_by_account() -> dict[str, int]:
    return _sums("SELECT account_id, sum(value_micro) FROM payments_meterbatch GROUP BY account_id")


def metered(api: StripeApi, since: datetime, until: datetime) -> tuple[dict[str, int], dict[str, int]]:
    """By customer: batches of that day, and what the meter counted that day.

    What was told before the customer there is now, was told of an earlier one.
    """
    ours = _sums(
        """
        SELECT customer.customer_id, sum(batch.value_micro) FROM payments_meterbatch AS batch
          JOIN payments_stripecustomer AS customer ON customer.account_id = batch.account_id
         WHERE batch.minute >= %s AND batch.minute < %s AND customer.customer_id IS NOT NULL
           AND batch.state <> 'refused' AND (batch.sent_at IS NULL OR batch.sent_at >= customer.created_at)
         GROUP BY customer.customer_id
        """,
        since,
        until,
    )
    return ours, dict(_counted(api, since, until))


def _counted(api: StripeApi, since: datetime, until: datetime) -> Iterator[tuple[str, int]]:
    billed = MeterBatch.objects.values("account_id")
    customers = StripeCustomer.objects.filter(account_id__in=billed).exclude(customer_id=None)
    ids = list(customers.values_list("customer_id", flat=True))
    if not ids:
        return
    meter_id = ensure_meter(api)
    for customer_id in ids:
        if customer_id:
            yield (
                customer_id,
                metered_micro(api, meter_id=meter_id, customer_id=customer_id, since=since, until=until),
            )
