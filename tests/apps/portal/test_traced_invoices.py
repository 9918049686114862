"""From an invoice, and each of its lines, to the jobs: what is shown adds up to what is asked for."""

from __future__ import annotations

import csv
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client

from apps.accounts.choices import Role
from apps.accounts.models import Account
from apps.accounts.services import add_member
from apps.audit.refs import SYSTEM
from apps.billing.invoices.models import Invoice
from apps.billing.invoices.services import void_invoice
from apps.billing.ledger.payments import bill_receivable
from apps.billing.models import UsageEvent
from apps.payments.models import MeterBatch, MeteredUsage, StripeInvoice
from apps.portal.paging import PAGE
from tests.apps.billing.invoices.office import NOW, issue, make_invoiced_account, use
from tests.apps.portal.conftest import signed_in
from tests.cast import Cast


@pytest.fixture
def studio(cast: Cast) -> Account:
    account = make_invoiced_account()
    add_member(account=account, user=cast.otto, role=Role.OWNER, actor=SYSTEM, now=NOW)
    return account


@pytest.fixture
def browser(studio: Account, cast: Cast) -> Client:
    return signed_in(cast.otto)


def rows(browser: Client, path: str, **query: Any) -> list[dict[str, str]]:
    text = browser.get(path, query | {"format": "csv"}).content.decode()
    return list(csv.DictReader(text.splitlines()))


def jobs_of(invoice: Invoice) -> str:
    return f"/portal/billing/invoices/{invoice.number}/jobs"


def test_each_line_leads_to_its_jobs_and_they_add_up(browser: Client, studio: Account) -> None:
    many = [use(studio, price_micro=2_000) for _ in range(PAGE + 2)]
    use(studio, price_micro=10_001, images=3)
    use(studio, price_micro=50_000, model="flux", kind="img2img")
    invoice = issue(studio)

    for line in invoice.lines.all():
        found = rows(browser, jobs_of(invoice), line=line.position)
        assert sum(int(row["price_micro"]) for row in found) == line.amount_micro
    assert sum(int(row["price_micro"]) for row in rows(browser, jobs_of(invoice))) == invoice.net_micro
    html = browser.get(jobs_of(invoice)).content.decode()
    assert f"{PAGE + 4} jobs, $0.114001" in html and f"#{many[-1]}<" in html and f"#{many[0]}<" not in html
    before = html.rpartition('href="?before=')[2].partition('"')[0]
    older = browser.get(jobs_of(invoice), {"before": before})
    assert f"#{many[0]}<" in older.content.decode()


def test_a_credit_note_gives_the_same_jobs_back(browser: Client, studio: Account) -> None:
    job_id = use(studio, price_micro=40_000)
    void_invoice(invoice_id=issue(studio).pk, actor=SYSTEM, now=NOW)
    note = Invoice.objects.get(kind="credit_note")

    [row] = rows(browser, jobs_of(note))

    assert (row["job"], row["price_micro"]) == (str(job_id), "-40000")


@pytest.mark.parametrize("line", ["2", "0", "x", "9" * 30])
def test_a_line_that_is_none_is_not_found(browser: Client, studio: Account, line: str) -> None:
    use(studio, price_micro=40_000)

    assert browser.get(jobs_of(issue(studio)), {"line": line}).status_code == 404


def card_invoice(account: Account, job_ids: list[int], number: str) -> StripeInvoice:
    """What the meter was told of these jobs, on an invoice that is due."""
    usage = UsageEvent.objects.filter(job_id__in=job_ids)
    total = sum(event.price_micro for event in usage)
    batch = MeterBatch.objects.create(
        account=account, minute=NOW - timedelta(days=int(number)), value_micro=total, due_at=NOW
    )
    for event in usage:
        MeteredUsage.objects.create(usage_event_id=event.pk, batch=batch)
    bill_receivable(
        account_id=account.pk,
        amount_micro=total,
        tax_micro=0,
        rounding_micro=0,
        key=f"bill:in_{number}",
        memo="",
        now=NOW,
    )
    return StripeInvoice.objects.create(
        account=account,
        invoice_id=f"in_{number}",
        number=f"DR-{number}",
        status="open",
        total_micro=total,
        period_start=batch.minute - timedelta(hours=1),
        period_end=batch.minute + timedelta(hours=1),
        issued_at=NOW,
    )


def test_an_invoice_of_stripes_leads_to_what_its_meter_was_told(
    browser: Client, studio: Account, cast: Cast
) -> None:
    ours, later = [use(studio, price_micro=price) for price in (20_000, 30_000)], use(studio, price_micro=5)
    first, second = card_invoice(studio, ours, "10"), card_invoice(studio, [later], "5")

    for invoice, jobs in ((first, ours), (second, [later])):
        found = rows(browser, f"/portal/billing/card-invoices/{invoice.pk}/jobs")
        assert [int(row["job"]) for row in found] == jobs
        assert sum(int(row["price_micro"]) for row in found) == invoice.total_micro
    assert f"/portal/billing/card-invoices/{first.pk}/jobs" in browser.get("/portal/billing").content.decode()


def test_an_invoice_for_a_plan_has_no_jobs(browser: Client, studio: Account) -> None:
    use(studio, price_micro=20_000)
    invoice = StripeInvoice.objects.create(
        account=studio,
        invoice_id="in_plan",
        status="paid",
        total_micro=47_000_000,
        period_start=NOW - timedelta(days=30),
        period_end=NOW,
        issued_at=NOW,
    )

    html = browser.get(f"/portal/billing/card-invoices/{invoice.pk}/jobs").content.decode()

    assert "No jobs" in html and "0 jobs, $0.00" in html
