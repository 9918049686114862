"""What is given back of a job that delivers nothing, whoever ends it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from apps.audit.refs import SYSTEM
from apps.billing.choices import Source
from apps.billing.ledger.models import LedgerEntry
from apps.billing.models import UsageEvent
from apps.generation import settlement
from apps.generation.faults import INTERNAL
from apps.generation.late_holds import end_late_holds
from apps.generation.lifecycle import fail_job, finish_cancel, lease_of, reap_crashed, reap_expired
from apps.generation.models import GenerationJob
from apps.generation.services import cancel_job
from apps.quotas.budgets import set_budget
from apps.quotas.models import Allowance, Budget
from tests.apps.generation.paying import (
    IMAGE_MICRO,
    PAID,
    fill_wallet,
    give_credit,
    let_pay_later,
    money_of,
    paid_by,
    publish_prices,
)
from tests.apps.generation.studio import (
    OTHER_WORKER,
    WORKER,
    Studio,
    assert_invariants_hold,
    claim_one,
    finish,
    worker_ref,
)
from tests.clocks import FrozenClock
from tests.factories import give_plan


@pytest.mark.parametrize("end", ["failed", "canceled", "canceled while queued", "expired", "quarantined"])
@pytest.mark.parametrize("source", ["plan", "daily_free", "promo", "wallet", "pay_as_you_go"])
def test_what_delivers_nothing_gives_everything_back(
    studio: Studio, clock: FrozenClock, settings: object, source: str, end: str
) -> None:
    included, free = int(source == "plan"), int(source == "daily_free")
    give_plan(studio.account, **PAID | {"included_calls_per_month": included, "free_calls_per_day": free})
    publish_prices()
    {
        "promo": lambda: give_credit(studio.account, IMAGE_MICRO),
        "wallet": lambda: fill_wallet(studio.account, IMAGE_MICRO),
        "pay_as_you_go": lambda: let_pay_later(studio.account),
    }.get(source, lambda: None)()
    set_budget(
        account=studio.account, api_key=None, limit_micro=IMAGE_MICRO, is_hard=True, webhook_url="",
        actor=SYSTEM, now=clock.now(),
    )  # fmt: skip
    before = money_of(studio.account)

    job = studio.submit()
    assert job.funding == source
    end_without_images(job, end, clock)

    assert money_of(studio.account) == before
    # It pays again: allowance, money and budget are all there.
    clock.advance(minutes=1)
    assert paid_by(studio) == source
    assert not UsageEvent.objects.exists()
    assert_invariants_hold()


def test_a_dead_workers_job_settles_its_included_call_once_and_in_its_own_period(
    studio: Studio, clock: FrozenClock
) -> None:
    """Taken in March, its worker dead, run again in April: nothing of either month's allowance leaks."""
    give_plan(studio.account, **PAID | {"included_calls_per_month": 1})
    publish_prices()
    clock.move_to(datetime(2026, 3, 31, 23, 59, tzinfo=UTC))
    job = studio.submit()
    claim_one()
    clock.advance(minutes=2)
    assert reap_expired(actor=SYSTEM, now=clock.now()) == 1
    finish(claim_one(OTHER_WORKER, suspects=True))
    assert GenerationJob.objects.get(pk=job.pk).state == "succeeded"
    taken = Allowance.objects.values_list("period", "reserved", "settled")
    assert list(taken) == [(date(2026, 3, 1), 0, 1)]
    assert paid_by(studio) == "plan"
    assert_invariants_hold()


def end_without_images(job: GenerationJob, end: str, clock: FrozenClock) -> None:
    if end == "canceled while queued":
        cancel_job(job=job, actor=SYSTEM, now=clock.now())
    elif end == "expired":
        assert reap_expired(actor=SYSTEM, now=job.deadline_at) == 1
    elif end == "quarantined":
        for _ in range(2):
            claim_one(suspects=GenerationJob.objects.get(pk=job.pk).crashes > 0)
            assert reap_crashed(worker=WORKER, actor=SYSTEM, now=clock.now()) == 1
    else:
        lease = lease_of(claim_one())
        if end == "failed":
            fail_job(lease=lease, failure=INTERNAL, worker=worker_ref(), now=clock.now())
        else:
            finish_cancel(lease=lease, worker=worker_ref(), now=clock.now())
    assert GenerationJob.objects.get(pk=job.pk).is_terminal


@pytest.mark.parametrize("source", ["wallet", "pay_as_you_go"])
def test_what_a_worker_of_the_version_before_delivers_costs_what_its_usage_says(
    studio: Studio, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """It writes usage without a price, and does not know of holds."""
    _have_one_open_job(studio, clock, source)
    monkeypatch.setattr(settlement, "_end_funding", lambda *_: None)

    monkeypatch.setattr(settlement, "settle_captures", lambda *_, **__: set())
    usage_of = settlement._usage_of

    def as_before(*delivered: Any) -> UsageEvent:
        """Any: what `_usage_of` takes."""
        event = usage_of(*delivered)
        event.funding, event.price_micro, event.price_book_version = Source.PLAN, 0, None
        return event

    monkeypatch.setattr(settlement, "_usage_of", as_before)
    finish(claim_one())

    assert [end_late_holds(actor=SYSTEM, now=clock.now()) for _ in range(2)] == [1, 0]
    _assert_all_is_back(studio, source)


def test_what_a_worker_of_the_version_before_fails_is_given_back(
    studio: Studio, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    _have_one_open_job(studio, clock, "wallet")
    monkeypatch.setattr(settlement, "_end_funding", lambda *_: None)
    fail_job(lease=lease_of(claim_one()), failure=INTERNAL, worker=worker_ref(), now=clock.now())

    assert [end_late_holds(actor=SYSTEM, now=clock.now()) for _ in range(2)] == [1, 0]
    _assert_all_is_back(studio, "wallet")


def test_holds_of_jobs_that_go_on_stay(studio: Studio, clock: FrozenClock) -> None:
    _have_one_open_job(studio, clock, "wallet")
    assert end_late_holds(actor=SYSTEM, now=clock.now()) == 0
    assert money_of(studio.account) == (0, 0, IMAGE_MICRO, 0)


def _have_one_open_job(studio: Studio, clock: FrozenClock, source: str) -> None:
    """Paid by `source`, and by all of a budget."""
    give_plan(studio.account, **PAID)
    publish_prices()
    if source == "wallet":
        fill_wallet(studio.account, IMAGE_MICRO)
    let_pay_later(studio.account)
    set_budget(
        account=studio.account,
        api_key=None,
        limit_micro=IMAGE_MICRO,
        is_hard=True,
        webhook_url="",
        actor=SYSTEM,
        now=clock.now(),
    )
    assert paid_by(studio) == source


def _assert_all_is_back(studio: Studio, source: str) -> None:
    assert money_of(studio.account) == (IMAGE_MICRO if source == "wallet" else 0, 0, 0, 0)
    assert Budget.objects.get().spent_micro == 0
    assert not LedgerEntry.objects.filter(name="capture", amount_micro__gt=0).exists()
    assert_invariants_hold()
