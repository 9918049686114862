"""What pays for a job: the order of sources, and what is held and captured."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.billing.errors import PaymentRequired
from apps.billing.ledger.models import LedgerEntry
from apps.billing.models import UsageEvent
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
    Studio,
    assert_invariants_hold,
    claim_one,
    finish,
)
from tests.clocks import FrozenClock
from tests.factories import give_plan


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
