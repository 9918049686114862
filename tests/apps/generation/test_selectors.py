from __future__ import annotations

import pytest

from apps.core.errors import NotFound
from apps.generation.faults import INTERNAL
from apps.generation.lifecycle import fail_job, lease_of
from apps.generation.models import GenerationJob, GpuWorker
from apps.generation.progress import report_progress
from apps.generation.selectors import access_job, estimate_s, list_artifacts, queue_position
from gpu_runtime.batching.cost import price_of
from tests.apps.generation.studio import Studio, claim_one, finish, reread, worker_ref
from tests.clocks import FrozenClock


def add_worker(name: str, *, tflop_per_s: float, clock: FrozenClock, state: str = "ready") -> None:
    GpuWorker.objects.create(
        name=name,
        host=name,
        pid=1,
        state=state,
        tflop_per_s=tflop_per_s,
        started_at=clock.now(),
        heartbeat_at=clock.now(),
    )


STEP_TFLOP = price_of("sd15").tflop(64 * 64) * 2
"""One guided row-step of the studio's checkpoint."""


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


def test_the_estimate_counts_the_work_beside_it_at_the_measured_speed(
    studio: Studio, clock: FrozenClock
) -> None:
    """Ada's second job comes after her first; Cleo's is done in the time of as much of Ada's."""
    add_worker("a", tflop_per_s=20 * STEP_TFLOP, clock=clock)
    first = studio.submit(steps=20)
    cleos = studio.submit(steps=10, by_stranger=True)
    second = studio.submit(steps=150)
    assert estimate_s(job=first, now=clock.now()) == pytest.approx(0.3 + 30 / 20)
    assert estimate_s(job=cleos, now=clock.now()) == pytest.approx(0.3 + 20 / 20)
    assert estimate_s(job=second, now=clock.now()) == pytest.approx(0.3 + 180 / 20)
    report_progress(steps={lease_of(claim_one()): 5})
    assert estimate_s(job=reread(second), now=clock.now()) == pytest.approx(0.3 + 175 / 20)


def test_a_larger_weight_shortens_the_estimate(studio: Studio, clock: FrozenClock) -> None:
    add_worker("a", tflop_per_s=20 * STEP_TFLOP, clock=clock)
    job = studio.submit(steps=30)
    studio.submit(steps=150, by_stranger=True)
    job.weight = 3.0
    job.save()
    assert estimate_s(job=job, now=clock.now()) == pytest.approx(0.3 + 40 / 20)


def test_the_estimate_counts_higher_priorities_and_not_lower_ones(studio: Studio, clock: FrozenClock) -> None:
    add_worker("a", tflop_per_s=20 * STEP_TFLOP, clock=clock)
    job = studio.submit(steps=10)
    above = studio.submit(steps=30, by_stranger=True)
    below = studio.submit(steps=150, by_stranger=True)
    GenerationJob.objects.filter(pk=above.pk).update(priority=1)
    GenerationJob.objects.filter(pk=below.pk).update(priority=-1)
    assert estimate_s(job=job, now=clock.now()) == pytest.approx(0.3 + 40 / 20)


def test_larger_images_take_longer(studio: Studio, clock: FrozenClock) -> None:
    add_worker("a", tflop_per_s=20 * STEP_TFLOP, clock=clock)
    job = studio.submit(steps=10, width=128, height=128)
    assert estimate_s(job=job, now=clock.now()) > 0.3 + 4 * 10 / 20


def test_live_workers_share_the_work_and_silent_or_draining_ones_do_not(
    studio: Studio, clock: FrozenClock
) -> None:
    """One that has measured nothing is taken for as fast as the other."""
    add_worker("silent", tflop_per_s=1e9, clock=clock)
    clock.advance(seconds=10)
    add_worker("a", tflop_per_s=20 * STEP_TFLOP, clock=clock)
    add_worker("b", tflop_per_s=0.0, clock=clock)
    add_worker("draining", tflop_per_s=1e9, clock=clock, state="draining")
    job = studio.submit(steps=40)
    assert estimate_s(job=job, now=clock.now()) == pytest.approx(1.3)


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


def test_the_queue_position_counts_shares(studio: Studio) -> None:
    jobs = [studio.submit() for _ in range(3)]
    cleos = studio.submit(by_stranger=True)
    assert [queue_position(reread(job)) for job in (*jobs, cleos)] == [0, 1, 3, 2]
