"""Invoices ask for exactly what was used, once, and can be taken back."""

from __future__ import annotations

from datetime import date

import pytest
from django.db import DatabaseError, IntegrityError

from apps.accounts.models import Account
from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.billing.choices import Source
from apps.billing.invoices.choices import InvoiceState
from apps.billing.invoices.drafting import totals_of
from apps.billing.invoices.errors import (
    InvoiceDoesNotAddUp,
    InvoiceStateConflict,
    InvoiceTermsMissing,
    NothingToInvoice,
)
from apps.billing.invoices.models import Invoice, InvoiceLine, InvoiceSettings, InvoiceTerms
from apps.billing.invoices.selectors import access_invoice, list_invoices, trace
from apps.billing.invoices.services import issue_invoice, mark_paid, void_invoice
from apps.billing.models import UsageEvent
from apps.core.errors import NotFound
from tests.apps.billing.invoices.office import NOW, draft, issue, make_invoiced_account, use
from tests.apps.billing.ledger.books import assert_books_balance, balance, money, on_record, top_up
from tests.factories import make_account

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    return make_invoiced_account()


def test_lines_multiply_exactly_and_name_their_jobs(account: Account) -> None:
    ours = [use(account, price_micro=8_000, images=4), use(account, price_micro=2_000)]
    # Does not divide by its images: the call is what is counted.
    odd = use(account, price_micro=10_001, images=3)
    other = use(account, price_micro=50_000, model="flux", kind="img2img")
    invoice = issue(account)
    lines = list(invoice.lines.all())
    assert [(line.generation_kind, line.model, line.unit, line.quantity) for line in lines] == [
        ("img2img", "flux", "image", 1),
        ("txt2img", "sdxl", "call", 1),
        ("txt2img", "sdxl", "image", 5),
    ]
    assert [line.unit_price_micro for line in lines] == [50_000, 10_001, 2_000]
    assert [trace(line) for line in lines] == [[other], [odd], ours]
    for line in lines:
        events = UsageEvent.objects.filter(job_id__in=trace(line))
        assert sum(event.price_micro for event in events) == line.amount_micro
    assert invoice.net_micro == 70_001


def test_what_was_paid_otherwise_or_used_later_is_not_on_it(account: Account) -> None:
    top_up(account, 1_000_000)
    use(account, price_micro=30_000, source=Source.WALLET)
    late = use(account, price_micro=20_000, day=date(2026, 3, 1))
    # Of a month before, delivered after its invoice was written.
    use(account, price_micro=40_000, day=date(2026, 1, 31))
    assert issue(account).net_micro == 40_000
    [job_id] = UsageEvent.objects.filter(day__gt=date(2026, 2, 28)).values_list("job_id", flat=True)
    assert job_id == late


def test_tax_and_rounding_make_whole_cents(account: Account) -> None:
    use(account, price_micro=1_234_567)
    invoice = issue(account)
    assert (invoice.tax_micro, invoice.rounding_micro) == (234_568, -9_135)
    assert invoice.total_micro == 1_460_000
    assert money(account) == balance(invoiced=1_460_000)
    assert_books_balance()


@pytest.mark.parametrize("net", [1, 9_999, 10_000, 123_456_789_012])
@pytest.mark.parametrize("points", [0, 1, 1900, 10_000])
def test_totals_are_whole_cents_within_a_cent_below(net: int, points: int) -> None:
    totals = totals_of(net, tax_basis_points=points)
    assert totals.total_micro % 10_000 == 0
    assert -10_000 < totals.rounding_micro <= 0


def test_usage_is_on_one_invoice(account: Account) -> None:
    use(account, price_micro=20_000)
    draft(account)
    with pytest.raises(NothingToInvoice, match="studio has nothing to be invoiced until 2026-02-28"):
        draft(account)


def test_less_than_a_cent_waits_for_the_next_month(account: Account) -> None:
    use(account, price_micro=4_000)
    with pytest.raises(NothingToInvoice):
        draft(account)
    use(account, price_micro=6_000)
    assert draft(account).total_micro == 10_000


def test_an_invoice_is_paid_once(account: Account) -> None:
    use(account, price_micro=1_000_000)
    invoice = issue(account)
    paid = mark_paid(invoice_id=invoice.pk, reference="transfer 7", actor=SYSTEM, now=NOW)
    assert (paid.state, paid.payment_reference) == (InvoiceState.PAID, "transfer 7")
    assert money(account) == balance()
    before = on_record()
    with pytest.raises(InvoiceStateConflict, match=r"INV-2026-000001 is paid; only an issued invoice"):
        mark_paid(invoice_id=invoice.pk, reference="transfer 8", actor=SYSTEM, now=NOW)
    with pytest.raises(InvoiceStateConflict, match="only a draft or unpaid"):
        void_invoice(invoice_id=invoice.pk, actor=SYSTEM, now=NOW)
    assert on_record() == before
    assert_books_balance()


