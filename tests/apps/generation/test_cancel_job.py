from __future__ import annotations

import pytest

from apps.audit.models import AuditEvent
from apps.generation.errors import NotCancelable
from apps.generation.faults import INTERNAL
from apps.generation.lifecycle import LeaseLost, fail_job, finish_cancel, lease_of, release_jobs
from apps.generation.services import cancel_job
from apps.quotas.models import DailyKeyUsage
from tests.apps.generation.studio import (
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
from tests.factories import make_key


def test_a_queued_job_ends_at_once_and_gives_its_call_back(studio: Studio, clock: FrozenClock) -> None:
    job = studio.submit()
    canceled = cancel_job(job=job, actor=studio.key.ref, now=clock.advance(seconds=5))
    assert (canceled.state, canceled.finished_at) == ("canceled", clock.now())
    assert states(job) == ["canceled"]
    assert usage(studio.account) == (0, 0)
    assert trail(job) == ["submitted", "canceled"]
    event = AuditEvent.objects.get(name="generation.job.canceled")
    assert (event.actor_kind, event.account_id) == ("api_key", studio.account.pk)
    assert claim() == []
    assert_invariants_hold()


def test_a_running_job_goes_on_until_its_worker_stops_it(studio: Studio, clock: FrozenClock) -> None:
    studio.submit()
    job = claim_one()
    asked = cancel_job(job=job, actor=studio.key.ref, now=clock.now())
    assert (asked.state, asked.is_cancel_requested) == ("running", True)
    assert usage(studio.account) == (1, 0)
    finish_cancel(lease=lease_of(job), worker=worker_ref(), now=clock.now())
    assert states(job) == ["canceled"]
    assert usage(studio.account) == (0, 0)
    assert trail(job) == ["submitted", "cancel_requested", "canceled"]
    assert_invariants_hold()


def test_images_that_were_finished_before_the_worker_noticed_are_delivered(
    studio: Studio, clock: FrozenClock
) -> None:
    studio.submit()
    job = claim_one()
    cancel_job(job=job, actor=studio.key.ref, now=clock.now())
    finish(job)
    assert states(job) == ["succeeded"]
    assert usage(studio.account) == (0, 1)
    with pytest.raises(LeaseLost):
        finish_cancel(lease=lease_of(job), worker=worker_ref(), now=clock.now())
    assert_invariants_hold()


@pytest.mark.parametrize("end", ["succeeded", "failed", "canceled"])
def test_an_ended_job_cannot_be_canceled(studio: Studio, clock: FrozenClock, end: str) -> None:
    job = studio.submit()
    if end == "canceled":
        cancel_job(job=job, actor=studio.key.ref, now=clock.now())
    elif end == "failed":
        fail_job(lease=lease_of(claim_one()), failure=INTERNAL, worker=worker_ref(), now=clock.now())
    else:
        finish(claim_one())
    before = on_record()
    with pytest.raises(NotCancelable) as refusal:
        cancel_job(job=job, actor=studio.key.ref, now=clock.now())
    assert str(refusal.value) == (
        f"Job {job.pk} has already {end}; only queued and running jobs can be canceled."
    )
    assert on_record() == before


def test_a_job_handed_back_while_its_owner_wants_it_stopped_ends_as_canceled(
    studio: Studio, clock: FrozenClock
) -> None:
    unwanted, wanted = studio.submit(), studio.submit()
    leases = [lease_of(job) for job in claim()]
    cancel_job(job=unwanted, actor=studio.key.ref, now=clock.now())
    assert release_jobs(leases=leases, worker=worker_ref(), now=clock.now()) == 2
    assert states(unwanted, wanted) == ["canceled", "queued"]
    assert usage(studio.account) == (1, 0)
    assert trail(unwanted) == ["submitted", "cancel_requested", "canceled"]
    assert_invariants_hold()


def test_canceling_gives_the_call_of_a_capped_key_back(studio: Studio, clock: FrozenClock) -> None:
    capped = make_key(studio.account, daily_cap=1).key
    owner = Studio(
        account=studio.account,
        key=capped,
        strangers_account=studio.strangers_account,
        strangers_key=studio.strangers_key,
        checkpoint=studio.checkpoint,
    )
    cancel_job(job=owner.submit(), actor=capped.ref, now=clock.now())
    assert DailyKeyUsage.objects.get(api_key=capped).calls == 0
    assert reread(owner.submit()).api_key == capped
