"""Holds and captures of several jobs in one statement each: what submits and workers do all day.

Both lock the gate of every account that they touch first, in the order of the accounts, as `posting` locks
its one: transactions never wait for each other in a circle. Under it balances may be read and then written,
since nobody else moves this account's money. The tables' constraints and the triggers that prove every entry
at commit stand as they do for single entries.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from django.db import connection

from apps.billing.choices import Source
from apps.billing.ledger.choices import Place
from apps.billing.ledger.holds import promos_with
from apps.billing.ledger.models import LedgerAccount
from apps.billing.ledger.posting import lock_account
from apps.core.db import require_transaction

# A key that is taken fails as a unique constraint: the jobs are new, and so must their holds be.
HOLD_TOGETHER: Final = """
WITH wanted AS (
    SELECT * FROM unnest(%(jobs)s::bigint[], %(amounts)s::bigint[], %(sources)s::text[], %(promos)s::bigint[])
               AS wanted (job_id, amount, source, promo_id)
), held AS (
    INSERT INTO billing_hold (job_id, account_id, source, promo_id, amount_micro, state, captured_micro, at)
    SELECT job_id, %(account_id)s, source, promo_id, amount, 'open', 0, %(now)s FROM wanted
), taken AS (
    SELECT job_id, amount, source, COALESCE(promo_id, %(wallet)s) AS place_id
      FROM wanted WHERE source <> 'pay_as_you_go'
), entry AS (
    INSERT INTO billing_ledgerentry (key, name, at, account_id, job_id, amount_micro, terms, memo)
    SELECT 'hold:job:' || job_id, 'hold', %(now)s, %(account_id)s, job_id, amount, source, '' FROM taken
    RETURNING id, job_id
), line AS (
    SELECT entry.id AS entry_id, side.place_id, side.amount
      FROM entry JOIN taken USING (job_id),
           LATERAL (VALUES (taken.place_id, -taken.amount), (%(gate)s, taken.amount))
                   AS side (place_id, amount)
), moved AS (
    UPDATE billing_ledgeraccount AS place SET balance_micro = place.balance_micro + change.amount
      FROM (SELECT place_id, sum(amount) AS amount FROM line GROUP BY 1) AS change
     WHERE place.id = change.place_id
)
INSERT INTO billing_ledgerline (entry_id, ledger_account_id, amount_micro)
SELECT entry_id, place_id, amount FROM line
"""
# Only holds that are open and of just this amount: all of it is earned, nothing goes back.
CAPTURE_TOGETHER: Final = """
WITH wanted AS (
    SELECT * FROM unnest(%(jobs)s::bigint[], %(amounts)s::bigint[]) AS wanted (job_id, amount)
), gate AS MATERIALIZED (
    SELECT account_id FROM billing_ledgeraccount
     WHERE kind = 'held'
       AND account_id IN (SELECT account_id FROM billing_hold WHERE job_id = ANY(%(jobs)s::bigint[]))
     ORDER BY account_id FOR NO KEY UPDATE
), ended AS (
    UPDATE billing_hold AS hold SET state = 'captured', captured_micro = hold.amount_micro, ended_at = %(now)s
      FROM wanted
     WHERE hold.job_id = wanted.job_id AND hold.state = 'open' AND hold.amount_micro = wanted.amount
       AND hold.account_id IN (SELECT account_id FROM gate)
       AND EXISTS (SELECT FROM billing_ledgeraccount WHERE kind = 'revenue' AND account_id IS NULL)
    RETURNING hold.job_id, hold.account_id, hold.source, hold.amount_micro AS amount
), entry AS (
    INSERT INTO billing_ledgerentry (key, name, at, account_id, job_id, amount_micro, terms, memo)
    SELECT 'capture:job:' || job_id, 'capture', %(now)s, account_id, job_id, amount, source, ''
      FROM ended ORDER BY job_id
    RETURNING id, job_id
), side AS (
    SELECT job_id, place.id AS place_id, -amount AS amount, true AS has_balance
      FROM ended JOIN billing_ledgeraccount AS place
        ON place.account_id = ended.account_id
       AND place.kind = CASE ended.source WHEN 'pay_as_you_go' THEN 'receivable' ELSE 'held' END
     UNION ALL
    SELECT job_id, place.id, amount, false
      FROM ended JOIN billing_ledgeraccount AS place ON place.kind = 'revenue' AND place.account_id IS NULL
), moved AS (
    UPDATE billing_ledgeraccount AS place SET balance_micro = place.balance_micro + change.amount
      FROM (SELECT place_id, sum(amount) AS amount FROM side WHERE has_balance GROUP BY 1) AS change
     WHERE place.id = change.place_id
), written AS (
    INSERT INTO billing_ledgerline (entry_id, ledger_account_id, amount_micro)
    SELECT entry.id, side.place_id, side.amount FROM entry JOIN side USING (job_id)
)
SELECT job_id FROM ended
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """What pays for one call."""

    source: Source
    promo_id: int | None = None
    """Which promotional credit; None of every other source."""