def test_a_draft_taken_back_leaves_no_number_and_no_entry(account: Account) -> None:
    use(account, price_micro=1_000_000)
    first = draft(account)
    before = on_record()
    assert void_invoice(invoice_id=first.pk, actor=SYSTEM, now=NOW) is None
    assert on_record() == before
    assert issue(account).number == "INV-2026-000001"
    assert list(list_invoices(account)) == [Invoice.objects.get(number="INV-2026-000001")]


def test_an_issued_invoice_is_taken_back_by_a_credit_note(account: Account) -> None:
    job_id = use(account, price_micro=1_234_567)
    invoice = issue(account)
    note = void_invoice(invoice_id=invoice.pk, actor=SYSTEM, now=NOW)
    assert note is not None
    assert (note.number, note.corrects, note.total_micro) == ("CN-2026-000001", invoice, -1_460_000)
    assert [trace(line) for line in note.lines.all()] == [[job_id]]
    assert money(account) == balance(receivable=1_234_567)
    for act in (void_invoice, issue_invoice):
        with pytest.raises(InvoiceStateConflict):
            act(invoice_id=note.pk, actor=SYSTEM, now=NOW)
    with pytest.raises(InvoiceStateConflict, match="it is not paid"):
        mark_paid(invoice_id=note.pk, reference="", actor=SYSTEM, now=NOW)
    again = issue(account)
    assert (again.number, again.net_micro) == ("INV-2026-000002", 1_234_567)
    assert [trace(line) for line in Invoice.objects.get(pk=invoice.pk).lines.all()] == [[job_id]]
    assert_books_balance()


def test_lines_changed_by_hand_are_not_sent(account: Account) -> None:
    use(account, price_micro=20_000, images=2)
    invoice = draft(account)
    InvoiceLine.objects.filter(invoice=invoice).update(quantity=1, amount_micro=10_000)
    with pytest.raises(InvoiceDoesNotAddUp):
        issue_invoice(invoice_id=invoice.pk, actor=SYSTEM, now=NOW)
    assert Invoice.objects.get().number is None


def test_the_document_keeps_what_was_sent(account: Account) -> None:
    use(account, price_micro=20_000)
    invoice = issue(account)
    InvoiceTerms.objects.update(buyer="Somebody else")
    InvoiceSettings.objects.update(seller="Nobody")
    kept = Invoice.objects.get(pk=invoice.pk)
    assert kept.buyer.startswith("Studio Müller")
    assert kept.seller.startswith("Darkroom Ltd")
    assert (kept.due_on, kept.purchase_order) == (date(2026, 4, 1), "PO-7781")


def test_without_terms_nobody_is_invoiced(account: Account) -> None:
    stranger = make_account("cleo", now=NOW)
    with pytest.raises(InvoiceTermsMissing, match="how the account cleo is invoiced"):
        draft(stranger)
    InvoiceSettings.objects.all().delete()
    with pytest.raises(InvoiceTermsMissing, match="who sends invoices"):
        draft(account)


def test_somebody_elses_invoice_is_not_found(account: Account) -> None:
    use(account, price_micro=20_000)
    number = str(issue(account).number)
    assert access_invoice(account=account, number=number).number == number
    with pytest.raises(NotFound):
        access_invoice(account=make_account("cleo", now=NOW), number=number)


def test_every_act_is_in_the_audit_log(account: Account) -> None:
    use(account, price_micro=20_000)
    invoice = issue(account)
    void_invoice(invoice_id=invoice.pk, actor=SYSTEM, now=NOW)
    names = AuditEvent.objects.filter(name__startswith="billing.invoice.").order_by("id")
    assert list(names.values_list("name", flat=True)) == [
        "billing.invoice.drafted",
        "billing.invoice.issued",
        "billing.invoice.credited",
        "billing.invoice.voided",
    ]


def test_a_number_without_a_date_is_refused_by_the_database(account: Account) -> None:
    use(account, price_micro=20_000)
    invoice = draft(account)
    with pytest.raises((IntegrityError, DatabaseError), match="billing_invoice_numbered_when_issued"):
        Invoice.objects.filter(pk=invoice.pk).update(number="INV-2026-000099")
