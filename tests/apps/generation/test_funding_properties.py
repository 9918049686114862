"""What an estimate says is what a submit holds and what the ledger captures, whatever the account has."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.billing.errors import PaymentRequired
from apps.billing.models import UsageEvent
from apps.core import clock
from apps.generation.choices import Kind
from apps.generation.estimates import Estimate, estimate
from apps.generation.faults import INTERNAL
from apps.generation.lifecycle import fail_job, finish_job, lease_of
from apps.generation.models import GenerationJob
from apps.generation.request import GenerationRequest
from apps.generation.wishes import UpscaleWish
from apps.quotas.errors import DailyQuotaExhausted
from tests.apps.generation.paying import (
    PAID,
    fill_wallet,
    give_credit,
    let_pay_later,
    money_of,
    publish_prices,
)
from tests.apps.generation.studio import Studio, claim_one, images_of, worker_ref
from tests.apps.generation.utilities import make_utilities, picture
from tests.factories import give_plan

SIDES = st.integers(8, 40).map(lambda eighths: eighths * 8)
DRAWN = st.fixed_dictionaries(
    {
        "checkpoint": st.just("tiny"),
        "prompt": st.just("a fox"),
        "width": SIDES,
        "height": SIDES,
        "num_images": st.integers(1, 4),
        "upscale": st.none() | st.integers(2, 4).map(lambda factor: UpscaleWish(factor=factor)),
    }
)
ENLARGED = st.builds(
    lambda factor: {"kind": Kind.UPSCALE, "image": picture(), "upscale": UpscaleWish(factor=factor)},
    st.integers(2, 4),
)
LOOKED_AT = st.just({"kind": Kind.NSFW_CHECK, "image": picture()})
CALLS = st.lists(
    st.tuples(st.one_of(DRAWN, DRAWN, ENLARGED, LOOKED_AT), st.sampled_from(["deliver", "deliver", "fail"])),
    min_size=1,
    max_size=6,
)
PLANS = st.fixed_dictionaries(
    {
        "included_calls_per_month": st.sampled_from([0, 0, 1, 2, "unlimited"]),
        "free_calls_per_day": st.integers(0, 1),
        "price_per_image_micro": st.sampled_from([None, None, None, 0, 1, 1999]),
    }
)
CREDITS = st.lists(st.integers(1, 12_000), max_size=3)


def _estimated(studio: Studio, fields: dict[str, Any]) -> Estimate:
    request = GenerationRequest(**fields)
    return estimate(account=studio.account, api_key=studio.key, request=request, now=clock.now())


def _submitted(studio: Studio, fields: dict[str, Any]) -> GenerationJob | None:
    """None if nothing pays."""
    try:
        return studio.submit(**{"checkpoint": "", "prompt": ""} | fields)
    except (PaymentRequired, DailyQuotaExhausted):
        return None


def _ended(end: str) -> None:
    job = claim_one()
    if end == "fail":
        fail_job(lease=lease_of(job), failure=INTERNAL, worker=worker_ref(), now=clock.now())
    else:
        finish_job(
            lease=lease_of(job), artifacts=images_of(job), timings={}, worker=worker_ref(), now=clock.now()
        )


@pytest.fixture
def stocked(studio: Studio) -> Studio:
    """With what every kind here needs."""
    make_utilities()
    return studio


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plan=PLANS,
    wallet=st.integers(0, 60_000),
    credits=CREDITS,
    pays_later=st.booleans(),
    image_micro=st.sampled_from([0, 1, 2000, 7001]),
    calls=CALLS,
)
def test_the_estimate_is_what_is_held_and_what_is_captured(
    stocked: Studio,
    plan: dict[str, Any],
    wallet: int,
    credits: list[int],
    pays_later: bool,
    image_micro: int,
    calls: list[tuple[dict[str, Any], str]],
) -> None:
    # No atomic block: the acts under test would refuse to be nested in it.
    start = transaction.savepoint()
    try:
        give_plan(stocked.account, **PAID | plan)
        publish_prices(image_micro)
        if wallet:
            fill_wallet(stocked.account, wallet)
        for credit in credits:
            give_credit(stocked.account, credit)
        let_pay_later(stocked.account, is_allowed=pays_later)
        for fields, end in calls:
            _check_one_call(stocked, fields, end)
    finally:
        transaction.savepoint_rollback(start)


def _check_one_call(studio: Studio, fields: dict[str, Any], end: str) -> None:
    before = money_of(studio.account)
    said = _estimated(studio, {"checkpoint": "", "prompt": ""} | fields)
    assert money_of(studio.account) == before
    job = _submitted(studio, fields)
    assert (job.funding if job else None) == said.funding
    if job is None:
        assert money_of(studio.account) == before
        return
    assert job.price_micro == said.price_micro
    spendable = sum(money_of(studio.account)[:2])
    assert said.balance_after_micro in (spendable, None)
    _ended(end)

    event = UsageEvent.objects.filter(job_id=job.pk).first()
    if end == "fail":
        assert (event, money_of(studio.account)) == (None, before)
        return
    assert event is not None
    assert (event.price_micro, event.funding) == (said.price_micro, said.funding)
    wallet, promo, held, owed = money_of(studio.account)
    assert (wallet + promo - owed, held) == (before[0] + before[1] - before[3] - said.price_micro, 0)
