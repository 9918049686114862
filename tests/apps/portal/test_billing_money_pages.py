"""Coupons, budgets, invoices, the statement; and what is another account's."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.billing.invoices.choices import InvoiceState
from apps.billing.invoices.models import Invoice
from apps.billing.ledger import services as ledger
from apps.billing.ledger.selectors import balances
from apps.payments.choices import PaymentKind
from apps.payments.models import Payment
from apps.plans.choices import CouponKind
from apps.plans.models import Coupon
from apps.quotas.budgets import set_budget
from apps.quotas.models import Budget
from tests.apps.portal.billing_forms import PAGE, dismissed, send, text_of
from tests.cast import Cast
from tests.clocks import FrozenClock


def test_a_coupon_is_worth_its_credit_once(ada: Client, cast: Cast, clock: FrozenClock) -> None:
    Coupon.objects.create(code="WELCOME", kind=CouponKind.CREDIT, value=5_000_000, created_at=clock.now())

    texts = [dismissed(text_of(send(ada, f"{PAGE}/coupon", code=code))) for code in (" welcome ", "WELCOME")]

    assert texts == [["The coupon is yours."], ["This account has used the coupon WELCOME already."]]
    assert balances(cast.account, clock.now()).promo_micro == 5_000_000


@pytest.mark.parametrize("code", ["", "UNKNOWN", "<script>alert(1)</script>", "x" * 500])
def test_a_coupon_that_is_none_is_refused(ada: Client, cast: Cast, clock: FrozenClock, code: str) -> None:
    html = text_of(send(ada, f"{PAGE}/coupon", code=code))

    assert "<script>alert(1)" not in html
    assert len(dismissed(html)) == 1
    assert balances(cast.account, clock.now()).promo_micro == 0


def test_a_budget_is_set_for_the_account_and_for_a_key(ada: Client, cast: Cast) -> None:
    send(ada, f"{PAGE}/budgets", limit="12.50", is_hard="on")
    send(ada, f"{PAGE}/budgets", limit="3", key=cast.key.pk)

    rows = Budget.objects.order_by("pk").values_list("api_key", "limit_micro", "is_hard")
    assert list(rows) == [(None, 12_500_000, True), (cast.key.pk, 3_000_000, False)]


@pytest.mark.parametrize("limit", ["", "0", "-5", "1e3", "1.2345678", "1,50", "NaN", "99999999999"])
def test_a_budget_of_no_amount_is_refused(ada: Client, limit: str) -> None:
    html = text_of(send(ada, f"{PAGE}/budgets", limit=limit))

    assert len(dismissed(html)) == 1
    assert not Budget.objects.exists()


def test_a_budget_of_a_strangers_key_is_not_found_and_noted(ada: Client, cast: Cast) -> None:
    response = send(ada, f"{PAGE}/budgets", limit="3", key=cast.strangers_key.pk)

    assert response.status_code == 404
    assert not Budget.objects.exists()
    assert _noted(cast, "apikey", cast.strangers_key.pk)


def test_a_strangers_budget_payment_and_invoice_are_not_found_and_noted(
    ada: Client, cast: Cast, clock: FrozenClock
) -> None:
    budget = set_budget(
        account=cast.strangers_account,
        api_key=None,
        limit_micro=5,
        is_hard=True,
        webhook_url="",
        actor=SYSTEM,
        now=clock.now(),
    )
    payment = Payment.objects.create(
        account=cast.strangers_account,
        kind=PaymentKind.TOP_UP,
        intent_id="pi_1",
        net_micro=5,
        created_at=clock.now(),
        due_at=clock.now(),
        paid_at=clock.now(),
    )
    invoice = _invoice(cast.strangers_account, clock)

    assert send(ada, f"{PAGE}/budgets/{budget.pk}/remove").status_code == 404
    assert send(ada, f"{PAGE}/payments/{payment.pk}/refund").status_code == 404
    assert ada.get(f"{PAGE}/invoices/{invoice.number}.pdf").status_code == 404

    assert Budget.objects.filter(pk=budget.pk).exists()
    assert _noted(cast, "budget", budget.pk)
    assert _noted(cast, "payment", payment.pk)
    assert _noted(cast, "invoice", invoice.number)


def _noted(cast: Cast, kind: str, named: object) -> bool:
    events = AuditEvent.objects.filter(name="portal.foreign_id", account_id=cast.account.pk)
    return events.filter(subject_kind=kind, subject_id=str(named), actor_label=cast.ada.email).count() == 1


def test_ids_that_nobody_has_are_not_found_and_not_noted(ada: Client) -> None:
    assert send(ada, f"{PAGE}/budgets/999/remove").status_code == 404
    assert send(ada, f"{PAGE}/payments/999/refund").status_code == 404
    assert ada.get(f"{PAGE}/invoices/INV-1999-1.pdf").status_code == 404
    assert not AuditEvent.objects.filter(name="portal.foreign_id").exists()


def _invoice(account: Any, clock: FrozenClock) -> Invoice:
    return Invoice.objects.create(
        account=account,
        state=InvoiceState.ISSUED,
        number="INV-2026-0001",
        period_start=clock.now().date(),
        period_end=clock.now().date(),
        seller="Seller",
        bank_details="Bank",
        buyer="Buyer",
        net_days=30,
        tax_basis_points=0,
        net_micro=12_340_000,
        tax_micro=0,
        rounding_micro=0,
        created_at=clock.now(),
        issued_at=clock.now(),
        due_on=clock.now().date() + timedelta(days=30),
    )


def test_an_invoice_is_listed_and_printed(ada: Client, cast: Cast, clock: FrozenClock) -> None:
    _invoice(cast.account, clock)

    html = text_of(ada.get(PAGE))
    pdf = ada.get(f"{PAGE}/invoices/INV-2026-0001.pdf")

    assert "INV-2026-0001" in html
    assert "$12.34" in html
    assert pdf["Content-Type"] == "application/pdf"
    assert pdf.content.startswith(b"%PDF-")


def test_the_statement_has_this_accounts_movements_alone(ada: Client, cast: Cast, clock: FrozenClock) -> None:
    with transaction.atomic():
        for account, key, memo in (
            (cast.account, "topup:a", "mine <b>bold</b>"),
            (cast.strangers_account, "topup:b", "hers"),
        ):
            ledger.top_up(account_id=account.pk, amount_micro=1_230_000, key=key, memo=memo, now=clock.now())

    html = text_of(ada.get(f"{PAGE}/statement"))

    assert "mine &lt;b&gt;bold&lt;/b&gt;" in html
    assert "hers" not in html
    assert ada.get(f"{PAGE}/statement", {"before": "x"}).status_code == 400
