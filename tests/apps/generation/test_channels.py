"""Who is told what, and that nobody is told of what was rolled back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import transaction

from apps.audit.refs import SYSTEM
from apps.core.clock import now
from apps.core.listen import Listener
from apps.generation.channels import GPU, JOB
from apps.generation.errors import QueueFull
from apps.generation.lifecycle import lease_of, reap_crashed, release_jobs
from apps.generation.progress import report_progress
from apps.generation.services import cancel_job
from tests.apps.generation.studio import WORKER, Studio, claim_one, finish, worker_ref
from tests.factories import give_plan


def heard(act: Callable[[], object], *channels: str) -> list[str]:
    """Payloads that `act` sent. Messages keep their order, so one of our own marks the end."""
    from apps.core.db import notify

    with Listener(channels) as listener:
        act()
        notify(channels[0], "end")
        payloads: list[str] = []
        while "end" not in payloads:
            payloads += listener.wait(5.0)
    return payloads[:-1]


def test_a_submit_wakes_workers_once_it_is_committed(live: Studio) -> None:
    assert heard(live.submit, GPU) == ["job"]

    def submit_and_roll_back() -> None:
        give_plan(live.account, queue_depth=0)
        with pytest.raises(QueueFull):
            live.submit()

    assert heard(submit_and_roll_back, GPU, JOB) == []


def test_each_change_of_a_job_tells_its_id(live: Studio) -> None:
    job = live.submit()
    claimed = claim_one()
    assert heard(lambda: report_progress(steps={lease_of(claimed): 3}), JOB) == [str(job.pk)]
    assert heard(lambda: report_progress(steps={}), JOB) == []
    assert heard(lambda: finish(claimed), JOB, GPU) == [str(job.pk)]


def test_a_cancel_tells_workers_and_waiters(live: Studio) -> None:
    job = live.submit()
    act = lambda: cancel_job(job=job, actor=live.key.ref, now=now())  # noqa: E731
    assert heard(act, GPU, JOB) == ["cancel", str(job.pk)]


def test_a_job_handed_back_or_taken_back_wakes_workers_and_waiters(live: Studio) -> None:
    job = live.submit()
    lease = lease_of(claim_one())
    release = lambda: release_jobs(leases=[lease], worker=worker_ref(), now=now())  # noqa: E731
    assert sorted(heard(release, GPU, JOB)) == sorted([str(job.pk), "job"])
    assert heard(release, GPU, JOB) == []
    claim_one()
    reap = lambda: reap_crashed(worker=WORKER, actor=SYSTEM, now=now())  # noqa: E731
    assert sorted(heard(reap, GPU, JOB)) == sorted([str(job.pk), "job"])


def test_a_message_of_a_transaction_comes_with_its_commit(live: Studio) -> None:
    from apps.generation.channels import notify_changed, notify_queued

    with Listener([GPU, JOB]) as listener:
        with transaction.atomic():
            notify_queued()
            notify_changed(7)
            assert listener.wait(0.0) == []
        payloads: list[str] = []
        while len(payloads) < 2:
            payloads += listener.wait(5.0)
    assert payloads == ["job", "7"]
