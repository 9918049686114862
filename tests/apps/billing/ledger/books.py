"""What the tests of the ledger work with: an account, its money, and the proof that the books balance."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from django.db import transaction

from apps.accounts.models import Account
from apps.audit.refs import SYSTEM
from apps.billing.choices import Source
from apps.billing.ledger import services
from apps.billing.ledger.choices import Place
from apps.billing.ledger.invariants import LEDGER_CHECKS
from apps.billing.ledger.models import Hold, LedgerAccount, LedgerEntry, LedgerLine
from apps.billing.ledger.selectors import Balances, balances

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
NEXT_MONTH = NOW + timedelta(days=30)
USD = 1_000_000
_numbers = count(1)


def fresh_key(kind: str = "test") -> str:
    return f"{kind}:{next(_numbers)}"


def committed(act: Callable[..., Any], **values: Any) -> Any:
    """Call a part in a transaction of its own."""
    with transaction.atomic():
        return act(**values)


def top_up(account: Account, micro: int, *, key: str | None = None, now: datetime = NOW) -> None:
    committed(
        services.top_up,
        account_id=account.pk,
        amount_micro=micro,
        key=key or fresh_key("topup"),
        memo="by card",
        now=now,
    )


def grant(
    account: Account, micro: int, *, expires_at: datetime | None = NEXT_MONTH, key: str | None = None
) -> None:
    committed(
        services.grant,
        account_id=account.pk,
        amount_micro=micro,
        expires_at=expires_at,
        key=key or fresh_key("grant"),
        memo="welcome",
        actor=SYSTEM,
        now=NOW,
    )


def hold(
    account: Account, job_id: int, micro: int, *, source: Source = Source.WALLET, now: datetime = NOW
) -> None:
    committed(services.hold, account_id=account.pk, job_id=job_id, source=source, amount_micro=micro, now=now)


def capture(job_id: int, micro: int, *, now: datetime = NOW) -> None:
    committed(services.capture, job_id=job_id, amount_micro=micro, now=now)


def release(job_id: int, *, now: datetime = NOW) -> None:
    committed(services.release, job_id=job_id, now=now)


def money(account: Account, *, now: datetime = NOW) -> Balances:
    return balances(account, now)


def balance(
    *,
    wallet: int = 0,
    promo: int = 0,
    held: int = 0,
    receivable: int = 0,
    invoiced: int = 0,
    disputed: int = 0,
) -> Balances:
    return Balances(
        wallet_micro=wallet,
        promo_micro=promo,
        held_micro=held,
        receivable_micro=receivable,
        invoiced_micro=invoiced,
        disputed_micro=disputed,
    )


def lines_of(key: str) -> dict[Place, int]:
    """What the entry with this key moved."""
    lines = LedgerLine.objects.filter(entry__key=key).values_list("ledger_account__kind", "amount_micro")
    return {Place(kind): micro for kind, micro in lines}


def on_record() -> tuple[list[Any], ...]:
    """Everything the ledger has written: equal before and after means that nothing happened."""
    return tuple(
        list(model.objects.order_by("pk").values_list())
        for model in (LedgerAccount, LedgerEntry, LedgerLine, Hold)
    )


def assert_books_balance(*, now: datetime = NOW) -> None:
    found = {check.__name__: list(check(now)) for check in LEDGER_CHECKS}
    assert {name: lines for name, lines in found.items() if lines} == {}
