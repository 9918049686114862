"""Ending a job: all that belongs to it is written together, once, by the holder of its lease alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models import QuerySet

from apps.artifacts.models import Artifact
from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.billing.models import UsageEvent
from apps.core import clock as core_clock
from apps.generation import delivering, lifecycle
from apps.generation.delivering import Delivered
from apps.generation.faults import INTERNAL, Failure
from apps.generation.lifecycle import (
    Lease,
    LeaseLost,
    fail_job,
    finish_cancel,
    finish_jobs,
    lease_of,
    reap_expired,
    refuse_jobs,
)
from apps.generation.models import GenerationJob
from apps.generation.safety_policy import BLOCKED, BLOCKED_CODE
from tests.apps.generation.studio import (
    OTHER_WORKER,
    Studio,
    assert_invariants_hold,
    claim,
    claim_one,
    finish,
    images_of,
    on_record,
    reread,
    states,
    trail,
    usage,
    worker_ref,
)
from tests.clocks import FrozenClock


def fail(lease: Lease) -> None:
    fail_job(lease=lease, failure=INTERNAL, worker=worker_ref(), now=core_clock.now())


def stop(lease: Lease) -> None:
    finish_cancel(lease=lease, worker=worker_ref(), now=core_clock.now())


def deliver(lease: Lease) -> None:
    finish(GenerationJob.objects.get(pk=lease.job_id), lease=lease)


def test_finishing_writes_state_images_charge_and_audit(studio: Studio, clock: FrozenClock) -> None:
    studio.submit(num_images=2, width=128, height=64, seed=9)
    job = claim_one()
    clock.advance(seconds=2)
    finish(job)
    row = reread(job)
    assert (row.state, row.finished_at, row.lease_expires_at) == ("succeeded", clock.now(), None)
    assert (row.timings, row.progress_step, row.runtime_s) == ({"total_s": 0.5}, 50, 2.0)
    assert list(
        Artifact.objects.order_by("index").values_list("job_id", "account", "group", "index", "seed")
    ) == [
        (job.pk, studio.account.pk, job.artifact_group, 0, 9),
        (job.pk, studio.account.pk, job.artifact_group, 1, 10),
    ]
    [event] = UsageEvent.objects.values()
    event.pop("id")
    assert event == {
        "job_id": job.pk,
        "account_id": studio.account.pk,
        "api_key_id": studio.key.pk,
        "day": job.quota_day,
        "calls": 1,
        "images": 2,
        # Of the files.
        "pixels": 2 * 8 * 8,
        "checkpoint": "tiny",
        "kind": "txt2img",
        "funding": "plan",
        "price_micro": 0,
        "price_book_version": None,
        "at": clock.now(),
    }
    assert usage(studio.account) == (0, 1)
    assert trail(job) == ["submitted", "succeeded"]
    assert AuditEvent.objects.get(name="generation.job.succeeded").data == {"images": 2}
    assert_invariants_hold()


def test_links_end_a_day_after_acceptance(studio: Studio, clock: FrozenClock) -> None:
    studio.submit()
    job = claim_one()
    clock.advance(minutes=5)
    finish(job)
    assert Artifact.objects.get().expires_at == job.queued_at + timedelta(hours=24)


def test_failing_tells_the_owner_why_and_gives_the_call_back(studio: Studio, clock: FrozenClock) -> None:
    studio.submit()
    job = claim_one()
    fail(lease_of(job))
    row = reread(job)
    assert (row.state, row.finished_at, row.lease_expires_at) == ("failed", clock.now(), None)
    assert (row.error_code, row.error_message) == (INTERNAL.code, INTERNAL.message)
    assert usage(studio.account) == (0, 0)
    assert trail(job) == ["submitted", "failed"]
    assert AuditEvent.objects.get(name="generation.job.failed").data == {"error": "internal_error"}
    assert_invariants_hold()


def test_a_call_is_settled_on_the_day_it_was_reserved(studio: Studio, clock: FrozenClock) -> None:
    clock.advance(hours=11, minutes=59, seconds=59)
    job = studio.submit()
    claimed = claim_one()
    clock.advance(seconds=2)
    finish(claimed)
    assert job.quota_day.isoformat() == UsageEvent.objects.get().day.isoformat() == "2026-03-02"
    assert usage(studio.account) == (0, 1)
    assert_invariants_hold()


@pytest.mark.parametrize("end", [deliver, fail, stop])
@pytest.mark.parametrize("story", ["re-queued", "re-claimed", "already ended"])
def test_a_stale_fence_writes_nothing(
    studio: Studio, clock: FrozenClock, end: Callable[[Lease], None], story: str
) -> None:
    studio.submit()
    stale = lease_of(claim_one())
    if story == "already ended":
        fail(stale)
    else:
        clock.advance(seconds=11)
        assert reap_expired(actor=SYSTEM, now=clock.now()) == 1
    if story == "re-claimed":
        claim_one(OTHER_WORKER, suspects=True)
    before = on_record()
    with pytest.raises(LeaseLost, match=f"job {stale.job_id} at fence {stale.fence}"):
        end(stale)
    assert on_record() == before


@pytest.mark.parametrize("broken", ["record_groups", "charge_together", "record_together", "announce_ends"])
def test_a_failure_anywhere_in_finishing_leaves_nothing_of_it(
    studio: Studio, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    studio.submit()
    job = claim_one()
    images = images_of(job)
    before = on_record()

    def fail_here(*args: object, **values: object) -> None:
        raise OSError("the power went out")

    with monkeypatch.context() as patch:
        patch.setattr(delivering, broken, fail_here)
        with pytest.raises(OSError, match="the power went out"):
            finish(job, artifacts=images)
    assert on_record() == before
    assert reread(job).state == "running"
    finish(job, artifacts=images)
    assert usage(studio.account) == (0, 1)
    assert_invariants_hold()


def test_of_several_jobs_those_whose_lease_is_good_end_together(studio: Studio) -> None:
    for _ in range(3):
        studio.submit()
    first, lost, last = claim()
    stale = Lease(job_id=lost.pk, fence=lost.fence - 1)
    made = {
        lease: Delivered(artifacts=images_of(job), timings={"total_s": 0.5})
        for lease, job in ((lease_of(first), first), (stale, lost), (lease_of(last), last))
    }

    assert finish_jobs(made, worker=worker_ref(), now=core_clock.now()) == {stale}
    assert states(first, lost, last) == ["succeeded", "running", "succeeded"]
    assert usage(studio.account) == (1, 2)
    assert trail(last) == ["submitted", "succeeded"]
    assert reread(first).timings == {"total_s": 0.5}
    finish(lost)
    assert_invariants_hold()


def test_failed_and_canceled_jobs_end_together_and_lost_ones_stay(studio: Studio, clock: FrozenClock) -> None:
    for _ in range(4):
        studio.submit()
    failed, lost, stopped, blocked = claim()
    stale = Lease(job_id=lost.pk, fence=lost.fence - 1)
    unsuitable = Failure(BLOCKED_CODE, "it was not suitable")
    failures = {lease_of(failed): INTERNAL, stale: INTERNAL, lease_of(stopped): None}
    failures[lease_of(blocked)] = unsuitable

    assert refuse_jobs(failures, worker=worker_ref(), now=clock.now()) == {stale}

    assert states(failed, lost, stopped, blocked) == ["failed", "running", "canceled", "failed"]
    codes = [reread(job).error_code for job in (failed, lost, stopped, blocked)]
    assert codes == [INTERNAL.code, "", "", BLOCKED_CODE]
    assert reread(blocked).result == {"safety": {"images": BLOCKED}}
    assert [trail(job)[1:] for job in (failed, lost, stopped)] == [["failed"], [], ["canceled"]]
    assert usage(studio.account) == (1, 0)
    assert_invariants_hold()


def test_a_job_that_lacks_an_image_does_not_succeed(studio: Studio) -> None:
    studio.submit(num_images=2)
    job = claim_one()
    images = images_of(job)
    before = on_record()
    with pytest.raises(RuntimeError, match=f"job {job.pk} delivered 1 of 2 images"):
        finish(job, artifacts=images[:1])
    assert on_record() == before


def zombie_story(studio: Studio, clock: FrozenClock) -> tuple[GenerationJob, GenerationJob]:
    """One job in two hands: the first worker fell silent, the reaper gave its job to the second."""
    studio.submit()
    zombie = claim_one()
    clock.advance(seconds=11)
    assert reap_expired(actor=SYSTEM, now=clock.now()) == 1
    successor = claim_one(OTHER_WORKER, suspects=True)
    assert (zombie.pk, zombie.fence, successor.fence) == (successor.pk, 1, 2)
    return zombie, successor


def test_a_zombie_that_wakes_up_cannot_end_the_job_of_its_successor(
    studio: Studio, clock: FrozenClock
) -> None:
    zombie, successor = zombie_story(studio, clock)
    with pytest.raises(LeaseLost):
        finish(zombie)
    finish(successor)
    with pytest.raises(LeaseLost):
        fail(lease_of(zombie))
    assert reread(successor).state == "succeeded"
    assert (UsageEvent.objects.count(), Artifact.objects.count()) == (1, 1)
    assert usage(studio.account) == (0, 1)
    assert trail(successor) == ["submitted", "requeued", "succeeded"]
    assert_invariants_hold()


def _without_fence(*leases: Lease) -> QuerySet[GenerationJob]:
    return GenerationJob.objects.filter(pk__in=[lease.job_id for lease in leases])


def test_control_without_the_fence_the_job_ends_twice(
    studio: Studio, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifecycle, "_held", _without_fence)
    # A second job of the account keeps a call reserved, which the second end takes away.
    studio.submit()
    zombie, successor = zombie_story(studio, clock)
    finish(successor)
    fail(lease_of(zombie))
    assert trail(successor) == ["submitted", "requeued", "succeeded", "failed"]
    assert reread(successor).state == "failed"
    assert usage(studio.account) == (0, 1)
    with pytest.raises(AssertionError):
        assert_invariants_hold()
