"""What pays for a job: the order of sources, what is held, captured and given back, and what is refused."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.audit.refs import SYSTEM
from apps.billing.choices import Source
from apps.billing.errors import PaymentRequired
from apps.billing.ledger.models import LedgerEntry
from apps.billing.models import UsageEvent
from apps.billing.services import record_usage
from apps.generation import settlement
from apps.generation.errors import QueueFull
from apps.generation.faults import INTERNAL
from apps.generation.late_holds import end_late_holds
from apps.generation.lifecycle import fail_job, finish_cancel, lease_of, reap_crashed, reap_expired
from apps.generation.models import GenerationJob
from apps.generation.request import GenerationRequest
from apps.generation.services import Wanted, cancel_job, submit_together
from apps.mails.models import Mail
from apps.quotas.announcing import announce_thresholds
from apps.quotas.budgets import set_budget
from apps.quotas.errors import BudgetExhausted, DailyQuotaExhausted
from apps.quotas.models import Budget
from apps.webhooks.models import Delivery
from tests.apps.generation.paying import (
    IMAGE_MICRO,
    PAID,
    fill_wallet,
    give_credit,
    let_pay_later,
    money_of,
    publish_prices,
)
from tests.apps.generation.studio import (
    WORKER,
    Studio,
    assert_invariants_hold,
    claim_one,
    finish,
    on_record,
    worker_ref,
)
from tests.clocks import FrozenClock
from tests.factories import give_plan


def paid_by(studio: Studio, **fields: object) -> str:
    return studio.submit(**fields).funding  # type: ignore[arg-type]  # fields of the request


def test_sources_are_tried_in_their_order(studio: Studio, clock: FrozenClock) -> None:
    give_plan(studio.account, **PAID | {"included_calls_per_month": 1, "free_calls_per_day": 1})
    publish_prices()
    fill_wallet(studio.account, IMAGE_MICRO)
    give_credit(studio.account, IMAGE_MICRO)
    let_pay_later(studio.account)

    jobs = [studio.submit() for _ in range(6)]

    assert [job.funding for job in jobs] == [
        "plan", "daily_free", "promo", "wallet", "pay_as_you_go", "pay_as_you_go",
    ]  # fmt: skip
    assert [job.price_micro for job in jobs] == [0, 0, *[IMAGE_MICRO] * 4]
    assert [job.price_book_version for job in jobs] == [None, None, 1, 1, 1, 1]
    day = clock.now().date()
    assert [job.funding_period for job in jobs[:3]] == [day.replace(day=1), day, None]


def test_a_credit_that_is_too_small_is_passed_over_and_the_first_to_expire_goes_first(
    studio: Studio, clock: FrozenClock
) -> None:
    give_plan(studio.account, **PAID)
    publish_prices()
    fill_wallet(studio.account, 10 * IMAGE_MICRO)
    give_credit(studio.account, IMAGE_MICRO - 1, expires_at=clock.now() + timedelta(days=1))
    give_credit(studio.account, IMAGE_MICRO, expires_at=clock.now() + timedelta(days=2))

    assert [paid_by(studio), paid_by(studio)] == ["promo", "wallet"]
    assert money_of(studio.account) == (9 * IMAGE_MICRO, IMAGE_MICRO - 1, 2 * IMAGE_MICRO, 0)


def test_what_is_delivered_is_captured_once_and_said_by_its_usage(studio: Studio) -> None:
    give_plan(studio.account, **PAID)
    publish_prices()
    fill_wallet(studio.account, 10_000)
    studio.submit(num_images=3, width=64, height=64)
    assert money_of(studio.account) == (4000, 0, 6000, 0)

    finish(claim_one())

    assert money_of(studio.account) == (4000, 0, 0, 0)
    event = UsageEvent.objects.get()
    assert (event.funding, event.price_micro, event.price_book_version, event.kind) == (
        "wallet", 6000, 1, "txt2img",
    )  # fmt: skip
    assert_invariants_hold()


def test_pay_as_you_go_is_owed_once_it_is_delivered(studio: Studio) -> None:
    give_plan(studio.account, **PAID)
    publish_prices()
    let_pay_later(studio.account)
    studio.submit()
    assert money_of(studio.account) == (0, 0, 0, 0)

    finish(claim_one())

    assert money_of(studio.account) == (0, 0, 0, IMAGE_MICRO)


def test_a_job_keeps_the_price_of_its_own_book(studio: Studio) -> None:
    give_plan(studio.account, **PAID)
    publish_prices()
    fill_wallet(studio.account, 10_000)
    studio.submit()
    publish_prices(9000)

    finish(claim_one())

    event = UsageEvent.objects.get()
    assert (event.price_micro, event.price_book_version) == (IMAGE_MICRO, 1)
    with pytest.raises(PaymentRequired, match=r"costs \$0\.009"):
        studio.submit()


def test_a_plans_own_price_goes_before_the_books(studio: Studio) -> None:
    give_plan(studio.account, **PAID | {"price_per_image_micro": 1500})
    publish_prices()
    fill_wallet(studio.account, 10_000)

    assert studio.submit(num_images=2).price_micro == 3000


def test_a_price_of_nothing_needs_no_money(studio: Studio) -> None:
    give_plan(studio.account, **PAID | {"price_per_image_micro": 0})
    publish_prices()

    job = studio.submit()
    assert (job.funding, job.price_micro) == ("plan", 0)
    finish(claim_one())
    assert_invariants_hold()


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


def test_without_money_payment_is_required_and_nothing_happens(studio: Studio) -> None:
    give_plan(studio.account, **PAID)
    publish_prices()
    fill_wallet(studio.account, IMAGE_MICRO - 1)
    before = on_record()

    with pytest.raises(PaymentRequired) as refused:
        studio.submit()

    assert (refused.value.http_status, refused.value.price_micro) == (402, IMAGE_MICRO)
    assert (on_record(), money_of(studio.account)) == (before, (IMAGE_MICRO - 1, 0, 0, 0))


def test_whoever_has_free_calls_is_told_when_they_come_back(studio: Studio, clock: FrozenClock) -> None:
    give_plan(studio.account, **PAID | {"free_calls_per_day": 2})
    publish_prices()
    studio.submit(), studio.submit()

    with pytest.raises(DailyQuotaExhausted) as refused:
        studio.submit()

    assert (refused.value.limit, refused.value.retry_after_s) == (2, 12 * 3600)
    fill_wallet(studio.account, IMAGE_MICRO)
    assert paid_by(studio) == "wallet"
    clock.advance(hours=12)
    assert paid_by(studio) == "daily_free"


def test_beyond_a_hard_budget_nothing_is_taken(studio: Studio, clock: FrozenClock) -> None:
    give_plan(studio.account, **PAID)
    publish_prices()
    fill_wallet(studio.account, 10 * IMAGE_MICRO)
    set_budget(
        account=studio.account, api_key=studio.key, limit_micro=IMAGE_MICRO, is_hard=True, webhook_url="",
        actor=SYSTEM, now=clock.now(),
    )  # fmt: skip
    studio.submit()
    # Else the refusal is the first to tell of it, in the audit log, too.
    announce_thresholds(clock.now())
    before = on_record()

    with pytest.raises(BudgetExhausted):
        studio.submit()

    assert (on_record(), money_of(studio.account)[0]) == (before, 9 * IMAGE_MICRO)


def test_a_budget_that_refuses_is_told_of_though_it_is_not_all_spent(
    studio: Studio, clock: FrozenClock
) -> None:
    give_plan(studio.account, **PAID)
    publish_prices()
    fill_wallet(studio.account, 10 * IMAGE_MICRO)
    set_budget(
        account=studio.account, api_key=studio.key, limit_micro=5 * IMAGE_MICRO // 2, is_hard=True,
        webhook_url="https://shop.example/budget", actor=SYSTEM, now=clock.now(),
    )  # fmt: skip
    studio.submit(), studio.submit()

    for _ in range(2):
        with pytest.raises(BudgetExhausted):
            studio.submit()

    subjects = list(Mail.objects.order_by("pk").values_list("subject", flat=True))
    assert [subject.split(" of ")[0] for subject in subjects] == ["50 %", "80 %", "The monthly budget"]
    bodies = [json.loads(bytes(row.body or b"")) for row in Delivery.objects.order_by("pk")]
    assert [body["data"]["percent"] for body in bodies] == [50, 80, 100]
    assert announce_thresholds(clock.now()) == 0
    clock.advance(days=31)
    studio.submit(num_images=2)
    with pytest.raises(BudgetExhausted):
        studio.submit()
    assert Mail.objects.count() == 6


def test_a_full_queue_holds_no_money(studio: Studio) -> None:
    give_plan(studio.account, **PAID | {"queue_depth": 1})
    publish_prices()
    fill_wallet(studio.account, 10 * IMAGE_MICRO)
    studio.submit()

    with pytest.raises(QueueFull):
        studio.submit()

    assert money_of(studio.account) == (9 * IMAGE_MICRO, 0, IMAGE_MICRO, 0)


def test_several_together_are_paid_all_or_none(studio: Studio, clock: FrozenClock) -> None:
    give_plan(studio.account, **PAID | {"free_calls_per_day": 1})
    publish_prices()
    fill_wallet(studio.account, IMAGE_MICRO)
    before = on_record()

    def submit(count: int) -> list[str]:
        request = GenerationRequest(checkpoint="tiny", prompt="a cat")
        wanted = [Wanted(request=request, client_options={})] * count
        jobs = submit_together(account=studio.account, api_key=studio.key, wanted=wanted, now=clock.now())
        return [job.funding for job in jobs]

    with pytest.raises(DailyQuotaExhausted):
        submit(3)
    assert (on_record(), money_of(studio.account)) == (before, (IMAGE_MICRO, 0, 0, 0))
    assert submit(2) == ["daily_free", "wallet"]


def test_included_and_free_calls_write_no_ledger(studio: Studio) -> None:
    give_plan(studio.account, **PAID | {"included_calls_per_month": 1, "free_calls_per_day": 1})
    publish_prices()
    for _ in range(2):
        studio.submit()
        finish(claim_one())

    assert not LedgerEntry.objects.exists()
    assert list(UsageEvent.objects.order_by("pk").values_list("funding", "price_micro")) == [
        ("plan", 0),
        ("daily_free", 0),
    ]


def test_a_plan_that_includes_everything_asks_nothing_of_money(studio: Studio) -> None:
    give_plan(studio.account, calls_per_day="unlimited", queue_depth="unlimited")
    studio.submit()

    with CaptureQueriesContext(
        connection,
    ) as queries:
        studio.submit()
    asked = " ".join(query["sql"] for query in queries.captured_queries)

    assert not [word for word in ("billing_", "quotas_allowance", "quotas_budget") if word in asked]


@pytest.mark.parametrize("source", ["wallet", "pay_as_you_go"])
def test_what_a_worker_of_the_version_before_delivers_costs_what_its_usage_says(
    studio: Studio, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    """It writes usage without a price, and does not know of holds."""
    _have_one_open_job(studio, clock, source)
    monkeypatch.setattr(settlement, "_end_funding", lambda *_: None)

    def as_before(**fields: Any) -> UsageEvent:
        """Any: columns of the event."""
        return record_usage(**fields | {"funding": Source.PLAN, "price_micro": 0, "price_book_version": None})

    monkeypatch.setattr(settlement, "record_usage", as_before)
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
