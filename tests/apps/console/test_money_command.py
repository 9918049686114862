"""`manage.py money`, as an operator types it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.core.management import CommandError, call_command

from apps.audit.models import AuditEvent
from apps.billing.ledger.models import LedgerAccount, LedgerEntry
from apps.billing.ledger.selectors import balances
from tests.apps.billing.ledger.books import assert_books_balance
from tests.apps.console.test_billing_commands import run
from tests.cast import Cast
from tests.clocks import FrozenClock

TOP_UP = ("money", "top-up", "--account", "ada", "--memo", "transfer 4711")


def wallet(cast: Cast, clock: FrozenClock) -> int:
    return balances(cast.account, clock.now()).wallet_micro


def test_money_that_came_by_transfer_is_booked_once(cast: Cast, clock: FrozenClock) -> None:
    first = run(*TOP_UP, "--amount", "12.34", "--key", "t-4711")
    second = run(*TOP_UP, "--amount", "12.34", "--key", "t-4711")

    assert "ada: top-up of $12.34, key t-4711" in first
    assert "key t-4711 was booked before; nothing was moved" in second
    assert wallet(cast, clock) == 12_340_000
    event = AuditEvent.objects.get(name="billing.wallet.topped_up")
    assert (event.actor_label, event.data["memo"]) == ("manage.py", "transfer 4711")
    assert_books_balance()


def test_without_a_key_each_call_is_another(cast: Cast, clock: FrozenClock) -> None:
    said = [run(*TOP_UP, "--amount", "1") for _ in range(2)]

    assert wallet(cast, clock) == 2_000_000
    key = said[0].split("key ")[1].split()[0]
    assert "nothing was moved" in run(*TOP_UP, "--amount", "1", "--key", key)


def test_credit_lasts_to_the_end_of_its_day(cast: Cast, clock: FrozenClock) -> None:
    words = ("money", "grant", "--account", "ada", "--amount", "5", "--memo", "sorry", "--key", "k")
    run(*words, "--expires", "2026-03-31")

    assert balances(cast.account, clock.now()).promo_micro == 5_000_000
    ends = LedgerAccount.objects.get(kind="promo").expires_at
    assert ends == datetime(2026, 4, 1, tzinfo=UTC)
    with pytest.raises(CommandError, match="already says something else"):
        run(*words)
    assert_books_balance()


def test_the_wallet_is_corrected_up_and_down_but_not_below_nothing(cast: Cast, clock: FrozenClock) -> None:
    words = ("money", "adjust", "--account", "ada", "--memo", "mistake")
    run(*words, "--amount", "3")
    run(*words, "--amount", "-1.25")

    with pytest.raises(CommandError, match=r"less than \$1\.76 in the account's prepaid wallet"):
        run(*words, "--amount=-1.76")
    assert wallet(cast, clock) == 1_750_000
    assert AuditEvent.objects.filter(name="billing.wallet.adjusted").count() == 2
    assert_books_balance()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("top-up", "--amount=-5"), "--amount must be an amount"),
        (("grant", "--amount=-5"), "--amount must be an amount"),
        (("top-up", "--amount", "0"), "--amount must not be 0"),
        (("adjust", "--amount=-0.00"), "--amount must not be 0"),
        (("top-up", "--amount", "1.0000001"), "at most 6 after one point"),
        (("adjust", "--amount=--5"), "--amount must be an amount"),
        (("top-up", "--amount", "1e3"), "--amount must be an amount"),
        (("top-up", "--amount", "1", "--key", "a b"), "--key must be"),
        (("top-up", "--amount", "1", "--key", "a" * 101), "--key must be"),
        (("top-up", "--amount", "1", "--memo", " "), "--memo must have"),
        (("grant", "--amount", "1", "--expires", "soon"), "--expires must be a day"),
        (("grant", "--amount", "1", "--expires", "2026-03-01"), "--expires must not be over"),
        (("top-up", "--amount", "1", "--account", "nobody"), "there is no account 'nobody'"),
    ],
)
def test_what_cannot_be_moves_nothing(
    cast: Cast, clock: FrozenClock, words: tuple[str, ...], problem: str
) -> None:
    act, *others = words
    with pytest.raises(CommandError, match=problem):
        run("money", act, "--account", "ada", "--memo", "m", *others)
    assert not LedgerEntry.objects.exists()


def test_an_account_is_shown_with_its_last_entries(cast: Cast, clock: FrozenClock) -> None:
    run(*TOP_UP, "--amount", "12.34")

    said = run("money", "show", "--account", "ada")

    assert "ada: wallet $12.34, credit $0.00, held $0.00" in said
    assert "2026-03-02 12:00 UTC  top-up: prepaid wallet $12.34  transfer 4711" in said


def test_what_is_missing_is_asked_for(cast: Cast) -> None:
    with pytest.raises(CommandError, match="--memo"):
        call_command("money", "top-up", "--account", "ada", "--amount", "1")
