"""Sixteen issuers at once leave no gap and no double, and a failed one gives its number back."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial

import pytest
from django.db import transaction

from apps.audit.refs import SYSTEM
from apps.billing.invoices.choices import DocumentKind, InvoiceState
from apps.billing.invoices.errors import InvoiceStateConflict, NothingToInvoice
from apps.billing.invoices.models import Invoice, InvoicedCharge
from apps.billing.invoices.numbers import take_number
from apps.billing.invoices.services import draft_invoice, issue_invoice, void_invoice
from apps.billing.ledger.choices import Place
from apps.billing.ledger.selectors import trial_balance
from apps.plans.charging import due_charges, mark_invoiced
from apps.plans.errors import SubscriptionConflict
from apps.plans.models import Plan
from apps.plans.subscriptions import start_subscription
from tests.apps.billing.invoices.office import FEBRUARY, NOW, draft, make_invoiced_account, use
from tests.apps.billing.ledger.books import assert_books_balance
from tests.apps.generation.studio import Crew
from tests.drills.counting import drill_count
from tests.factories import make_plan

RACERS = 16
FEE_ROUNDS = 3
FEBRUARYS_17TH = datetime(2026, 2, 17, tzinfo=UTC)

pytestmark = pytest.mark.django_db(transaction=True)


def numbers() -> list[str]:
    return sorted(str(invoice) for invoice in Invoice.objects.exclude(number=None))


def test_issuers_of_many_accounts_leave_no_gap() -> None:
    drafts = []
    for number in range(RACERS):
        account = make_invoiced_account(f"buyer-{number}")
        use(account, price_micro=20_000)
        drafts.append(draft(account))
    crew = Crew()
    crew.run(*[partial(issue_invoice, invoice_id=each.pk, actor=SYSTEM, now=NOW) for each in drafts])
    assert crew.errors == []
    assert numbers() == [f"INV-2026-{number:06d}" for number in range(1, RACERS + 1)]
    assert_books_balance()


def test_one_account_is_invoiced_once_whoever_asks() -> None:
    account = make_invoiced_account()
    use(account, price_micro=20_000)
    crew = Crew()
    crew.run(*[partial(draft_invoice, account=account, actor=SYSTEM, now=NOW, **FEBRUARY)] * RACERS)
    assert {type(error) for error in crew.errors} == {NothingToInvoice}
    invoice = Invoice.objects.get()
    crew = Crew()
    issuing = partial(issue_invoice, invoice_id=invoice.pk, actor=SYSTEM, now=NOW)
    voiding = partial(void_invoice, invoice_id=invoice.pk, actor=SYSTEM, now=NOW)
    crew.run(*[issuing] * (RACERS // 2), *[voiding] * (RACERS // 2))
    assert {type(error) for error in crew.errors} == {InvoiceStateConflict}
    assert Invoice.objects.get(pk=invoice.pk).state == InvoiceState.VOID
    assert numbers() in ([], ["CN-2026-000001", "INV-2026-000001"])
    assert_books_balance()


def test_a_plans_fee_is_on_one_invoice_whoever_drafts() -> None:
    make_plan()
    make_plan("monthly", is_default=False)
    Plan.objects.filter(code="monthly").update(price_micro=47_000_000)
    plan = Plan.objects.get(code="monthly")
    accounts = [make_invoiced_account(f"buyer-{number}") for number in range(drill_count(FEE_ROUNDS))]
    for account in accounts:
        start_subscription(account=account, plan=plan, actor=SYSTEM, now=FEBRUARYS_17TH)
    for account in accounts:
        crew = Crew()
        crew.run(*[partial(draft_invoice, account=account, actor=SYSTEM, now=NOW, **FEBRUARY)] * RACERS)
        assert [type(error) for error in crew.errors] == [NothingToInvoice] * (RACERS - 1)
        invoice = Invoice.objects.get(account=account)
        assert InvoicedCharge.objects.get(line__invoice=invoice).charge.account_id == account.pk
        issue_invoice(invoice_id=invoice.pk, actor=SYSTEM, now=NOW)
    assert trial_balance()[Place.REVENUE] == 47_000_000 * len(accounts)
    assert_books_balance()


def test_control_without_the_books_lock_the_rows_refuse_a_second_invoice() -> None:
    """What is left when nobody waits: the fee's own row lets one through, and the other is rolled back."""
    make_plan()
    make_plan("monthly", is_default=False)
    Plan.objects.filter(code="monthly").update(price_micro=47_000_000)
    account = make_invoiced_account()
    start_subscription(
        account=account, plan=Plan.objects.get(code="monthly"), actor=SYSTEM, now=FEBRUARYS_17TH
    )
    charges = [each.pk for each in due_charges(account_id=account.pk, before=NOW)]

    def mark() -> None:
        with transaction.atomic():
            mark_invoiced(charges, now=NOW)

    crew = Crew()
    crew.run(*[mark] * RACERS)
    assert [type(error) for error in crew.errors] == [SubscriptionConflict] * (RACERS - 1)


def test_a_number_that_was_not_used_is_given_to_the_next() -> None:
    taken = []

    def fail_after_taking() -> None:
        with transaction.atomic():
            taken.append(take_number(DocumentKind.INVOICE, now=NOW))
            raise OSError("the power went out")

    account = make_invoiced_account()
    use(account, price_micro=20_000)
    first = draft(account)
    crew = Crew()
    crew.run(
        *[fail_after_taking] * (RACERS - 1),
        partial(issue_invoice, invoice_id=first.pk, actor=SYSTEM, now=NOW),
    )
    assert len(crew.errors) == len(taken) == RACERS - 1
    assert numbers() == ["INV-2026-000001"]
    with transaction.atomic():
        assert take_number(DocumentKind.INVOICE, now=NOW) == "INV-2026-000002"
