"""Plans by invoice follow their invoices: an overdue one starts the days of grace, and paying ends them.

The invoices are the truth, and the subscription's state is found from them again every hour: whatever was
missed is made up for.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.db.models import QuerySet

from apps.audit.refs import SYSTEM, Ref
from apps.billing.invoices.choices import DocumentKind, InvoiceState
from apps.billing.invoices.models import Invoice
from apps.plans.following import lock_account
from apps.plans.pausing import accounts_owing, set_owing


def overdue_invoices(now: datetime) -> QuerySet[Invoice]:
    """Issued, not paid, and due before today (UTC, as the date that is printed on them)."""
    return Invoice.objects.filter(kind=DocumentKind.INVOICE, state=InvoiceState.ISSUED, due_on__lt=now.date())


def follow_invoices(*, account_id: int, actor: Ref, now: datetime) -> bool:
    """Whether the account's plan had to change its state; an act of its own, after the one about the invoice.

    The ledger's lock and the account's are not taken in one transaction: others take them the other way.
    """
    with transaction.atomic(durable=True):
        # Before the invoices are read: whoever pays one looks again after us.
        lock_account(account_id)
        owing = overdue_invoices(now).filter(account_id=account_id).exists()
        return set_owing(account_id=account_id, owing=owing, actor=actor, now=now)


def follow_all(now: datetime) -> int:
    """Look at every account that owes an overdue invoice, or whose plan says so; how many changed."""
    owing = set(overdue_invoices(now).values_list("account_id", flat=True)) | set(accounts_owing())
    return sum(follow_invoices(account_id=each, actor=SYSTEM, now=now) for each in sorted(owing))
