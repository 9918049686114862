"""What is refused for want of money, and that a refusal takes nothing."""

from __future__ import annotations

import json

import pytest

from apps.audit.refs import SYSTEM
from apps.billing.errors import PaymentRequired
from apps.generation.errors import QueueFull
from apps.generation.request import GenerationRequest
from apps.generation.services import Wanted, submit_together
from apps.mails.models import Mail
from apps.quotas.announcing import announce_thresholds
from apps.quotas.budgets import set_budget
from apps.quotas.errors import BudgetExhausted, DailyQuotaExhausted
from apps.webhooks.models import Delivery
from tests.apps.generation.paying import (
    IMAGE_MICRO,
    PAID,
    fill_wallet,
    money_of,
    paid_by,
    publish_prices,
)
from tests.apps.generation.studio import (
    Studio,
    on_record,
)
from tests.clocks import FrozenClock
from tests.factories import give_plan


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