def choose_sources(
    prices: Sequence[int],
    *,
    promos: Sequence[tuple[int, int]],
    wallet_micro: int,
    may_pay_later: Callable[[], bool],
) -> list[Chosen]:
    """What pays for each call, one after the other; shorter than `prices` where nothing pays for the next.

    A call has one source: the first credit of `promos` (id and micro-USD, in the order of their use) that has
    all of its price, else the wallet, else the next invoice. Pure, but for `may_pay_later`, which is asked
    once, and only if it matters.
    """
    chosen: list[Chosen] = []
    left = [list(promo) for promo in promos]
    is_trusted: bool | None = None
    for price in prices:
        credit = next((promo for promo in left if promo[1] >= price), None)
        if credit is not None:
            credit[1] -= price
            chosen.append(Chosen(source=Source.PROMO, promo_id=credit[0]))
        elif wallet_micro >= price:
            wallet_micro -= price
            chosen.append(Chosen(source=Source.WALLET))
        else:
            is_trusted = may_pay_later() if is_trusted is None else is_trusted
            if not is_trusted:
                return chosen
            chosen.append(Chosen(source=Source.PAYG))
    return chosen


def hold_together(
    *,
    account_id: int,
    prices: Sequence[int],
    job_ids: Callable[[], Sequence[int]],
    may_pay_later: Callable[[], bool],
    now: datetime,
) -> list[Chosen]:
    """Set aside the prices (micro-USD, above zero) of new jobs of one account; a part. What pays for each.

    Shorter than `prices` where nothing pays for the next one, and then nothing is written. The ids are asked
    for only when all are paid. Raises IntegrityError for a job that has a hold already.
    """
    require_transaction()
    lock_account(account_id)
    rows = LedgerAccount.objects.filter(account_id=account_id, kind__in=(Place.HELD, Place.WALLET))
    places = {kind: (pk, balance) for pk, kind, balance in rows.values_list("pk", "kind", "balance_micro")}
    promos = promos_with(account_id, min(prices), now=now).values_list("pk", "balance_micro")
    gate, (wallet, wallet_micro) = places[Place.HELD][0], places[Place.WALLET]
    chosen = choose_sources(
        prices,
        promos=[(pk, balance or 0) for pk, balance in promos],
        wallet_micro=wallet_micro or 0,
        may_pay_later=may_pay_later,
    )
    if len(chosen) == len(prices):
        with connection.cursor() as cursor:
            cursor.execute(
                HOLD_TOGETHER,
                {
                    "account_id": account_id,
                    "jobs": list(job_ids()),
                    "amounts": list(prices),
                    "sources": [each.source.value for each in chosen],
                    "promos": [each.promo_id for each in chosen],
                    "wallet": wallet,
                    "gate": gate,
                    "now": now,
                },
            )
    return chosen


def capture_together(amounts: dict[int, int], *, now: datetime) -> set[int]:
    """Earn all that is held for jobs: their ids with micro-USD; a part. Ids of those that it was done for.

    The others are left as they were: nothing or another amount is held for them, or it has ended. `capture`
    says which, one at a time.
    """
    require_transaction()
    if not amounts:
        return set()
    with connection.cursor() as cursor:
        cursor.execute(
            CAPTURE_TOGETHER, {"jobs": list(amounts), "amounts": list(amounts.values()), "now": now}
        )
        return {row[0] for row in cursor.fetchall()}
