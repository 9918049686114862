"""Whatever is done in whatever order, the ledger says what a plain one in memory says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import transaction
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from apps.accounts.models import Account
from apps.audit.refs import SYSTEM
from apps.billing.choices import Source
from apps.billing.ledger import services
from apps.billing.ledger.choices import SYSTEM_PLACES
from apps.billing.ledger.errors import (
    CaptureExceedsHold,
    HoldEnded,
    HoldMissing,
    InsufficientFunds,
    KeyReused,
)
from apps.billing.ledger.selectors import balances, trial_balance
from tests.apps.billing.ledger.books import NOW, assert_books_balance, committed, on_record
from tests.apps.billing.ledger.plain_ledger import Contradicted, PlainLedger, Refused
from tests.drills.counting import drill_count
from tests.factories import make_account

# Few keys, jobs and micro-dollars: collisions and exact hits are what is looked for.
KEYS = st.sampled_from(["a", "b", "c", "d"])
JOBS = st.integers(1, 5)
MICROS = st.integers(1, 4)
SOURCES = st.sampled_from([Source.WALLET, Source.PROMO, Source.PAYG])
DAYS = st.integers(1, 3)
EXAMPLES = 15
STEPS = 25

pytestmark = pytest.mark.django_db


class LedgerMachine(RuleBasedStateMachine):
    """Each rule does the same to both and compares what came of it."""

    def __init__(self) -> None:
        super().__init__()
        # No atomic block: acts that open a transaction of their own would refuse to be nested in one.
        self.start = transaction.savepoint()
        self.account: Account = make_account(now=NOW)
        self.plain = PlainLedger()
        self.now: datetime = NOW

    def teardown(self) -> None:
        try:
            found = trial_balance()
            expected = {place: self.plain.system.get(place, 0) for place in SYSTEM_PLACES}
            assert {place: found[place] for place in SYSTEM_PLACES} == expected
        finally:
            transaction.savepoint_rollback(self.start)

    def compare(self, plain: Callable[[], Any], act: Callable[..., Any], **values: Any) -> None:
        """`act` must end as `plain` does; a refusal must leave no trace."""
        try:
            plain()
        except Refused:
            expected: tuple[type[BaseException], ...] = (InsufficientFunds,)
        except Contradicted:
            expected = (KeyReused, HoldEnded, HoldMissing, CaptureExceedsHold)
        else:
            committed(act, now=self.now, **values)
            return
        before = on_record()
        with pytest.raises(expected):
            committed(act, now=self.now, **values)
        assert on_record()[1:] == before[1:]

    def booked(self, plain: Callable[[], Any], act: Callable[..., Any], **values: Any) -> None:
        self.compare(plain, act, account_id=self.account.pk, **values)

    @rule(days=DAYS)
    def wait(self, days: int) -> None:
        self.now += timedelta(days=days)

    @rule(key=KEYS, micro=MICROS)
    def top_up(self, key: str, micro: int) -> None:
        self.booked(
            lambda: self.plain.change_wallet(key, "top up", micro, against="cash"),
            services.top_up,
            amount_micro=micro,
            key=key,
            memo="",
        )

    @rule(key=KEYS, micro=MICROS)
    def refund(self, key: str, micro: int) -> None:
        self.booked(
            lambda: self.plain.change_wallet(key, "refund", -micro, against="cash"),
            services.refund_top_up,
            amount_micro=micro,
            key=key,
            memo="",
        )

    @rule(key=KEYS, micro=MICROS, sign=st.sampled_from([1, -1]))
    def adjust(self, key: str, micro: int, sign: int) -> None:
        self.booked(
            lambda: self.plain.change_wallet(key, "adjust", sign * micro, against="refunds"),
            services.adjust,
            amount_micro=sign * micro,
            key=key,
            memo="",
            actor=SYSTEM,
        )

    @rule(key=KEYS, micro=MICROS, days=DAYS)
    def grant(self, key: str, micro: int, days: int) -> None:
        expires_at = self.now + timedelta(days=days)
        self.booked(
            lambda: self.plain.grant(key, micro, expires_at),
            services.grant,
            amount_micro=micro,
            expires_at=expires_at,
            key=key,
            memo="",
            actor=SYSTEM,
        )

    @rule()
    def expire(self) -> None:
        assert services.expire_grants(self.now) == self.plain.expire(self.now)

    @rule(job_id=JOBS, source=SOURCES, micro=MICROS)
    def hold(self, job_id: int, source: Source, micro: int) -> None:
        self.booked(
            lambda: self.plain.hold(job_id, source, micro, self.now),
            services.hold,
            job_id=job_id,
            source=source,
            amount_micro=micro,
        )

    @rule(job_id=JOBS, micro=st.integers(0, 4))
    def capture(self, job_id: int, micro: int) -> None:
        self.compare(
            lambda: self.plain.end(job_id, "captured", micro),
            services.capture,
            job_id=job_id,
            amount_micro=micro,
        )

    @rule(job_id=JOBS)
    def release(self, job_id: int) -> None:
        self.compare(lambda: self.plain.end(job_id, "released", 0), services.release, job_id=job_id)

    @rule(key=KEYS, micro=MICROS, tax=st.integers(0, 2))
    def bill(self, key: str, micro: int, tax: int) -> None:
        self.booked(
            lambda: self.plain.bill(key, micro, tax),
            services.bill_receivable,
            amount_micro=micro,
            tax_micro=tax,
            key=key,
        )

    @rule(key=KEYS, micro=MICROS)
    def pay(self, key: str, micro: int) -> None:
        self.booked(lambda: self.plain.pay(key, micro), services.pay_receivable, amount_micro=micro, key=key)

    @rule(key=KEYS, micro=MICROS)
    def dispute(self, key: str, micro: int) -> None:
        self.booked(
            lambda: self.plain.dispute(key, micro), services.dispute, amount_micro=micro, key=key, memo=""
        )

    @rule(key=KEYS, micro=MICROS)
    def win_dispute(self, key: str, micro: int) -> None:
        self.booked(
            lambda: self.plain.win_dispute(key, micro),
            services.dispute_won,
            amount_micro=micro,
            key=key,
            memo="",
        )

    @rule(key=KEYS, micro=MICROS)
    def charge_for_a_dispute(self, key: str, micro: int) -> None:
        self.booked(
            lambda: self.plain.dispute_fee(key, micro),
            services.dispute_fee,
            fee_micro=micro,
            key=key,
            memo="",
        )

    @invariant()
    def both_say_the_same(self) -> None:
        assert balances(self.account, self.now) == self.plain.balances(self.now)
        assert_books_balance(now=self.now)


def test_any_sequence_of_operations_balances_like_a_plain_ledger() -> None:
    run_state_machine_as_test(
        LedgerMachine,
        settings=settings(
            max_examples=drill_count(EXAMPLES), stateful_step_count=STEPS, deadline=None, derandomize=True
        ),
    )
