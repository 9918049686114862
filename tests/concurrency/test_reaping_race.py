"""Reapers that end jobs of several days and fundings, beside each other and beside the next day's submits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from functools import partial
from threading import Barrier, BrokenBarrierError
from typing import Any

import pytest
from django.db import OperationalError

from apps.audit.refs import SYSTEM
from apps.billing import funding
from apps.core.clock import now
from apps.generation import refusing, settlement
from apps.generation.lifecycle import reap_crashed
from apps.generation.models import GenerationJob
from apps.generation.services import cancel_job
from apps.generation.settlement import release_together
from apps.quotas import services as quotas
from apps.quotas.models import DailyUsage
from tests.apps.generation.paying import IMAGE_MICRO, PAID, fill_wallet, money_of, publish_prices
from tests.apps.generation.studio import (
    OTHER_WORKER,
    WORKER,
    Crew,
    Studio,
    assert_invariants_hold,
    claim,
    finish,
    states,
    usage,
)
from tests.concurrency.racing import DRILL_S, Track
from tests.drills.counting import drill_count
from tests.factories import give_plan

MEETING_S = 1.0
"""One of them waits so long for another that its lock keeps out."""
ROUNDS = 3

pytestmark = pytest.mark.timeout(DRILL_S)


def move_to_yesterday(live: Studio, *jobs: GenerationJob) -> None:
    """As if they had been submitted a moment before midnight."""
    yesterday = jobs[0].quota_day - timedelta(days=1)
    today = DailyUsage.objects.get(account=live.account, day=jobs[0].quota_day)
    DailyUsage.objects.filter(pk=today.pk).update(reserved=today.reserved - len(jobs))
    DailyUsage.objects.create(account=live.account, day=yesterday, reserved=len(jobs))
    GenerationJob.objects.filter(pk__in=[job.pk for job in jobs]).update(quota_day=yesterday)


def want_all_stopped() -> None:
    """What is reaped ends, and gives back what was reserved for it."""
    GenerationJob.objects.filter(state="running").update(is_cancel_requested=True)


def release_one_by_one(jobs: Sequence[GenerationJob], *, now: datetime) -> None:
    """The control: every row of a job before the next job's."""
    for job in jobs:
        release_together([job], now=now)


def dead_workers_across_midnight(live: Studio) -> list[GenerationJob]:
    """Each worker has a job of either day: the first one today's before yesterday's, the other turned."""
    give_plan(live.account, queue_depth="unlimited")
    jobs = [live.submit() for _ in range(4)]
    assert [job.pk for job in (*claim(WORKER, limit=2), *claim(OTHER_WORKER))] == [job.pk for job in jobs]
    move_to_yesterday(live, jobs[1], jobs[2])
    want_all_stopped()
    return jobs


def meet_after(act: Callable[..., Any], both: Barrier) -> Callable[..., Any]:
    """`act`, after which its caller waits until the other has come as far, if that can."""

    def act_and_meet(*args: Any, **options: Any) -> Any:
        result = act(*args, **options)
        with suppress(BrokenBarrierError):
            both.wait(MEETING_S)
        return result

    return act_and_meet


def reap(worker: str) -> int:
    return reap_crashed(worker=worker, actor=SYSTEM, now=now())


def reap_at_once(monkeypatch: pytest.MonkeyPatch) -> Crew:
    """Both have given back calls of a first day before either goes on, if they can."""
    both_have_begun = Barrier(2)
    release_day: Callable[[int, date, int], bool] = quotas._release_day
    monkeypatch.setattr(quotas, "_release_day", meet_after(release_day, both_have_begun))
    crew = Crew()
    crew.run(partial(reap, WORKER), partial(reap, OTHER_WORKER))
    return crew


