from __future__ import annotations

import pytest

from apps.core.errors import NotFound
from apps.generation.faults import INTERNAL
from apps.generation.lifecycle import fail_job, lease_of, report_progress
from apps.generation.models import GenerationJob, GpuWorker
from apps.generation.selectors import access_job, estimate_s, list_artifacts, queue_position
from tests.apps.generation.studio import Studio, claim_one, finish, reread, worker_ref
from tests.clocks import FrozenClock


def add_worker(name: str, *, step_ms: float, clock: FrozenClock, state: str = "ready") -> None:
    GpuWorker.objects.create(
        name=name,
        host=name,
        pid=1,
        state=state,
        step_ms=step_ms,
        started_at=clock.now(),
        heartbeat_at=clock.now(),
    )


def test_a_job_is_found_by_its_id_as_number_or_text(studio: Studio) -> None:
    job = studio.submit()
    assert access_job(account=studio.account, job_id=job.pk) == job
    assert access_job(account=studio.account, job_id=str(job.pk)) == job
    assert access_job(account=studio.account, job_id=f"00{job.pk}") == job


def test_a_stranger_learns_nothing_not_even_that_it_exists(studio: Studio) -> None:
    job = studio.submit()
    with pytest.raises(NotFound) as strangers:
        access_job(account=studio.strangers_account, job_id=job.pk)
    assert str(strangers.value) == f"Request {job.pk} was not found."
    with pytest.raises(NotFound, match=r"^Request 999999999 was not found\.$"):
        access_job(account=studio.account, job_id=999999999)


@pytest.mark.parametrize(
    "job_id",
    [
        "",
        " ",
        "-1",
        "+1",
        "1.0",
        "1e3",
        "0x1",
        "one",
        "１",  # a full-width digit, which int() would read
        "²",
        "1\n",
        "1\0",
        "1; DROP TABLE",
        "\ud800",
        str(2**63),
        "9" * 19,
        "9" * 5000,
        0,
        -1,
        2**63,
    ],
)
def test_a_weird_id_is_not_found(studio: Studio, job_id: str | int) -> None:
    studio.submit()
    with pytest.raises(NotFound) as refusal:
        access_job(account=studio.account, job_id=job_id)
    assert len(str(refusal.value)) <= len("Request  was not found.") + 64


def test_images_come_in_order_of_their_index_and_for_this_job_alone(studio: Studio) -> None:
    studio.submit(num_images=3)
    job = claim_one()
    finish(job)
    studio.submit(by_stranger=True)
    finish(claim_one())
    assert list(list_artifacts(job).values_list("job_id", "index")) == [(job.pk, index) for index in range(3)]


def test_without_a_worker_a_step_is_taken_for_100_ms(studio: Studio, clock: FrozenClock) -> None:
    job = studio.submit(steps=10, num_images=2)
    assert estimate_s(job=job, now=clock.now()) == 2.3


def test_the_estimate_counts_the_steps_ahead_at_the_measured_speed(
    studio: Studio, clock: FrozenClock
) -> None:
    add_worker("a", step_ms=50.0, clock=clock)
    first = studio.submit(steps=20)
    second = studio.submit(steps=10, by_stranger=True)
    studio.submit(steps=150)
    assert estimate_s(job=first, now=clock.now()) == 1.3
    assert estimate_s(job=second, now=clock.now()) == 1.8
    report_progress(steps={lease_of(claim_one()): 10})
    assert estimate_s(job=reread(second), now=clock.now()) == 1.3


def test_live_workers_share_the_steps_and_silent_or_draining_ones_do_not(
    studio: Studio, clock: FrozenClock
) -> None:
    add_worker("silent", step_ms=1.0, clock=clock)
    clock.advance(seconds=10)
    add_worker("a", step_ms=50.0, clock=clock)
    add_worker("b", step_ms=0.0, clock=clock)
    add_worker("draining", step_ms=1.0, clock=clock, state="draining")
    job = studio.submit(steps=30)
    # 20 and, unmeasured, 10 steps a second.
    assert estimate_s(job=job, now=clock.now()) == 1.3


def test_an_ended_job_takes_no_more_time(studio: Studio, clock: FrozenClock) -> None:
    job = studio.submit()
    fail_job(lease=lease_of(claim_one()), failure=INTERNAL, worker=worker_ref(), now=clock.now())
    assert estimate_s(job=reread(job), now=clock.now()) == 0.0


def test_the_queue_position_counts_the_jobs_that_are_claimed_first(studio: Studio) -> None:
    running, first, second, urgent = (studio.submit() for _ in range(4))
    claimed = claim_one()
    GenerationJob.objects.filter(pk=urgent.pk).update(priority=5)
    assert claimed == running
    assert [queue_position(reread(job)) for job in (running, urgent, first, second)] == [0, 0, 1, 2]
