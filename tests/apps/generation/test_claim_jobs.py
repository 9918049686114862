"""Claiming, renewing and reporting: what a worker holds and for how long."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection

from apps.core.clock import now
from apps.generation.lifecycle import (
    Lease,
    Renewal,
    lease_of,
    list_cancel_requests,
    release_jobs,
    renew_leases,
)
from apps.generation.models import GenerationJob
from apps.generation.progress import report_progress
from apps.generation.services import cancel_job
from apps.plans.models import Plan
from tests.apps.generation.studio import (
    OTHER_WORKER,
    WORKER,
    Studio,
    claim,
    claim_one,
    reread,
    states,
    worker_ref,
)
from tests.clocks import FrozenClock


def prioritise(job: GenerationJob, priority: int) -> None:
    GenerationJob.objects.filter(pk=job.pk).update(priority=priority)


def test_a_claim_marks_the_row(studio: Studio, clock: FrozenClock) -> None:
    job = studio.submit()
    clock.advance(seconds=3)
    claimed = claim_one()
    row = reread(job)
    assert claimed == row
    assert (row.state, row.claimed_by, row.attempt, row.fence) == ("running", WORKER, 1, 1)
    assert row.claimed_at == row.started_at == clock.now()
    assert row.lease_expires_at == clock.now() + timedelta(seconds=10)


def test_jobs_are_claimed_first_come_first_served_within_a_priority(studio: Studio) -> None:
    first, second, urgent, low, third = (studio.submit() for _ in range(5))
    prioritise(urgent, 10)
    prioritise(low, -1)
    assert claim(limit=2) == [urgent, first]
    assert claim() == [second, third, low]


def test_accounts_are_claimed_in_turn(studio: Studio) -> None:
    """Cleo comes after a hundred of Ada's jobs and has not to wait for them."""
    adas = [studio.submit() for _ in range(6)]
    cleos = [studio.submit(by_stranger=True) for _ in range(2)]
    assert claim(limit=6) == [adas[0], adas[1], cleos[0], adas[2], cleos[1], adas[3]]
    late = studio.submit(by_stranger=True)
    assert claim() == [adas[4], adas[5], late]


def test_a_heavier_account_is_claimed_more_often(studio: Studio) -> None:
    Plan.objects.update(weight=3.0)
    adas = [studio.submit() for _ in range(7)]
    Plan.objects.update(weight=1.0)
    cleos = [studio.submit(by_stranger=True) for _ in range(2)]
    assert claim() == [*adas[:4], cleos[0], *adas[4:], cleos[1]]


def test_large_jobs_count_for_their_work(studio: Studio) -> None:
    large = [studio.submit(num_images=4) for _ in range(2)]
    small = [studio.submit(by_stranger=True) for _ in range(5)]
    assert claim() == [large[0], *small[:3], large[1], *small[3:]]


def test_a_job_that_comes_back_to_the_queue_is_not_overtaken(studio: Studio, clock: FrozenClock) -> None:
    """Nothing was queued meanwhile: the queue's time must not begin anew."""
    for _ in range(5):
        studio.submit()
    old = claim()[-1]
    new = studio.submit(by_stranger=True)
    release_jobs(leases=[lease_of(old)], worker=worker_ref(), now=clock.now())
    assert claim() == [old, new]


def test_a_job_that_comes_back_does_not_turn_the_time_of_the_queue_back(
    studio: Studio, clock: FrozenClock
) -> None:
    """Else whoever submits then would go before all that wait."""
    adas = [studio.submit() for _ in range(6)]
    old, *_ = claim(limit=4)
    release_jobs(leases=[lease_of(old)], worker=worker_ref(), now=clock.now())
    cleos = [studio.submit(by_stranger=True) for _ in range(3)]
    assert claim() == [old, adas[4], cleos[0], adas[5], *cleos[1:]]


def test_a_claim_takes_no_more_than_asked(studio: Studio) -> None:
    jobs = [studio.submit() for _ in range(3)]
    assert claim(limit=2) == jobs[:2]
    assert states(*jobs) == ["running", "running", "queued"]


@pytest.mark.parametrize("known_rows", [0, 1, 6])
@pytest.mark.parametrize("allowed", ["hashjoin", "mergejoin", "nestloop"])
def test_a_claim_takes_no_more_than_asked_whatever_plan_the_database_chooses(
    studio: Studio, known_rows: int, allowed: str
) -> None:
    """A subquery that locks rows may be run once for each row of the table: its limit is then no limit."""
    jobs = [studio.submit() for _ in range(known_rows)]
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE generation_generationjob")
        for other in {"hashjoin", "mergejoin", "nestloop", "indexscan", "bitmapscan", "material"} - {allowed}:
            cursor.execute(f"SET LOCAL enable_{other} = off")
    jobs += [studio.submit() for _ in range(6 - known_rows)]
    assert claim(limit=2) == jobs[:2]
    assert states(*jobs) == ["running"] * 2 + ["queued"] * 4


