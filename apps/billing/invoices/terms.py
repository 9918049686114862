"""Who sends invoices, and how accounts are invoiced: rows that operators change, in the audit log."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.audit.refs import Ref
from apps.audit.services import record
from apps.billing.invoices.models import InvoiceSettings, InvoiceTerms


def save_settings(settings: InvoiceSettings, *, actor: Ref, now: datetime) -> None:
    """Keep who sends invoices from now on; issued ones stay as they were sent."""
    settings.pk = 1
    with transaction.atomic(durable=True):
        settings.save(force_update=InvoiceSettings.objects.filter(pk=1).exists())
        record("billing.invoice_settings.changed", actor=actor, subject=settings.ref, now=now)


def save_terms(terms: InvoiceTerms, *, actor: Ref, now: datetime) -> None:
    """Keep how an account is invoiced from now on."""
    with transaction.atomic(durable=True):
        terms.save()
        record(
            "billing.invoice_terms.changed",
            actor=actor,
            subject=terms.ref,
            account_id=terms.account_id,
            data={"net_days": terms.net_days, "tax_basis_points": terms.tax_basis_points},
            now=now,
        )
