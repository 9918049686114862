from __future__ import annotations

from datetime import timedelta

import pytest

from apps.audit.models import AuditEvent
from apps.audit.refs import SYSTEM
from apps.generation.faults import HUNG
from apps.generation.lifecycle import (
    LeaseLost,
    hand_back_crashed,
    lease_of,
    reap_crashed,
    reap_expired,
    reap_released,
    renew_leases,
)
from apps.generation.models import GenerationJob
from apps.generation.services import cancel_job
from apps.generation.tasks import reap
from apps.quotas.models import DailyUsage
from tests.apps.generation.studio import (
    OTHER_WORKER,
    WORKER,
    Studio,
    assert_invariants_hold,
    claim,
    claim_one,
    finish,
    on_record,
    reread,
    states,
    trail,
    usage,
    worker_ref,
)
from tests.clocks import FrozenClock


def test_a_lease_lasts_until_its_last_moment(studio: Studio, clock: FrozenClock) -> None:
    studio.submit()
    job = claim_one()
    clock.advance(seconds=10)
    before = on_record()
    assert reap_expired(actor=SYSTEM, now=clock.now()) == 0
    assert on_record() == before
    assert reap_expired(actor=SYSTEM, now=clock.advance(microseconds=1)) == 1
    row = reread(job)
    assert (row.state, row.crashes, row.claimed_by, row.lease_expires_at) == ("queued", 1, "", None)


def test_a_reaped_job_is_queued_again_with_its_reservation(studio: Studio, clock: FrozenClock) -> None:
    studio.submit()
    job = claim_one()
    clock.advance(seconds=11)
    reap_expired(actor=SYSTEM, now=clock.now())
    assert usage(studio.account) == (1, 0)
    assert trail(job) == ["submitted", "requeued"]
    event = AuditEvent.objects.get(name="generation.job.requeued")
    assert (event.actor_label, event.data) == ("darkroom", {"crashes": 1})
    finish(claim_one(OTHER_WORKER, suspects=True))
    assert states(job) == ["succeeded"]
    assert_invariants_hold()


def test_a_renewed_lease_is_not_reaped(studio: Studio, clock: FrozenClock) -> None:
    studio.submit()
    lease = lease_of(claim_one())
    for _ in range(3):
        clock.advance(seconds=9)
        renew_leases(leases=[lease], now=clock.now())
        assert reap_expired(actor=SYSTEM, now=clock.now()) == 0


def test_after_two_crashes_a_job_is_quarantined(studio: Studio, clock: FrozenClock) -> None:
    job = studio.submit()
    for suspects in (False, True):
        claim_one(suspects=suspects)
        reap_crashed(worker=WORKER, actor=SYSTEM, now=clock.now())
    row = reread(job)
    assert (row.state, row.crashes, row.finished_at) == ("quarantined", 2, clock.now())
    assert row.error_code == "worker_crashed"
    assert row.error_message == (
        "The worker crashed repeatedly while generating this request, so it is not tried again."
    )
    assert usage(studio.account) == (0, 0)
    assert trail(job) == ["submitted", "requeued", "quarantined"]
    assert claim() == claim(suspects=True) == []
    assert_invariants_hold()


def test_a_worker_that_ends_itself_hands_back_what_it_still_holds_and_says_why(
    studio: Studio, clock: FrozenClock
) -> None:
    first, second, ended = studio.submit(), studio.submit(), studio.submit()
    claimed = claim()
    finish(claimed[2])
    leases = [lease_of(job) for job in claimed]
    actor = worker_ref()
    assert hand_back_crashed(leases=leases, cause=HUNG, worker=actor, now=clock.now()) == 2
    assert states(first, second, ended) == ["queued", "queued", "succeeded"]
    assert [reread(job).crashes for job in (first, second, ended)] == [1, 1, 0]
    again = claim_one(suspects=True)
    assert again.pk == first.pk
    # The leases of before are nothing to go by any more.
    assert hand_back_crashed(leases=leases, cause=HUNG, worker=actor, now=clock.now()) == 0
    hand_back_crashed(leases=[lease_of(again)], cause=HUNG, worker=actor, now=clock.now())
    row = reread(first)
    assert (row.state, row.crashes, row.error_code) == ("quarantined", 2, "worker_hung")
    assert row.error_message == (
        "The worker stood still repeatedly while generating this request, so it is not tried again."
    )
    assert trail(first) == ["submitted", "requeued", "quarantined"]
    event = AuditEvent.objects.get(name="generation.job.quarantined")
    assert (event.actor_label, event.data) == (WORKER, {"error": "worker_hung"})
    assert usage(studio.account) == (1, 1)
    assert_invariants_hold()


