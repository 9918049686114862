"""Whether our books and Stripe's agree: every day, to the micro-dollar, with the cases by name.

Payments and refunds are compared one by one, by Stripe's ids. Usage is compared as sums: usage events against
batches, batches against what the meter has counted for each customer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from django.db import connection, transaction

from apps.audit import services as audit
from apps.audit.refs import SYSTEM, JsonValue
from apps.billing.choices import Source
from apps.billing.money import format_usd
from apps.payments.calls.catalogue import ensure_meter
from apps.payments.calls.money import every_intent, every_invoice, every_refund, metered_micro
from apps.payments.calls.sessions import PURPOSE
from apps.payments.connection import open_api
from apps.payments.errors import PaymentsNotConfigured
from apps.payments.mailing import tell_operators
from apps.payments.models import MeterBatch, ReconcileReport, StripeCustomer
from apps.payments.pay_as_you_go import PAYG_PURPOSE
from apps.payments.refund_sending import FAILED
from apps.payments.stripe_api import StripeApi
from apps.payments.syncing import TOP_UP_PURPOSES

EXAMPLES: Final = 20
SETTLES_AFTER: Final = timedelta(hours=2)
"""After midnight: webhooks have arrived by then, and Stripe's meters have caught up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportLine:
    """One kind of money on both sides."""

    name: str
    ours_micro: int
    stripes_micro: int
    difference_micro: int
    """Of the single cases, as positive amounts: errors that cancel each other out are two."""
    cases: tuple[str, ...]
    """The first of those that differ."""


def reconcile_yesterday(*, now: datetime) -> int:
    """The report of the last whole day (UTC), unless there is one; how many were made."""
    day = (now - SETTLES_AFTER).astimezone(UTC).date() - timedelta(days=1)
    if ReconcileReport.objects.filter(day=day).exists():
        return 0
    try:
        reconcile(day=day, now=now)
    except PaymentsNotConfigured:
        return 0
    return 1


def reconcile(*, day: date, now: datetime) -> ReconcileReport:
    """Compare one day (UTC) and keep the report; operators get a mail when anything differs.

    Raises PaymentsNotConfigured, and what Stripe's calls raise: half a comparison is none.
    """
    api = open_api()
    since = datetime.combine(day, time.min, tzinfo=UTC)
    until = since + timedelta(days=1)
    lines = [
        _compare("top-ups", _our_top_ups(since, until), _their_top_ups(api, since, until)),
        _compare("refunds", _our_refunds(since, until), _their_refunds(api, since, until)),
        _compare("plan invoices", *_invoices(api, since, until, is_metered=False)),
        _compare("usage invoices", *_invoices(api, since, until, is_metered=True)),
        _compare("usage in batches", _usage_by_account(), _batched_by_account()),
        _compare("batches on meters", *_metered(api, since, until)),
    ]
    difference = sum(line.difference_micro for line in lines)
    with transaction.atomic(durable=True):
        report = ReconcileReport.objects.create(
            day=day,
            made_at=now,
            lines=[asdict(line) for line in lines],
            difference_micro=difference,
        )
        data: dict[str, JsonValue] = {"day": day.isoformat(), "difference_micro": difference}
        audit.record("payments.books.compared", actor=SYSTEM, subject=SYSTEM, data=data, now=now)
        if difference:
            tell_operators(
                template="payments_books_differ",
                context={"day": day, "difference": format_usd(difference), "lines": lines},
                key=f"books:{report.pk}",
                now=now,
            )
    return report


def _compare(name: str, ours: Mapping[str, int], theirs: Mapping[str, int]) -> ReportLine:
    wrong = sorted(case for case in ours.keys() | theirs.keys() if ours.get(case, 0) != theirs.get(case, 0))
    difference = sum(abs(ours.get(case, 0) - theirs.get(case, 0)) for case in wrong)
    cases = tuple(
        f"{case}: {format_usd(ours.get(case, 0))} here, {format_usd(theirs.get(case, 0))} at Stripe"
        for case in wrong[:EXAMPLES]
    )
    return ReportLine(
        name=name,
        ours_micro=sum(ours.values()),
        stripes_micro=sum(theirs.values()),
        difference_micro=difference,
        cases=cases,
    )


def _sums(query: str, *values: str | datetime) -> dict[str, int]:
    """A query of names and amounts."""
    with connection.cursor() as cursor:
        cursor.execute(query, list(values))
        return {str(name): int(micro) for name, micro in cursor.fetchall() if micro}


def _our_top_ups(since: datetime, until: datetime) -> dict[str, int]:
    """What the ledger says came in, by intent, on the day on which Stripe made the intent."""
    return _sums(
        """
        SELECT payment.intent_id, entry.amount_micro
          FROM payments_payment AS payment
          LEFT JOIN billing_ledgerentry AS entry ON entry.key = 'topup:' || payment.intent_id
         WHERE payment.kind <> 'subscription' AND payment.paid_at >= %s AND payment.paid_at < %s
           AND entry.amount_micro IS NOT NULL
        """,
        since,
        until,
    )


def _their_top_ups(api: StripeApi, since: datetime, until: datetime) -> dict[str, int]:
    return {
        seen.id: seen.received_micro
        for seen in every_intent(api, since=since, until=until)
        if seen.metadata.get(PURPOSE) in TOP_UP_PURPOSES and seen.received_micro
    }


def _our_refunds(since: datetime, until: datetime) -> dict[str, int]:
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


def _their_refunds(api: StripeApi, since: datetime, until: datetime) -> dict[str, int]:
    """Only of payments that we know: others may use the same Stripe account."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT intent_id FROM payments_payment WHERE intent_id IS NOT NULL")
        known = {row[0] for row in cursor.fetchall()}
    return {
        seen.id: seen.amount_micro
        for seen in every_refund(api, since=since, until=until)
        if seen.status not in FAILED and seen.intent_id in known
    }


def _invoices(
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
         WHERE mirror.issued_at >= %s AND mirror.issued_at < %s
        """,
        prefix,
        since,
        until,
    )
    return ours, theirs


def _usage_by_account() -> dict[str, int]:
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


def _batched_by_account() -> dict[str, int]:
    return _sums("SELECT account_id, sum(value_micro) FROM payments_meterbatch GROUP BY account_id")


def _metered(api: StripeApi, since: datetime, until: datetime) -> tuple[dict[str, int], dict[str, int]]:
    """By customer: batches of that day, and what the meter counted that day."""
    ours = _sums(
        """
        SELECT customer.customer_id, sum(batch.value_micro) FROM payments_meterbatch AS batch
          JOIN payments_stripecustomer AS customer ON customer.account_id = batch.account_id
         WHERE batch.minute >= %s AND batch.minute < %s AND customer.customer_id IS NOT NULL
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
