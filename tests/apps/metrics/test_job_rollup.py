"""Ended jobs are counted once each, into minutes and totals, however often and late housekeeping runs."""

from __future__ import annotations

from collections import Counter

import pytest

from apps.generation.services import cancel_job
from apps.metrics import job_rollup, tasks
from apps.metrics.job_rollup import DURATION, ENDED, IMAGES, WAITED, roll_up_jobs
from apps.metrics.models import JobMinute
from apps.metrics.storing import list_stored
from tests.apps.generation.studio import Studio, claim_one, finish
from tests.clocks import FrozenClock

pytestmark = pytest.mark.django_db


def totals(clock: FrozenClock) -> dict[tuple[str, tuple[str, ...]], float]:
    return {(row.series, row.labels): row.value for row in list_stored(now=clock.now())}


def run_one(studio: Studio, clock: FrozenClock, *, wait_s: float, run_s: float, **fields: object) -> None:
    studio.submit(**fields)
    clock.advance(seconds=wait_s)
    job = claim_one()
    clock.advance(seconds=run_s)
    finish(job)


def test_ends_durations_and_images_are_counted(studio: Studio, clock: FrozenClock) -> None:
    run_one(studio, clock, wait_s=1.5, run_s=0.5, num_images=2)
    run_one(studio, clock, wait_s=4, run_s=6)
    cancel_job(job=studio.submit(), actor=studio.key.ref, now=clock.now())
    assert roll_up_jobs(now=clock.advance(seconds=61)) == 3
    which = ("txt2img", "standard")
    assert totals(clock) == {
        (ENDED.name, (*which, "succeeded")): 2,
        (ENDED.name, (*which, "canceled")): 1,
        (IMAGES.name, which): 3,
        (WAITED.name, which): 5.5,
        # Two seconds are within two seconds; ten are within thirteen.
        (DURATION.name, (*which, "2")): 1,
        (DURATION.name, (*which, "13")): 1,
        (DURATION.sum_name, which): 12,
    }


def test_nobody_is_counted_twice_or_left_out(studio: Studio, clock: FrozenClock) -> None:
    studio.submit()
    runs_long = claim_one()
    for _ in range(6):
        run_one(studio, clock, wait_s=0.1, run_s=20)
        roll_up_jobs(now=clock.now())
        roll_up_jobs(now=clock.now())
    roll_up_jobs(now=clock.advance(seconds=120))
    finish(runs_long)
    run_one(studio, clock, wait_s=1, run_s=1)
    roll_up_jobs(now=clock.advance(seconds=61))
    assert roll_up_jobs(now=clock.advance(hours=1)) == 0
    minutes = Counter[str]()
    for row in JobMinute.objects.all():
        minutes[row.state] += row.jobs
    assert minutes == {"succeeded": 8}
    assert totals(clock)[ENDED.name, ("txt2img", "standard", "succeeded")] == 8


def test_a_job_is_counted_only_when_nobody_can_end_before_it_any_more(
    studio: Studio, clock: FrozenClock
) -> None:
    run_one(studio, clock, wait_s=0, run_s=1)
    assert roll_up_jobs(now=clock.advance(seconds=59)) == 0
    assert roll_up_jobs(now=clock.advance(seconds=1)) == 1


def test_old_minutes_go_and_totals_stay(studio: Studio, clock: FrozenClock) -> None:
    run_one(studio, clock, wait_s=0, run_s=1)
    roll_up_jobs(now=clock.advance(seconds=61))
    before = totals(clock)
    clock.advance(days=2, minutes=2)
    tasks.prune()
    assert not JobMinute.objects.exists()
    assert totals(clock) == before


def test_what_ended_while_nobody_counted_is_in_the_totals_alone(studio: Studio, clock: FrozenClock) -> None:
    roll_up_jobs(now=clock.now())
    run_one(studio, clock, wait_s=0, run_s=1)
    assert roll_up_jobs(now=clock.advance(days=9)) == 1
    assert not JobMinute.objects.exists()
    assert totals(clock)[ENDED.name, ("txt2img", "standard", "succeeded")] == 1
    assert job_rollup.KEEP_MINUTES.days == 2


def test_totals_begin_two_days_before_the_first_run(studio: Studio, clock: FrozenClock) -> None:
    run_one(studio, clock, wait_s=0, run_s=1)
    clock.advance(days=3)
    run_one(studio, clock, wait_s=0, run_s=1)
    assert roll_up_jobs(now=clock.advance(seconds=61)) == 1
