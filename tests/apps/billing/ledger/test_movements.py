"""What each operation posts, that its key makes it happen once, and what the audit log says of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from itertools import permutations
from typing import Any

import pytest
from django.db import transaction

from apps.accounts.models import Account
from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM, Ref
from apps.billing.choices import Source
from apps.billing.ledger import services
from apps.billing.ledger.choices import Place
from apps.billing.ledger.errors import InsufficientFunds, KeyReused
from apps.billing.ledger.selectors import entries, trial_balance
from apps.billing.tasks import expire_grants
from tests.apps.billing.ledger.books import (
    NEXT_MONTH,
    NOW,
    USD,
    assert_books_balance,
    balance,
    capture,
    committed,
    grant,
    hold,
    lines_of,
    money,
    on_record,
    release,
    top_up,
)
from tests.clocks import FrozenClock
from tests.factories import make_account

pytestmark = pytest.mark.django_db
OTTO = Ref(kind="user", id=7, label="otto@example.com")


@pytest.fixture
def account() -> Account:
    return make_account(now=NOW)


def booked(act: Callable[..., None], account: Account, **values: Any) -> Callable[[], Any]:
    return partial(committed, act, account_id=account.pk, now=NOW, **values)


def test_a_top_up_fills_the_wallet_and_a_refund_empties_it(account: Account) -> None:
    top_up(account, 5 * USD, key="topup:pi_1")
    refund = booked(services.refund_top_up, account, amount_micro=2 * USD, key="refund:re_1", memo="")
    refund()
    assert money(account) == balance(wallet=3 * USD)
    assert lines_of("topup:pi_1") == {Place.CASH: -5 * USD, Place.WALLET: 5 * USD}
    assert lines_of("refund:re_1") == {Place.CASH: 2 * USD, Place.WALLET: -2 * USD}
    assert_books_balance()


def test_what_is_spent_or_held_is_not_paid_back(account: Account) -> None:
    top_up(account, 5 * USD)
    hold(account, 1, USD)
    before = on_record()
    with pytest.raises(InsufficientFunds):
        booked(services.refund_top_up, account, amount_micro=4 * USD + 1, key="refund:re_1", memo="")()
    assert on_record() == before


def test_adjustments_go_both_ways_but_not_below_zero(account: Account) -> None:
    adjust = partial(booked, services.adjust, account, memo="sorry", actor=OTTO)
    adjust(amount_micro=3 * USD, key="adjust:1")()
    adjust(amount_micro=-USD, key="adjust:2")()
    with pytest.raises(InsufficientFunds, match=r"less than \$3.00"):
        adjust(amount_micro=-3 * USD, key="adjust:3")()
    with pytest.raises(ValueError, match="cannot be zero"):
        adjust(amount_micro=0, key="adjust:4")()
    assert money(account) == balance(wallet=2 * USD)
    assert lines_of("adjust:1") == {Place.WALLET: 3 * USD, Place.REFUNDS: -3 * USD}


def test_usage_on_account_is_invoiced_and_paid(account: Account) -> None:
    hold(account, 1, 3_000_006, source=Source.PAYG)
    capture(1, 3_000_006)
    invoiced = partial(
        booked, services.bill_receivable, account, tax_micro=570_000, rounding_micro=-6, key="invoice:1"
    )
    invoiced(amount_micro=3_000_006)()
    assert money(account) == balance(invoiced=3_570_000)
    assert lines_of("invoice:1") == {
        Place.RECEIVABLE: 3_000_006,
        Place.INVOICED: -3_570_000,
        Place.TAX: 570_000,
        Place.ROUNDING: -6,
    }
    booked(services.pay_receivable, account, amount_micro=3_570_000, key="paid:1")()
    assert money(account) == balance()
    assert_books_balance()


def test_an_invoice_taken_back_leaves_its_usage_to_be_billed(account: Account) -> None:
    hold(account, 1, USD, source=Source.PAYG)
    capture(1, USD)
    for act, key in ((services.bill_receivable, "invoice:1"), (services.unbill_receivable, "void:1")):
        booked(act, account, amount_micro=USD, tax_micro=190_000, key=key)()
    assert money(account) == balance(receivable=USD)
    assert trial_balance()[Place.TAX] == 0


@pytest.mark.parametrize(
    "act", [services.bill_receivable, services.unbill_receivable, services.pay_receivable]
)
def test_no_more_is_billed_or_paid_than_is_owed(account: Account, act: Callable[..., None]) -> None:
    hold(account, 1, USD, source=Source.PAYG)
    capture(1, USD)
    before = on_record()
    with pytest.raises(InsufficientFunds):
        booked(act, account, amount_micro=USD + 1, key="too much")()
    assert on_record() == before


def test_a_plan_is_paid_and_paid_back_past_the_wallet(account: Account) -> None:
    paid = {"net_micro": 47 * USD, "tax_micro": 9 * USD, "memo": "Standard"}
    booked(services.receive_payment, account, key="payment:in_1", **paid)()
    booked(services.refund_payment, account, key="refund:re_1", **paid)()
    assert money(account) == balance()
    found = {place: micro for place, micro in trial_balance().items() if micro}
    assert found == {Place.REVENUE: 47 * USD, Place.REFUNDS: -47 * USD}


def test_a_disputed_top_up_takes_what_is_left_and_the_rest_is_owed(account: Account) -> None:
    top_up(account, 5 * USD)
    hold(account, 1, 3 * USD)
    capture(1, 3 * USD)
    booked(services.dispute, account, amount_micro=5 * USD, key="dispute:1", memo="")()
    assert money(account) == balance(disputed=3 * USD)
    booked(services.dispute_won, account, amount_micro=5 * USD, key="won:1", memo="")()
    assert money(account) == balance(wallet=2 * USD)
    assert_books_balance()


def test_a_dispute_that_is_won_settles_no_usage(account: Account) -> None:
    """Usage on account is invoiced by itself: paid out of the money that comes back, it would cost twice."""
    top_up(account, 5 * USD)
    hold(account, 1, 5 * USD)
    capture(1, 5 * USD)
    hold(account, 2, 2 * USD, source=Source.PAYG)
    capture(2, 2 * USD)
    booked(services.dispute, account, amount_micro=5 * USD, key="dispute:1", memo="")()
    assert money(account) == balance(receivable=2 * USD, disputed=5 * USD)
    booked(services.dispute_won, account, amount_micro=5 * USD, key="won:1", memo="")()
    assert money(account) == balance(receivable=2 * USD)
    booked(services.bill_receivable, account, amount_micro=2 * USD, key="invoice:1")()
    assert money(account) == balance(invoiced=2 * USD)


@pytest.mark.parametrize("order", list(permutations((3, 4))))
def test_of_two_disputes_the_one_that_is_won_ends_the_same_in_any_order(
    account: Account, order: tuple[int, int]
) -> None:
    top_up(account, 7 * USD)
    hold(account, 1, 2 * USD)
    capture(1, 2 * USD)
    for dollars in order:
        booked(services.dispute, account, amount_micro=dollars * USD, key=f"dispute:{dollars}", memo="")()
    assert money(account) == balance(disputed=2 * USD)
    booked(services.dispute_won, account, amount_micro=4 * USD, key="won:4", memo="")()
    assert money(account) == balance(wallet=2 * USD)


def test_the_fee_of_a_dispute_is_an_expense_and_may_come_back(account: Account) -> None:
    top_up(account, 5 * USD)
    booked(services.dispute_fee, account, fee_micro=15 * USD, key="fee:1", memo="")()
    assert [line.name for line in entries(account).lines] == ["top_up"]
    assert lines_of("fee:1") == {Place.FEES: -15 * USD, Place.CASH: 15 * USD}
    booked(services.dispute_fee, account, fee_micro=-15 * USD, key="fee:2", memo="")()
    assert trial_balance()[Place.FEES] == 0
    assert money(account) == balance(wallet=5 * USD)
    with pytest.raises(ValueError, match="cannot be zero"):
        booked(services.dispute_fee, account, fee_micro=0, key="fee:3", memo="")()


def test_a_disputed_payment_of_a_plan_is_our_loss(account: Account) -> None:
    top_up(account, 5 * USD)
    lost = partial(booked, services.dispute, account, amount_micro=47 * USD, memo="", of_top_up=False)
    lost(key="dispute:1")()
    assert money(account) == balance(wallet=5 * USD)
    assert lines_of("dispute:1") == {Place.REFUNDS: -47 * USD, Place.CASH: 47 * USD}
    won = partial(booked, services.dispute_won, account, amount_micro=47 * USD, memo="", of_top_up=False)
    won(key="won:1")()
    assert trial_balance()[Place.REFUNDS] == 0


def test_a_dispute_told_twice_is_one_though_the_wallet_has_changed(account: Account) -> None:
    top_up(account, 5 * USD)
    tell = booked(services.dispute, account, amount_micro=5 * USD, key="dispute:1", memo="")
    tell()
    top_up(account, 9 * USD)
    before = on_record()
    tell()
    assert on_record() == before


def operations(account: Account) -> list[tuple[Callable[..., None], dict[str, Any], dict[str, Any]]]:
    """Each act with what it is asked, and with something else under the same key."""
    one = {"amount_micro": USD, "key": "same", "memo": ""}
    net = {"net_micro": USD, "tax_micro": 0, "key": "same", "memo": ""}
    granted = one | {"actor": SYSTEM, "expires_at": NEXT_MONTH}
    return [
        (services.top_up, one, one | {"amount_micro": 2 * USD}),
        (services.refund_top_up, one, one | {"amount_micro": 2 * USD}),
        (services.adjust, one | {"actor": OTTO}, one | {"actor": OTTO, "amount_micro": -USD}),
        (services.grant, granted, granted | {"expires_at": NEXT_MONTH + timedelta(days=1)}),
        (services.bill_receivable, one, one | {"tax_micro": 1}),
        (services.pay_receivable, one, one | {"amount_micro": 2 * USD}),
        (services.receive_payment, net, net | {"net_micro": USD - 1, "tax_micro": 1}),
        (services.refund_payment, net, net | {"net_micro": USD - 1, "tax_micro": 1}),
        (services.dispute, one, one | {"of_top_up": False}),
        (services.dispute_won, one, one | {"of_top_up": False}),
    ]


@pytest.mark.parametrize("number", range(10))
def test_the_same_key_means_the_same_money_once(account: Account, number: int) -> None:
    top_up(account, 9 * USD)
    for job_id in (1, 2):
        hold(account, job_id, 3 * USD, source=Source.PAYG)
        capture(job_id, 3 * USD)
    booked(services.bill_receivable, account, amount_micro=3 * USD, key="invoice:1")()
    act, asked, otherwise = operations(account)[number]
    audited = AuditEvent.objects.count()
    booked(act, account, **asked)()
    before, so_far = on_record(), AuditEvent.objects.count()
    assert so_far == audited + 1
    booked(act, account, **asked)()
    with pytest.raises(KeyReused, match="same already says something else"):
        booked(act, account, **otherwise)()
    with pytest.raises(KeyReused):
        booked(act, make_account("other", now=NOW), **asked)()
    assert on_record()[1:] == before[1:]
    assert AuditEvent.objects.filter(name__startswith="billing.").count() == so_far - audited + 2
    assert_books_balance()


def test_amounts_are_above_zero(account: Account) -> None:
    for act, asked, _ in operations(account):
        if act is services.adjust:
            continue
        which = "amount_micro" if "amount_micro" in asked else "net_micro"
        for micro in (0, -USD):
            with pytest.raises(ValueError, match="above zero"):
                booked(act, account, **(asked | {which: micro}))()


def test_the_audit_log_says_who_and_how_much(account: Account) -> None:
    adjust = booked(services.adjust, account, amount_micro=USD, key="adjust:1", memo="sorry", actor=OTTO)
    adjust()
    event = AuditEvent.objects.get(name="billing.wallet.adjusted")
    assert (event.actor_label, event.subject_label, event.account_id) == (OTTO.label, "studio", account.pk)
    assert event.data == {"key": "adjust:1", "amount_micro": USD, "memo": "sorry"}


def test_expired_credit_goes_back_what_is_held_of_it_later(account: Account) -> None:
    grant(account, 5 * USD, key="grant:1")
    grant(account, 5 * USD, key="grant:2", expires_at=NEXT_MONTH + timedelta(seconds=1))
    grant(account, 5 * USD, key="grant:3", expires_at=None)
    hold(account, 1, 2 * USD, source=Source.PROMO)
    assert services.expire_grants(NEXT_MONTH - timedelta(seconds=1)) == 0
    assert services.expire_grants(NEXT_MONTH) == 1
    assert services.expire_grants(NEXT_MONTH) == 0
    assert money(account) == balance(promo=10 * USD, held=2 * USD)
    release(1, now=NEXT_MONTH)
    assert money(account, now=NEXT_MONTH) == balance(promo=10 * USD)
    assert services.expire_grants(NEXT_MONTH) == 1
    assert trial_balance()[Place.GRANTS] == -10 * USD
    assert AuditEvent.objects.filter(name="billing.credit.expired").count() == 2
    assert_books_balance(now=NEXT_MONTH)


def test_credit_cannot_be_granted_expired(account: Account) -> None:
    with pytest.raises(ValueError, match="has expired already"):
        grant(account, USD, expires_at=NOW)


def test_a_grant_told_again_after_it_expired_is_still_the_same(account: Account) -> None:
    grant(account, USD, key="grant:1")
    before = on_record()
    committed(
        services.grant,
        account_id=account.pk,
        amount_micro=USD,
        expires_at=NEXT_MONTH,
        key="grant:1",
        memo="",
        actor=SYSTEM,
        now=NEXT_MONTH,
    )
    assert on_record() == before


def test_a_statement_has_pages_and_shows_the_accounts_own_places(account: Account) -> None:
    top_up(make_account("other", now=NOW), USD)
    for number in range(5):
        top_up(account, (number + 1) * USD, key=f"topup:{number}")
    first = entries(account, limit=3)
    assert [line.amount_micro // USD for line in first.lines] == [5, 4, 3]
    assert first.lines[0].changes == {Place.WALLET: 5 * USD}
    assert (first.lines[0].title, first.lines[0].memo) == ("top-up", "by card")
    second = entries(account, before=first.next_before, limit=3)
    assert [line.amount_micro // USD for line in second.lines] == [2, 1]
    assert second.next_before is None
    assert entries(account, limit=5).next_before is None


def test_a_rolled_back_transaction_leaves_nothing(account: Account) -> None:
    top_up(account, USD)
    before = on_record()
    with pytest.raises(OSError, match="power"), transaction.atomic():
        services.hold(account_id=account.pk, job_id=1, source=Source.WALLET, amount_micro=USD, now=NOW)
        raise OSError("power")
    assert on_record() == before


def test_housekeeping_takes_expired_credit_back(account: Account, clock: FrozenClock) -> None:
    grant(account, USD)
    assert expire_grants() == 0
    clock.advance(days=31)
    assert expire_grants() == 1
    assert trial_balance()[Place.PROMO] == 0
