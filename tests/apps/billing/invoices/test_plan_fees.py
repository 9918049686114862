"""Plans by invoice: their fees are on invoices once, and the plan follows whether these are paid."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command

from apps.accounts.choices import Role
from apps.accounts.models import Account, Membership, User
from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.billing.invoices.errors import InvoiceDoesNotAddUp, NothingToInvoice
from apps.billing.invoices.models import InvoicedCharge, InvoiceTerms
from apps.billing.invoices.overdue import follow_all
from apps.billing.invoices.pdf import render_pdf
from apps.billing.invoices.services import issue_invoice, mark_paid, void_invoice
from apps.billing.invoices.starting import start_by_invoice
from apps.billing.ledger.choices import Place
from apps.billing.ledger.selectors import trial_balance
from apps.mails.models import Mail
from apps.plans.choices import SubscriptionState
from apps.plans.models import Plan, PlanCharge, Subscription
from apps.plans.renewing import end_grace, end_periods
from apps.plans.selectors import get_plan
from tests.apps.billing.invoices.office import NOW, draft, issue, make_invoiced_account, use
from tests.apps.billing.ledger.books import assert_books_balance, balance, money
from tests.factories import make_account, make_plan

BEGUN = datetime(2026, 2, 17, 9, 30, tzinfo=UTC)
FEE = 47_000_000

pytestmark = pytest.mark.django_db


@pytest.fixture
def standard() -> Plan:
    make_plan()
    make_plan("standard", is_default=False)
    Plan.objects.filter(code="standard").update(price_micro=FEE)
    return Plan.objects.get(code="standard")


@pytest.fixture
def account(standard: Plan) -> Account:
    """Invoiced without tax, with one person who sees bills, on the plan since the 17th of February."""
    account = make_invoiced_account(tax_basis_points=0)
    payer = User.objects.create(email="payer@studio.example", date_joined=NOW)
    Membership.objects.create(account=account, user=payer, role=Role.BILLING, created_at=NOW)
    start_by_invoice(account=account, plan=standard, actor=SYSTEM, now=BEGUN, reason="order 7781")
    return account


def mails() -> list[str]:
    return list(Mail.objects.order_by("pk").values_list("template", flat=True))


def state() -> str:
    return Subscription.objects.get().state


def test_a_fee_is_on_the_invoice_beside_usage_and_in_the_books(account: Account) -> None:
    use(account, price_micro=1_000_000)
    invoice = issue(account)
    assert [(line.model, line.unit, line.amount_micro) for line in invoice.lines.all()] == [
        ("Standard, one month", "fee", FEE),
        ("sdxl", "image", 1_000_000),
    ]
    assert invoice.total_micro == FEE + 1_000_000
    assert money(account) == balance(invoiced=invoice.total_micro)
    assert trial_balance()[Place.REVENUE] == invoice.total_micro
    assert PlanCharge.objects.get().invoiced_at == NOW
    assert render_pdf(invoice).startswith(b"%PDF")
    mark_paid(invoice_id=invoice.pk, reference="", actor=SYSTEM, now=NOW)
    assert money(account) == balance()
    assert_books_balance()


def test_a_fee_is_on_one_invoice(account: Account) -> None:
    invoice = draft(account)
    with pytest.raises(NothingToInvoice):
        draft(account)
    assert issue_invoice(invoice_id=invoice.pk, actor=SYSTEM, now=NOW).total_micro == FEE


def test_a_month_that_begins_later_waits_for_its_own_invoice(account: Account) -> None:
    end_periods(BEGUN + timedelta(days=28))
    assert PlanCharge.objects.count() == 2
    assert issue(account).total_micro == FEE


@pytest.mark.parametrize("is_issued", [False, True])
def test_an_invoice_taken_back_gives_its_fee_back(account: Account, is_issued: bool) -> None:
    invoice = issue(account) if is_issued else draft(account)
    note = void_invoice(invoice_id=invoice.pk, actor=SYSTEM, now=NOW)
    assert (note is not None and note.total_micro == -FEE) is is_issued
    assert trial_balance()[Place.REVENUE] == 0
    assert PlanCharge.objects.get().invoiced_at is None
    assert issue(account).total_micro == FEE
    assert InvoicedCharge.objects.filter(is_void=False).count() == 1
    assert_books_balance()


def test_a_fee_that_was_changed_by_hand_is_not_sent(account: Account) -> None:
    invoice = draft(account)
    PlanCharge.objects.update(amount_micro=FEE + 1)
    with pytest.raises(InvoiceDoesNotAddUp, match="their fees for 47000001"):
        issue_invoice(invoice_id=invoice.pk, actor=SYSTEM, now=NOW)


def test_an_overdue_invoice_starts_the_days_of_grace_and_paying_ends_them(account: Account) -> None:
    invoice = issue(account)
    assert invoice.due_on is not None
    end_periods(now := datetime(2026, 4, 1, 23, tzinfo=UTC))
    assert (follow_all(now), state()) == (0, SubscriptionState.ACTIVE)
    now += timedelta(hours=2)
    assert (follow_all(now), state()) == (1, SubscriptionState.PAST_DUE)
    assert follow_all(now) == 0
    assert get_plan(account, now=now).code == "standard"
    mark_paid(invoice_id=invoice.pk, reference="late", actor=SYSTEM, now=now)
    assert state() == SubscriptionState.ACTIVE
    assert mails() == ["plans_invoice_overdue", "plans_invoice_settled"]


def test_whoever_never_pays_has_the_default_plan_after_the_days_of_grace(account: Account) -> None:
    invoice = issue(account)
    end_periods(now := datetime(2026, 4, 16, 12, tzinfo=UTC))
    follow_all(now)
    # The period ends on the 17th, within the days of grace: they are not cut short, and nothing is charged.
    charges = PlanCharge.objects.count()
    now += timedelta(days=7, seconds=-1)
    assert (end_periods(now), end_grace(now)) == (0, 0)
    assert get_plan(account, now=now).code == "standard"
    now += timedelta(seconds=1)
    end_periods(now)
    end_grace(now)
    assert (state(), get_plan(account, now=now).code) == (SubscriptionState.CANCELED, "free")
    assert PlanCharge.objects.count() == charges
    mark_paid(invoice_id=invoice.pk, reference="too late", actor=SYSTEM, now=now)
    assert state() == SubscriptionState.CANCELED
    assert mails() == ["plans_invoice_overdue", "plans_grace_over"]


def test_paid_within_the_days_of_grace_it_goes_on_where_it_stopped(account: Account) -> None:
    invoice = issue(account)
    end_periods(now := datetime(2026, 4, 16, 12, tzinfo=UTC))
    follow_all(now)
    now += timedelta(days=3)
    mark_paid(invoice_id=invoice.pk, reference="", actor=SYSTEM, now=now)
    assert end_periods(now) == 1
    row = Subscription.objects.get()
    assert (row.state, row.period_start) == (
        SubscriptionState.ACTIVE,
        datetime(2026, 4, 17, 9, 30, tzinfo=UTC),
    )


def test_an_overdue_invoice_taken_back_is_owed_no_more(account: Account) -> None:
    invoice = issue(account)
    end_periods(now := datetime(2026, 4, 2, 12, tzinfo=UTC))
    follow_all(now)
    void_invoice(invoice_id=invoice.pk, actor=SYSTEM, now=now)
    assert state() == SubscriptionState.ACTIVE


def test_a_priced_plan_needs_somebody_to_be_invoiced(standard: Plan) -> None:
    make_account("nobody", now=NOW)
    asked = ["plans", "start", "--account", "nobody", "--plan", "standard", "--reason", "they asked"]
    with pytest.raises(CommandError, match="Say how the account nobody is invoiced"):
        call_command(*asked)
    assert not Subscription.objects.exists()


def test_the_command_begins_pauses_and_ends_a_plan(
    standard: Plan, capsys: pytest.CaptureFixture[str]
) -> None:
    account = make_invoiced_account("kiosk")
    for act in (["start", "--plan", "standard"], ["pause"], ["resume"], ["end"], ["keep"], ["end", "--now"]):
        call_command("plans", *act, "--account", "kiosk", "--reason", f"{act[0]} it")
    said = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in said] == [
        "kiosk: standard",
        "kiosk: free",
        "kiosk: standard",
        "kiosk: standard",
        "kiosk: standard",
        "kiosk: free",
    ]
    assert "standard by Invoice active, $47.00 a month" in said[0]
    events = AuditEvent.objects.filter(account_id=account.pk, name__startswith="plans.subscription")
    assert [event.data["reason"] for event in events.order_by("pk")] == [
        "start it",
        "pause it",
        "resume it",
        "end it",
        "keep it",
        "end it",
    ]
    with pytest.raises(CommandError, match="kiosk has no subscription"):
        call_command("plans", "pause", "--account", "kiosk", "--reason", "again")
    assert InvoiceTerms.objects.filter(account=account).exists()
