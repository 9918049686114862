"""What must be true of the ledger at every moment; `manage.py invariants` runs these with its own.

Each check is a query for counter-examples and yields one line for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any

from django.db import connection

from apps.billing.ledger.choices import DEBT_PLACES
from apps.billing.money import format_usd

Check = Callable[[datetime], Iterator[str]]


def _every_ledger_entry_sums_to_zero(now: datetime) -> Iterator[str]:
    for key, lines, micro in _rows(
        """
        SELECT entry.key, count(line.id), COALESCE(sum(line.amount_micro), 0)
          FROM billing_ledgerentry AS entry LEFT JOIN billing_ledgerline AS line ON line.entry_id = entry.id
         GROUP BY entry.id HAVING count(line.id) < 2 OR COALESCE(sum(line.amount_micro), 0) <> 0
        """
    ):
        yield f"entry {key} has {lines} lines that sum to {format_usd(int(micro))}"


def _the_ledger_sums_to_zero(now: datetime) -> Iterator[str]:
    for (micro,) in _rows("SELECT COALESCE(sum(amount_micro), 0) FROM billing_ledgerline"):
        if micro:
            yield f"all lines together sum to {format_usd(int(micro))}"


def _ledger_balances_are_the_sums_of_their_lines(now: datetime) -> Iterator[str]:
    for kind, place_id, account_id, stored, summed in _rows(
        """
        SELECT place.kind, place.id, place.account_id, place.balance_micro, COALESCE(line.micro, 0)
          FROM billing_ledgeraccount AS place
          LEFT JOIN (SELECT ledger_account_id, sum(amount_micro) AS micro FROM billing_ledgerline GROUP BY 1)
                 AS line ON line.ledger_account_id = place.id
         WHERE place.balance_micro <> COALESCE(line.micro, 0)
        """
    ):
        yield (
            f"the {kind} of account {account_id} (ledger account {place_id}) holds {format_usd(stored)} "
            f"but its lines sum to {format_usd(int(summed))}"
        )


def _every_ledger_line_has_its_place(now: datetime) -> Iterator[str]:
    for line_id, place_id in _rows(
        """
        SELECT line.id, line.ledger_account_id FROM billing_ledgerline AS line
          LEFT JOIN billing_ledgeraccount AS place ON place.id = line.ledger_account_id
         WHERE place.id IS NULL
        """
    ):
        yield f"ledger line {line_id} is on ledger account {place_id}, which does not exist"


def _no_account_is_below_zero(now: datetime) -> Iterator[str]:
    debts = [place.value for place in DEBT_PLACES]
    for kind, account_id, micro in _rows(
        """
        SELECT kind, account_id, balance_micro FROM billing_ledgeraccount
         WHERE CASE WHEN kind = ANY(%s) THEN balance_micro > 0 ELSE balance_micro < 0 END
        """,
        [debts],
    ):
        yield f"the {kind} of account {account_id} is {format_usd(micro)}"


def _held_money_belongs_to_open_holds(now: datetime) -> Iterator[str]:
    for account_id, stored, summed in _rows(
        """
        SELECT COALESCE(place.account_id, hold.account_id), COALESCE(place.balance_micro, 0),
               COALESCE(hold.micro, 0)
          FROM (SELECT * FROM billing_ledgeraccount WHERE kind = 'held') AS place
          FULL JOIN (SELECT account_id, sum(amount_micro) AS micro FROM billing_hold
                      WHERE state = 'open' AND source <> 'pay_as_you_go' GROUP BY 1) AS hold
            ON hold.account_id = place.account_id
         WHERE COALESCE(place.balance_micro, 0) <> COALESCE(hold.micro, 0)
        """
    ):
        yield (
            f"account {account_id} has {format_usd(stored)} held, but its open holds come to "
            f"{format_usd(int(summed))}"
        )


def _every_hold_has_its_entries(now: datetime) -> Iterator[str]:
    """One beginning and, once it ended, one end of its kind and amount; pay as you go begins without."""
    for job_id, state, begun, ended in _rows(
        """
        SELECT hold.job_id, hold.state, count(begin.id), count(ending.id)
          FROM billing_hold AS hold
          LEFT JOIN billing_ledgerentry AS begin
            ON begin.key = 'hold:job:' || hold.job_id AND begin.amount_micro = hold.amount_micro
           AND begin.account_id = hold.account_id
          LEFT JOIN billing_ledgerentry AS ending
            ON ending.key IN ('capture:job:' || hold.job_id, 'release:job:' || hold.job_id)
           AND ending.account_id = hold.account_id
           AND ending.name = CASE hold.state WHEN 'captured' THEN 'capture' ELSE 'release' END
           AND ending.amount_micro
             = CASE hold.state WHEN 'captured' THEN hold.captured_micro ELSE hold.amount_micro END
         GROUP BY hold.id
        HAVING count(begin.id) <> (hold.source <> 'pay_as_you_go')::int
            OR count(ending.id) <> CASE WHEN hold.source <> 'pay_as_you_go' THEN hold.state <> 'open'
                                        ELSE hold.captured_micro > 0 END::int
        """
    ):
        yield f"the hold for job {job_id} is {state}: {begun} entries of its beginning, {ended} of its end"


def _every_capture_has_its_usage_event(now: datetime) -> Iterator[str]:
    """Who paid was served, and who was served from the ledger paid exactly the price on record."""
    for job_id, captured, charged in _rows(
        """
        SELECT COALESCE(hold.job_id, event.job_id), hold.captured_micro, event.price_micro
          FROM (SELECT * FROM billing_hold WHERE captured_micro > 0) AS hold
          FULL JOIN (SELECT * FROM billing_usageevent WHERE price_micro > 0) AS event
            ON event.job_id = hold.job_id AND event.account_id = hold.account_id
           AND event.funding = hold.source AND event.price_micro = hold.captured_micro
         WHERE hold.id IS NULL OR event.id IS NULL
        """
    ):
        yield f"job {job_id} has {_usd(captured)} captured and {_usd(charged)} on its usage event"


LEDGER_CHECKS: tuple[Check, ...] = (
    _every_ledger_entry_sums_to_zero,
    _the_ledger_sums_to_zero,
    _ledger_balances_are_the_sums_of_their_lines,
    _every_ledger_line_has_its_place,
    _no_account_is_below_zero,
    _held_money_belongs_to_open_holds,
    _every_hold_has_its_entries,
)
"""True of the ledger by itself."""
BILLING_CHECKS: tuple[Check, ...] = (*LEDGER_CHECKS, _every_capture_has_its_usage_event)
"""True of the ledger and the usage it charges for, too."""


def _usd(micro: int | None) -> str:
    return "nothing" if micro is None else format_usd(micro)


# Any: columns of the database, whose types each query knows.
def _rows(query: str, parameters: Sequence[list[str]] = ()) -> Sequence[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters or None)
        return list(cursor.fetchall())