def test_running_and_ended_jobs_are_not_claimed(studio: Studio) -> None:
    studio.submit()
    canceled = studio.submit()
    cancel_job(job=canceled, actor=studio.key.ref, now=now())
    claim_one()
    assert claim(OTHER_WORKER) == []


def test_a_job_at_its_deadline_is_not_claimed_any_more(studio: Studio, clock: FrozenClock) -> None:
    studio.submit()
    late = studio.submit()
    clock.move_to(late.deadline_at - timedelta(seconds=1))
    assert len(claim(limit=1)) == 1
    clock.move_to(late.deadline_at)
    assert claim() == []
    assert states(late) == ["queued"]


def test_suspects_are_claimed_only_as_suspects(studio: Studio) -> None:
    innocent, suspect = studio.submit(), studio.submit()
    GenerationJob.objects.filter(pk=suspect.pk).update(crashes=1)
    assert claim() == [innocent]
    assert claim(suspects=True) == [suspect]


def test_each_claim_raises_fence_and_attempt_and_the_first_start_is_kept(
    studio: Studio, clock: FrozenClock
) -> None:
    studio.submit()
    first = claim_one()
    release_jobs(leases=[lease_of(first)], worker=worker_ref(), now=clock.now())
    clock.advance(seconds=7)
    second = claim_one(OTHER_WORKER)
    assert (second.attempt, second.fence, second.claimed_by) == (2, 2, OTHER_WORKER)
    assert second.started_at == first.started_at
    assert second.claimed_at == clock.now()


def test_renewing_extends_what_is_still_ours(studio: Studio, clock: FrozenClock) -> None:
    jobs = [studio.submit() for _ in range(2)]
    leases = [lease_of(job) for job in claim()]
    clock.advance(seconds=6)
    renewal = renew_leases(leases=leases, now=clock.now())
    assert renewal == Renewal(frozenset(job.pk for job in jobs), frozenset())
    assert [reread(job).lease_expires_at for job in jobs] == [clock.now() + timedelta(seconds=10)] * 2


def test_renewing_tells_of_lost_leases_and_of_cancel_requests(studio: Studio, clock: FrozenClock) -> None:
    lost, unwanted = studio.submit(), studio.submit()
    leases = [lease_of(job) for job in claim()]
    release_jobs(leases=leases[:1], worker=worker_ref(), now=clock.now())
    taken_over = claim_one(OTHER_WORKER)
    cancel_job(job=unwanted, actor=studio.key.ref, now=clock.now())
    clock.advance(seconds=1)
    renewal = renew_leases(leases=leases, now=clock.now())
    assert renewal == Renewal(frozenset({unwanted.pk}), frozenset({unwanted.pk}))
    assert taken_over == lost
    assert reread(lost).lease_expires_at == taken_over.lease_expires_at


def test_renewing_nothing_asks_nothing() -> None:
    assert renew_leases(leases=[], now=now()) == Renewal(frozenset(), frozenset())


def test_cancel_requests_are_listed_for_running_jobs_alone(studio: Studio) -> None:
    wanted, unwanted, queued = studio.submit(), studio.submit(), studio.submit()
    leases = [lease_of(job) for job in claim(limit=2)]
    cancel_job(job=unwanted, actor=studio.key.ref, now=now())
    cancel_job(job=queued, actor=studio.key.ref, now=now())
    assert list_cancel_requests(leases=[*leases, Lease(queued.pk, 0)]) == {unwanted.pk}
    assert reread(wanted).state == "running"


def test_progress_is_written_for_held_leases_alone(studio: Studio, clock: FrozenClock) -> None:
    mine, lost = studio.submit(), studio.submit()
    leases = [lease_of(job) for job in claim()]
    release_jobs(leases=leases[1:], worker=worker_ref(), now=clock.now())
    claim_one(OTHER_WORKER)
    report_progress(steps={leases[0]: 11, leases[1]: 12})
    assert [reread(job).progress_step for job in (mine, lost)] == [11, 0]


def test_a_new_claim_starts_its_progress_anew(studio: Studio, clock: FrozenClock) -> None:
    studio.submit()
    lease = lease_of(claim_one())
    report_progress(steps={lease: 20})
    release_jobs(leases=[lease], worker=worker_ref(), now=clock.now())
    assert claim_one().progress_step == 0


def test_handing_back_counts_no_crash_and_leaves_lost_jobs_alone(studio: Studio, clock: FrozenClock) -> None:
    job = studio.submit()
    stale = lease_of(claim_one())
    assert release_jobs(leases=[stale], worker=worker_ref(), now=clock.now()) == 1
    row = reread(job)
    assert (row.state, row.crashes, row.claimed_by, row.lease_expires_at) == ("queued", 0, "", None)
    held = claim_one(OTHER_WORKER)
    assert release_jobs(leases=[stale], worker=worker_ref(), now=clock.now()) == 0
    assert reread(job) == held
    assert reread(job).state == "running"
