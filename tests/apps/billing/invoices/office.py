"""What the tests of invoices work with: an account that is invoiced, its usage, and two months."""

from __future__ import annotations

from datetime import UTC, date, datetime
from itertools import count
from typing import Any

from django.db import transaction

from apps.accounts.models import Account
from apps.audit.refs import SYSTEM
from apps.billing.choices import Source
from apps.billing.invoices.models import Invoice, InvoiceSettings, InvoiceTerms
from apps.billing.invoices.services import draft_invoice, issue_invoice
from apps.billing.ledger.services import capture, hold
from apps.billing.services import record_usage
from tests.factories import make_account

FEBRUARY = {"start": date(2026, 2, 1), "end": date(2026, 2, 28)}
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
_job_ids = count(1)


def make_invoiced_account(slug: str = "studio", **terms: Any) -> Account:
    InvoiceSettings.objects.update_or_create(
        pk=1,
        defaults={
            "seller": "Darkroom Ltd\n1 Silver Street\nExeter EX4 3AA\nUnited Kingdom",
            "tax_id": "GB 123 4567 89",
            "bank_details": "Darkroom Ltd\nIBAN GB33 BUKB 2020 1555 5555 55\nBIC BUKBGB22",
            "footer": "Darkroom Ltd, registered in England 01234567",
        },
    )
    account = make_account(slug, now=NOW)
    InvoiceTerms.objects.create(
        account=account,
        **(
            {
                "buyer": "Studio Müller & Söhne GmbH\nHauptstraße 5\n10115 Berlin\nGermany",
                "buyer_tax_id": "DE 999 999 999",
                "purchase_order": "PO-7781",
                "tax_name": "VAT",
                "tax_basis_points": 1900,
            }
            | terms
        ),
    )
    return account


def use(
    account: Account,
    *,
    price_micro: int,
    images: int = 1,
    day: date = date(2026, 2, 10),
    model: str = "sdxl",
    kind: str = "txt2img",
    source: Source = Source.PAYG,
) -> int:
    """One delivered job, paid by `source`; its id."""
    job_id = next(_job_ids)
    with transaction.atomic():
        hold(account_id=account.pk, job_id=job_id, source=source, amount_micro=price_micro, now=NOW)
        capture(job_id=job_id, amount_micro=price_micro, now=NOW)
        record_usage(
            job_id=job_id,
            account_id=account.pk,
            api_key_id=None,
            day=day,
            calls=1,
            images=images,
            pixels=images * 1_000_000,
            checkpoint=model,
            kind=kind,
            funding=source,
            price_micro=price_micro,
            now=NOW,
        )
    return job_id


def draft(account: Account) -> Invoice:
    return draft_invoice(account=account, actor=SYSTEM, now=NOW, **FEBRUARY)


def issue(account: Account) -> Invoice:
    return issue_invoice(invoice_id=draft(account).pk, actor=SYSTEM, now=NOW)