def test_reapers_take_days_in_one_order(live: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = dead_workers_across_midnight(live)

    crew = reap_at_once(monkeypatch)

    assert (crew.errors, crew.results) == ([], [2, 2])
    assert states(*jobs) == ["canceled"] * 4
    assert usage(live.account) == (0, 0)
    assert_invariants_hold()


def test_control_job_by_job_reapers_wait_for_each_other(
    live: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_workers_across_midnight(live)
    monkeypatch.setattr(refusing, "release_together", release_one_by_one)

    crew = reap_at_once(monkeypatch)

    assert_one_was_in_a_circle(crew)


def assert_one_was_in_a_circle(crew: Crew) -> None:
    assert [type(error) for error in crew.errors] == [OperationalError]
    assert "deadlock" in str(crew.errors[0])


def yesterdays_jobs_paid_twofold(live: Studio) -> list[GenerationJob]:
    """Running: one that the wallet pays for, and a later one that the plan's only included call does."""
    publish_prices()
    give_plan(live.account, **PAID | {"included_calls_per_month": 1})
    fill_wallet(live.account, 10 * IMAGE_MICRO)
    included, paid = live.submit(), live.submit()
    cancel_job(job=included, actor=SYSTEM, now=now())
    jobs = [paid, live.submit()]
    assert [job.funding for job in jobs] == ["wallet", "plan"]
    assert len(claim(WORKER)) == len(jobs)
    move_to_yesterday(live, *jobs)
    want_all_stopped()
    return jobs


def reap_beside_a_submit(live: Studio, monkeypatch: pytest.MonkeyPatch) -> Crew:
    """The reaper has given back a first funding and the submit has asked for the plan's call, if they can."""
    both_have_begun = Barrier(2)
    monkeypatch.setattr(settlement, "give_back", meet_after(funding.give_back, both_have_begun))
    look = meet_after(funding.take_plan_allowance, both_have_begun)
    monkeypatch.setattr(funding, "take_plan_allowance", look)
    crew = Crew()
    crew.run(partial(reap, WORKER), live.submit)
    return crew


def test_a_reaper_takes_fundings_in_the_order_of_submits(
    live: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = yesterdays_jobs_paid_twofold(live)

    crew = reap_beside_a_submit(live, monkeypatch)

    assert crew.errors == []
    assert states(*jobs) == ["canceled"] * 2
    assert usage(live.account) == (1, 0)
    assert_invariants_hold()


def test_control_job_by_job_a_reaper_and_a_submit_wait_for_each_other(
    live: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    yesterdays_jobs_paid_twofold(live)
    monkeypatch.setattr(refusing, "release_together", release_one_by_one)

    crew = reap_beside_a_submit(live, monkeypatch)

    assert_one_was_in_a_circle(crew)


def test_reapers_submits_and_finishes_of_two_accounts_go_on_together(live: Studio) -> None:
    publish_prices()
    for account in (live.account, live.strangers_account):
        give_plan(account, **PAID | {"included_calls_per_month": 4, "calls_per_month": 100_000})
        fill_wallet(account, 100_000 * IMAGE_MICRO)
    rounds = drill_count(ROUNDS)

    with Track(racers=5).open() as track:
        for _ in range(rounds):
            dead = [live.submit(by_stranger=number % 2 == 0) for number in range(6)]
            reaped = claim(WORKER, limit=3), claim(OTHER_WORKER, limit=2)
            want_all_stopped()
            [ready] = claim("third/cpu", limit=1)
            assert [len(jobs) for jobs in reaped] == [3, 2]
            track.race(
                [
                    partial(reap, WORKER),
                    partial(reap, OTHER_WORKER),
                    partial(finish, ready),
                    live.submit,
                    partial(live.submit, by_stranger=True),
                ]
            )
            assert sorted(states(*dead)) == ["canceled"] * 5 + ["succeeded"]
            for late in claim("third/cpu"):
                finish(late)

    assert_invariants_hold()
    assert money_of(live.account)[2] == money_of(live.strangers_account)[2] == 0
