"""What is on an invoice: usage on account and plans' fees that are on none yet, in lines that multiply."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from django.db import connection

from apps.billing.invoices.choices import LineUnit
from apps.billing.invoices.models import Invoice, InvoicedCharge, InvoicedUsage, InvoiceLine
from apps.billing.money import from_cents, to_cents
from apps.plans.charging import due_charges, mark_invoiced, release_charges

BASIS = 10_000

# The price of a call is that of its images where it divides evenly; else the call itself is what is counted.
GROUPED = """
WITH due AS (
    SELECT event.id, event.kind, event.checkpoint, event.price_micro, event.images, event.calls,
           event.images > 0 AND event.price_micro %% GREATEST(event.images, 1) = 0 AS is_by_image
      FROM billing_usageevent AS event
     WHERE event.account_id = %(account_id)s AND event.day <= %(until)s
       AND event.funding = 'pay_as_you_go' AND event.price_micro > 0
       AND NOT EXISTS (SELECT FROM billing_invoicedusage AS known
                        WHERE known.event_id = event.id AND NOT known.is_void)
       -- Of apps.payments, which is above: what Stripe's meter was told is on an invoice of Stripe's.
       AND NOT EXISTS (SELECT FROM payments_meteredusage AS metered WHERE metered.usage_event_id = event.id)
)
SELECT kind, checkpoint, CASE WHEN is_by_image THEN 'image' ELSE 'call' END AS unit,
       CASE WHEN is_by_image THEN price_micro / images ELSE price_micro END AS unit_price_micro,
       sum(CASE WHEN is_by_image THEN images ELSE 1 END)::bigint, sum(price_micro)::bigint,
       array_agg(id ORDER BY id)
  FROM due GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
CLAIM = """
INSERT INTO billing_invoicedusage (event_id, line_id, is_void) SELECT unnest(%s::bigint[]), %s, false
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class DueLine:
    """Usage of one kind, model and price with the events it consists of, or a fee with its charge."""

    generation_kind: str
    model: str
    unit: str
    unit_price_micro: int
    quantity: int
    amount_micro: int
    event_ids: list[int]
    charge_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What an invoice asks for; the sum of the three is in whole cents."""

    net_micro: int
    tax_micro: int
    rounding_micro: int

    @property
    def total_micro(self) -> int:
        return self.net_micro + self.tax_micro + self.rounding_micro


def find_due_lines(*, account_id: int, until: date) -> list[DueLine]:
    """Usage on account up to and with the day `until` that is on no invoice.

    Late events of months before are among it, so that none is ever left out.
    """
    with connection.cursor() as cursor:
        cursor.execute(GROUPED, {"account_id": account_id, "until": until})
        rows = cursor.fetchall()
    return [
        DueLine(
            generation_kind=kind,
            model=model,
            unit=unit,
            unit_price_micro=price,
            quantity=quantity,
            amount_micro=amount,
            event_ids=event_ids,
        )
        for kind, model, unit, price, quantity, amount, event_ids in rows
    ]


def find_due_fees(*, account_id: int, before: datetime) -> list[DueLine]:
    """Fees of manual plans whose time began before this moment and that are on no invoice."""
    return [
        DueLine(
            generation_kind="",
            model=charge.memo,
            unit=LineUnit.FEE,
            unit_price_micro=charge.amount_micro,
            quantity=1,
            amount_micro=charge.amount_micro,
            event_ids=[],
            charge_id=charge.pk,
        )
        for charge in due_charges(account_id=account_id, before=before)
    ]


def totals_of(net_micro: int, *, tax_basis_points: int) -> Totals:
    """Tax to the nearest micro-dollar; the whole is rounded down to cents, in the buyer's favour."""
    tax_micro = (net_micro * tax_basis_points + BASIS // 2) // BASIS
    exact = net_micro + tax_micro
    return Totals(
        net_micro=net_micro,
        tax_micro=tax_micro,
        rounding_micro=from_cents(to_cents(exact).cents) - exact,
    )


def write_lines(invoice: Invoice, due: list[DueLine], *, now: datetime) -> None:
    """Save the lines, and claim the events or the fee of each: the constraints give each to one invoice."""
    for position, line in enumerate(due, start=1):
        row = InvoiceLine.objects.create(
            invoice=invoice,
            position=position,
            generation_kind=line.generation_kind,
            model=line.model,
            unit=line.unit,
            unit_price_micro=line.unit_price_micro,
            quantity=line.quantity,
            amount_micro=line.amount_micro,
        )
        if line.charge_id is not None:
            InvoicedCharge.objects.create(charge_id=line.charge_id, line=row)
        with connection.cursor() as cursor:
            cursor.execute(CLAIM, [line.event_ids, row.pk])
    mark_invoiced([line.charge_id for line in due if line.charge_id is not None], now=now)


def release_lines(invoice: Invoice) -> None:
    """Let the events and fees of a void invoice wait for another one; its own lines still name them."""
    InvoicedUsage.objects.filter(line__invoice=invoice, is_void=False).update(is_void=True)
    fees = InvoicedCharge.objects.filter(line__invoice=invoice, is_void=False)
    release_charges(list(fees.values_list("charge_id", flat=True)))
    fees.update(is_void=True)
