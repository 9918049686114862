"""Pay-as-you-go usage, told to Stripe's meter: each event in exactly one batch, each batch counted once.

A batch is what an account used since its last one. Whether Stripe has counted it can be read from the meter
for ever, since no other batch of the account has its minute; identifiers are forgotten after a day.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import Final

from django.db import connection, transaction

from apps.billing.choices import Source
from apps.core.db import take_transaction_lock
from apps.core.errors import DomainError
from apps.payments.calls.catalogue import ensure_meter
from apps.payments.calls.money import metered_micro, send_meter_event
from apps.payments.choices import CheckoutKind, CheckoutState, SendState
from apps.payments.connection import open_api
from apps.payments.errors import PaymentRefused, PaymentsNotConfigured
from apps.payments.models import MeterBatch, StripeCustomer
from apps.payments.outbox import BATCH, is_key_forgotten, note_attempt, note_failure
from apps.payments.stripe_api import StripeApi

LATECOMERS: Final = 100_000
"""More usage events than can be written while a single transaction is still open."""
MAX_AGE: Final = timedelta(days=34)
"""Stripe's meters take no older events (35 days); what waited longer is told as of now."""
MINUTE: Final = timedelta(minutes=1)

COLLECT = """
WITH fresh AS MATERIALIZED (
    SELECT usage.id, usage.account_id, usage.price_micro FROM billing_usageevent AS usage
     WHERE usage.funding = %(payg)s AND usage.price_micro > 0 AND usage.id > %(after)s
       AND NOT EXISTS (SELECT FROM payments_meteredusage AS known WHERE known.usage_event_id = usage.id)
       AND NOT EXISTS (SELECT FROM billing_invoicedusage AS invoiced
                        WHERE invoiced.event_id = usage.id AND NOT invoiced.is_void)
       AND NOT EXISTS (SELECT FROM billing_invoiceterms AS terms WHERE terms.account_id = usage.account_id)
       AND EXISTS (SELECT FROM payments_stripecustomer AS customer
                    WHERE customer.account_id = usage.account_id AND customer.customer_id IS NOT NULL
                      AND customer.payg_subscription_id <> '')
       -- Its visit to Stripe began before anything could be billed to the card.
       AND EXISTS (SELECT FROM payments_checkout AS visit
                     JOIN payments_stripecustomer AS visitor
                       ON visitor.account_id = visit.account_id AND visitor.is_live = visit.is_live
                    WHERE visit.account_id = usage.account_id AND visit.kind = %(card)s
                      AND visit.state = %(complete)s AND visit.created_at <= usage.at)
       AND NOT EXISTS (SELECT FROM payments_meterbatch AS batch
                        WHERE batch.account_id = usage.account_id AND batch.minute = %(minute)s)
), batch AS (
    INSERT INTO payments_meterbatch
                (key, state, attempts, due_at, last_error, account_id, minute, value_micro)
    SELECT gen_random_uuid(), %(waiting)s, 0, %(now)s, '', account_id, %(minute)s, sum(price_micro)
      FROM fresh GROUP BY account_id
    RETURNING id, account_id
)
INSERT INTO payments_meteredusage (usage_event_id, batch_id)
SELECT fresh.id, batch.id FROM fresh JOIN batch USING (account_id)
"""

log = logging.getLogger(__name__)


def collect_usage(*, now: datetime) -> int:
    """Put what no batch has into batches, one an account; how many usage events.

    Two at once wait for each other. An account that has a batch of this very minute comes with the next.
    Only of accounts that pay as they go at Stripe, and since they gave their card: who pays by invoice of
    ours is not metered, and what is on such an invoice is not either.
    """
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        take_transaction_lock("payments.metering")
        cursor.execute("SELECT COALESCE(max(usage_event_id), 0) FROM payments_meteredusage")
        [newest] = cursor.fetchone() or (0,)
        cursor.execute(
            COLLECT,
            {
                "payg": Source.PAYG,
                "after": newest - LATECOMERS,
                "minute": now.replace(second=0, microsecond=0),
                "waiting": SendState.WAITING,
                "now": now,
                "card": CheckoutKind.CARD,
                "complete": CheckoutState.COMPLETE,
            },
        )
        return int(cursor.rowcount)


def send_due_batches(*, now: datetime) -> int:
    """Tell Stripe of batches that are due; how many it has now."""
    due = MeterBatch.objects.filter(state=SendState.WAITING, due_at__lte=now).order_by("due_at", "pk")
    batches = list(due[:BATCH])
    if not batches:
        return 0
    try:
        api = open_api()
    except PaymentsNotConfigured:
        return 0
    rows = StripeCustomer.objects.filter(account_id__in={batch.account_id for batch in batches})
    customers = dict(rows.values_list("account_id", "customer_id"))
    return sum(_send(api, batch, customers.get(batch.account_id), now=now) for batch in batches)


def _send(api: StripeApi, batch: MeterBatch, customer_id: str | None, *, now: datetime) -> bool:
    if not note_attempt(batch, now=now):
        return False
    if not customer_id:
        note_failure(batch, "The account is no customer at Stripe any more.")
        return False
    try:
        if is_key_forgotten(batch, now=now) and _is_counted(api, batch, customer_id):
            return _note_sent(batch, now=now)
        _keep_young(batch, now=now)
        send_meter_event(
            api,
            identifier=batch.identifier,
            customer_id=customer_id,
            value_micro=batch.value_micro,
            at=batch.minute,
        )
    except PaymentRefused as refusal:
        return _judge_refusal(batch, refusal, now=now)
    except DomainError as failure:
        note_failure(batch, str(failure))
        return False
    return _note_sent(batch, now=now)


def _judge_refusal(batch: MeterBatch, refusal: PaymentRefused, *, now: datetime) -> bool:
    """A repetition of what Stripe has counted is refused, too; anything else waits for an operator's help."""
    if "identifier" in str(refusal) and batch.attempts > 1:
        return _note_sent(batch, now=now)
    log.error("Stripe's meter refuses %s: %s", batch, refusal)
    note_failure(batch, str(refusal))
    return False


def _is_counted(api: StripeApi, batch: MeterBatch, customer_id: str) -> bool:
    counted = metered_micro(
        api,
        meter_id=ensure_meter(api),
        customer_id=customer_id,
        since=batch.minute,
        until=batch.minute + MINUTE,
    )
    return counted > 0


def _keep_young(batch: MeterBatch, *, now: datetime) -> None:
    """A batch that has waited for weeks gets a minute that Stripe still takes; it was never counted."""
    if now - batch.minute <= MAX_AGE:
        return
    minute = now.replace(second=0, microsecond=0)
    while MeterBatch.objects.filter(account=batch.account_id, minute=minute).exists():
        minute -= MINUTE
    batch.minute = minute
    batch.save(update_fields=["minute"])


def _note_sent(batch: MeterBatch, *, now: datetime) -> bool:
    MeterBatch.objects.filter(pk=batch.pk, state=SendState.WAITING).update(
        state=SendState.SENT, sent_at=now, last_error=""
    )
    return True
