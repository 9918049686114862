"""Which jobs an invoice of Stripe's asks for: what its meter was told of the invoice's period."""

from __future__ import annotations

from django.db.models import QuerySet, Subquery

from apps.billing.ledger.models import LedgerEntry
from apps.billing.models import UsageEvent
from apps.payments.models import MeteredUsage, StripeInvoice


def is_of_usage(invoice: StripeInvoice) -> bool:
    """Whether it asks for usage, and not for a plan; one query."""
    return LedgerEntry.objects.filter(key=f"bill:{invoice.invoice_id}").exists()


def card_usage(invoice: StripeInvoice) -> QuerySet[UsageEvent]:
    """The usage on it; of an invoice for a plan, and of one that is not yet due, there is none."""
    if invoice.period_start is None or invoice.period_end is None or not is_of_usage(invoice):
        return UsageEvent.objects.none()
    metered = MeteredUsage.objects.filter(
        batch__account_id=invoice.account_id,
        batch__minute__gte=invoice.period_start,
        batch__minute__lt=invoice.period_end,
    )
    return UsageEvent.objects.filter(
        account_id=invoice.account_id, pk__in=Subquery(metered.values("usage_event_id"))
    )
