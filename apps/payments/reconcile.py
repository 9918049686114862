"""Whether our books and Stripe's agree: every day, to the micro-dollar, with the cases by name.

Payments, refunds and disputes are compared one by one, by Stripe's ids. Usage is compared as sums:
usage events against batches, batches against what the meter has counted for each customer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from django.db import transaction

from apps.audit import services as audit
from apps.audit.refs import SYSTEM, JsonValue
from apps.billing.money import format_usd
from apps.payments.both_sides import (
    batched_by_account,
    invoices,
    metered,
    our_disputes,
    our_refunds,
    our_top_ups,
    their_disputes,
    their_refunds,
    their_top_ups,
    usage_by_account,
)
from apps.payments.connection import open_api
from apps.payments.errors import PaymentsNotConfigured
from apps.payments.mailing import tell_operators
from apps.payments.models import ReconcileReport

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
        _compare("top-ups", our_top_ups(api, since, until), their_top_ups(api, since, until)),
        _compare("refunds", our_refunds(since, until), their_refunds(api, since, until)),
        _compare("disputes", our_disputes(since, until), their_disputes(api, since, until)),
        _compare("plan invoices", *invoices(api, since, until, is_metered=False)),
        _compare("usage invoices", *invoices(api, since, until, is_metered=True)),
        _compare("usage in batches", usage_by_account(), batched_by_account()),
        _compare("batches on meters", *metered(api, since, until)),
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
