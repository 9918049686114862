"""What a key's own limits do to its queue, beside those of its account's plan."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apps.core.clock import now
from apps.generation.errors import QueueFull
from apps.generation.lifecycle import lease_of
from apps.generation.models import GenerationJob
from apps.generation.services import cancel_job
from apps.plans.models import Plan
from apps.quotas.models import DailyUsage
from tests.apps.generation.studio import OTHER_WORKER, Studio, claim, finish
from tests.factories import give_plan, make_key


def with_key(studio: Studio, **limits: int) -> Studio:
    """The same studio with another key of Ada's."""
    return replace(studio, key=make_key(studio.account, name="limited", **limits).key)


def test_a_keys_queue_is_its_own(studio: Studio) -> None:
    limited = with_key(studio, queue_depth=2)
    studio.submit()
    first = limited.submit()
    limited.submit()
    with pytest.raises(QueueFull, match="limit of 2 open requests") as refusal:
        limited.submit()
    assert refusal.value.retry_after_s == 30
    assert GenerationJob.objects.count() == 3
    assert DailyUsage.objects.get().reserved == 3
    studio.submit()
    cancel_job(job=first, actor=studio.account.ref, now=now())
    limited.submit()


def test_the_plans_queue_holds_for_every_key(studio: Studio) -> None:
    give_plan(studio.account, queue_depth=1)
    with_key(studio, queue_depth=5).submit()
    with pytest.raises(QueueFull, match="limit of 1 open"):
        with_key(studio, queue_depth=5).submit()


def test_more_jobs_of_a_key_wait_than_may_run_at_once(studio: Studio) -> None:
    limited = with_key(studio, max_parallel=2)
    first, second, third = (limited.submit() for _ in range(3))
    free = studio.submit()
    assert claim() == [first, second, free]
    assert claim(OTHER_WORKER) == []
    finish(GenerationJob.objects.get(pk=first.pk), lease=lease_of(GenerationJob.objects.get(pk=first.pk)))
    assert claim(OTHER_WORKER) == [third]


@pytest.mark.parametrize(("plans", "keys", "together"), [(3, 1, [0, 2, 3]), (1, 3, [0])])
def test_the_smaller_of_both_limits_holds(studio: Studio, plans: int, keys: int, together: list[int]) -> None:
    give_plan(studio.account, max_parallel=plans)
    limited = with_key(studio, max_parallel=keys)
    jobs = [limited.submit(), limited.submit(), studio.submit(), studio.submit()]
    strangers = studio.submit(by_stranger=True)
    claimed = claim(limit=4)
    assert {job.pk for job in claimed} == {jobs[each].pk for each in together} | {strangers.pk}


def test_beyond_fair_use_an_accounts_jobs_are_claimed_after_others(studio: Studio) -> None:
    """Two are within it. A later one counts as four: Cleo has as many turns between."""
    Plan.objects.update(weight=1.0)
    give_plan(studio.account, weight=1, fair_use_calls_per_month=2)
    adas = [studio.submit() for _ in range(4)]
    cleos = [studio.submit(by_stranger=True) for _ in range(6)]
    assert claim() == [*adas[:2], *cleos[:4], adas[2], *cleos[4:], adas[3]]
