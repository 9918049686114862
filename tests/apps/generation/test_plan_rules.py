"""What a plan says of requests, of the queue and of what becomes of images."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from apps.core.clock import now
from apps.core.errors import InvalidField
from apps.generation.choices import JobState
from apps.generation.claiming import claim_jobs
from apps.generation.delivering import artifact_expiry
from apps.generation.lifecycle import lease_of
from apps.generation.models import GenerationJob
from apps.plans.errors import ModelNotInPlan
from apps.plans.retention import choose_retention
from apps.quotas.errors import MonthlyQuotaExhausted
from apps.quotas.models import DailyUsage
from tests.apps.generation.studio import OTHER_WORKER, WORKER, Crew, Studio, finish
from tests.clocks import FrozenClock
from tests.factories import give_plan

SMALL: dict[str, Any] = {"width": 64, "height": 64}


def test_a_model_outside_the_plan_is_refused(studio: Studio) -> None:
    give_plan(studio.account, models=["another"])
    with pytest.raises(ModelNotInPlan):
        studio.submit()
    assert not GenerationJob.objects.exists() and not DailyUsage.objects.exists()


@pytest.mark.parametrize("field", ["width", "height"])
def test_a_side_is_at_most_the_plans(studio: Studio, field: str) -> None:
    give_plan(studio.account, max_side=128)
    studio.submit(**SMALL | {field: 128})
    with pytest.raises(InvalidField, match="at most 128 pixels in the plan only-ada, not 136") as refusal:
        studio.submit(**SMALL | {field: 136})
    assert refusal.value.field == field
    assert GenerationJob.objects.count() == 1


def test_the_month_limits_submits_too(studio: Studio) -> None:
    give_plan(studio.account, calls_per_month=1)
    studio.submit()
    with pytest.raises(MonthlyQuotaExhausted):
        studio.submit()
    assert GenerationJob.objects.count() == 1


def test_beyond_fair_use_a_job_is_queued_with_less_weight(studio: Studio) -> None:
    give_plan(studio.account, weight=4, fair_use_calls_per_month=1)
    weights = [GenerationJob.objects.get(pk=studio.submit().pk).weight for _ in range(2)]
    assert weights == [4.0, 1.0]


def test_images_are_kept_as_long_as_the_account_chose(studio: Studio, clock: FrozenClock) -> None:
    give_plan(studio.account, retention_days=[1, 30])
    before = studio.submit()
    choose_retention(account=studio.account, days=30, actor=studio.account.ref, now=clock.now())
    after = studio.submit()
    assert artifact_expiry(after) - after.queued_at == timedelta(days=30)
    assert artifact_expiry(before) - before.queued_at == timedelta(days=1)


def test_no_more_jobs_of_an_account_run_at_once_than_its_plan_allows(studio: Studio) -> None:
    give_plan(studio.account, max_parallel=2)
    mine = [studio.submit() for _ in range(4)]
    theirs = studio.submit(by_stranger=True)
    claimed = claim_jobs(worker=WORKER, limit=4, now=now())
    assert {job.pk for job in claimed} == {mine[0].pk, mine[1].pk, theirs.pk}
    assert claim_jobs(worker=OTHER_WORKER, limit=4, now=now()) == []
    # The others keep their places, and one that ends lets the next one in.
    finish(claimed[0] if claimed[0].pk == mine[0].pk else claimed[1])
    [following] = claim_jobs(worker=OTHER_WORKER, limit=4, now=now())
    assert following.pk == mine[2].pk
    assert lease_of(following).fence == 1


def test_workers_that_claim_at_once_do_not_exceed_it_together(live: Studio) -> None:
    give_plan(live.account, queue_depth="unlimited", max_parallel=3)
    for _ in range(20):
        live.submit()
    crew = Crew()
    crew.run(*[partial(claim_jobs, worker=f"worker {each}", limit=2, now=now()) for each in range(6)])
    assert crew.errors == []
    assert GenerationJob.objects.filter(state=JobState.RUNNING).count() == 3