def test_a_dead_workers_jobs_are_taken_back_before_their_leases_end_and_nobody_elses(
    studio: Studio, clock: FrozenClock
) -> None:
    mine, theirs = studio.submit(), studio.submit()
    claim_one()
    others = claim_one(OTHER_WORKER)
    assert reap_crashed(worker=WORKER, actor=SYSTEM, now=clock.now()) == 1
    assert (states(mine), reread(mine).crashes) == (["queued"], 1)
    assert reread(theirs) == others
    assert states(theirs) == ["running"]


def test_a_worker_that_lost_the_database_blames_no_job(studio: Studio, clock: FrozenClock) -> None:
    job = studio.submit()
    for _ in range(3):
        claim_one()
        assert reap_released(worker=WORKER, actor=SYSTEM, now=clock.now()) == 1
    row = reread(job)
    assert (row.state, row.crashes, row.attempt) == ("queued", 0, 3)


@pytest.mark.parametrize("crashes", [0, 1])
def test_a_job_that_was_to_be_canceled_ends_canceled_when_its_worker_dies(
    studio: Studio, clock: FrozenClock, crashes: int
) -> None:
    job = studio.submit()
    GenerationJob.objects.update(crashes=crashes)
    claimed = claim_one(suspects=bool(crashes))
    cancel_job(job=claimed, actor=studio.key.ref, now=clock.now())
    clock.advance(seconds=11)
    assert reap_expired(actor=SYSTEM, now=clock.now()) == 1
    assert (states(job), reread(job).error_code) == (["canceled"], "")
    assert usage(studio.account) == (0, 0)
    assert trail(job) == ["submitted", "cancel_requested", "canceled"]
    with pytest.raises(LeaseLost):
        finish(claimed)
    assert_invariants_hold()


def test_a_queued_job_expires_at_its_deadline(studio: Studio, clock: FrozenClock) -> None:
    job = studio.submit()
    clock.move_to(job.deadline_at - timedelta(microseconds=1))
    assert reap_expired(actor=SYSTEM, now=clock.now()) == 0
    clock.move_to(job.deadline_at)
    assert reap_expired(actor=SYSTEM, now=clock.now()) == 1
    row = reread(job)
    assert (row.state, row.finished_at) == ("expired", clock.now())
    assert (row.error_code, row.error_message) == (
        "expired",
        "No worker was free before the request's deadline.",
    )
    assert usage(studio.account) == (0, 0)
    assert trail(job) == ["submitted", "expired"]
    assert_invariants_hold()


def test_a_running_job_does_not_expire_but_a_job_handed_back_too_late_does(
    studio: Studio, clock: FrozenClock
) -> None:
    job = studio.submit()
    lease = lease_of(claim_one())
    clock.move_to(job.deadline_at + timedelta(seconds=1))
    renew_leases(leases=[lease], now=clock.now())
    assert reap_expired(actor=SYSTEM, now=clock.now()) == 0
    clock.advance(seconds=11)
    # Taken back and, being late, expired in the same pass.
    assert reap_expired(actor=SYSTEM, now=clock.now()) == 2
    assert states(job) == ["expired"]
    assert_invariants_hold()


def test_housekeeping_reaps_while_no_worker_runs(studio: Studio, clock: FrozenClock) -> None:
    late = studio.submit()
    clock.advance(hours=1)
    assert reap() == 1
    assert states(late) == ["expired"]
    assert AuditEvent.objects.get(name="generation.job.expired").actor_label == "housekeeping"


def test_a_wrong_counter_does_not_keep_jobs_from_ending(
    studio: Studio, clock: FrozenClock, caplog: pytest.LogCaptureFixture
) -> None:
    studio.submit()
    studio.submit()
    delivered, abandoned = claim_one(), claim_one()
    DailyUsage.objects.update(reserved=0)
    finish(delivered)
    cancel_job(job=abandoned, actor=SYSTEM, now=clock.now())
    assert reap_expired(actor=SYSTEM, now=clock.advance(seconds=11)) == 1
    assert states(delivered, abandoned) == ["succeeded", "canceled"]
    assert [record.levelname for record in caplog.records if "reservation" in record.message] == ["ERROR"] * 2
