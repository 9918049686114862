"""Workers and callers at the same rows at the same time."""

from __future__ import annotations

import threading
from collections import Counter
from functools import partial

import pytest
from django.db import transaction

from apps.core.clock import now
from apps.generation import claiming, services
from apps.generation.claiming import claim_jobs
from apps.generation.errors import NotCancelable, QueueFull
from apps.generation.lifecycle import LeaseLost, lease_of
from apps.generation.models import GenerationJob
from apps.generation.services import cancel_job
from tests.apps.generation.engines import separate_connection
from tests.apps.generation.studio import (
    OTHER_WORKER,
    PATIENCE_S,
    WORKER,
    Crew,
    Studio,
    assert_invariants_hold,
    claim_one,
    finish,
    in_background,
    states,
    trail,
    usage,
)
from tests.factories import give_plan


def claim_all(worker: str) -> list[int]:
    """Claim three at a time until nothing is left."""
    mine: list[int] = []
    while jobs := claim_jobs(worker=worker, limit=3, now=now()):
        mine += [job.pk for job in jobs]
    return mine


def test_claiming_workers_never_share_a_job_and_leave_none_behind(live: Studio) -> None:
    give_plan(live.account, queue_depth="unlimited")
    jobs = [live.submit() for _ in range(40)]
    crew = Crew()
    crew.run(*[partial(claim_all, f"worker {index}") for index in range(4)])
    assert crew.errors == []
    assert sorted(pk for mine in crew.results for pk in mine) == [job.pk for job in jobs]
    assert set(GenerationJob.objects.values_list("state", "attempt", "fence")) == {("running", 1, 1)}


def test_a_claimer_does_not_wait_for_rows_that_another_is_claiming(live: Studio) -> None:
    first, second = live.submit(), live.submit()
    with transaction.atomic():
        [mine] = claim_jobs(worker=WORKER, limit=1, now=now())
        # The first claim is not committed: a claimer that waited for its row would hang here.
        [theirs] = in_background(lambda: claim_jobs(worker=OTHER_WORKER, limit=2, now=now())).join()
    assert (mine, theirs) == (first, second)


def test_control_without_skip_locked_the_second_claimer_waits(
    live: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claiming, "CLAIM_SQL", claiming.CLAIM_SQL.replace("SKIP LOCKED", ""))
    live.submit()
    live.submit()
    with transaction.atomic():
        claim_jobs(worker=WORKER, limit=1, now=now())
        second = in_background(lambda: claim_jobs(worker=OTHER_WORKER, limit=1, now=now()))
        wait_until_blocked()
        assert second.is_running
    second.join()


def wait_until_blocked() -> None:
    """Until some session of this database waits for a lock."""
    pause = threading.Event()
    # On a connection of its own: within one transaction the view stays as it was at the first look.
    with separate_connection() as other:
        for _ in range(int(PATIENCE_S / 0.01)):
            waiting = other.execute(
                "SELECT 1 FROM pg_stat_activity"
                " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            ).fetchone()
            if waiting is not None:
                return
            pause.wait(0.01)
    raise AssertionError("nobody waits for a lock")


def test_a_finish_and_a_cancel_at_once_end_the_job_once(live: Studio) -> None:
    jobs = [live.submit() for _ in range(8)]
    claimed = [claim_one() for _ in jobs]
    crew = Crew()
    crew.run(
        *[partial(finish, job) for job in claimed],
        *[partial(cancel_job, job=job, actor=live.key.ref, now=now()) for job in claimed],
    )
    assert all(isinstance(error, NotCancelable) for error in crew.errors)
    assert states(*jobs) == ["succeeded"] * 8
    assert usage(live.account) == (0, 8)
    assert_invariants_hold()


def test_a_claim_and_a_cancel_at_once_leave_the_job_either_canceled_or_asked_to_stop(live: Studio) -> None:
    jobs = [live.submit() for _ in range(8)]
    crew = Crew()
    crew.run(
        partial(claim_all, WORKER),
        *[partial(cancel_job, job=job, actor=live.key.ref, now=now()) for job in jobs],
    )
    assert crew.errors == []
    for job in GenerationJob.objects.all():
        assert (job.state, job.is_cancel_requested) in {("canceled", True), ("running", True)}
        assert trail(job)[1:] == ["canceled" if job.is_terminal else "cancel_requested"]
    assert_invariants_hold()


def test_ten_finishers_of_one_lease_charge_once(live: Studio) -> None:
    live.submit()
    job = claim_one()
    crew = Crew()
    crew.run(*[partial(finish, job, lease=lease_of(job))] * 10)
    assert Counter(type(error) for error in crew.errors) == {LeaseLost: 9}
    assert usage(live.account) == (0, 1)
    assert_invariants_hold()


def test_the_queue_limit_is_exact_under_concurrent_submits(live: Studio) -> None:
    give_plan(live.account, queue_depth=5)
    crew = Crew()
    crew.run(*[live.submit] * 20)
    assert Counter(type(error) for error in crew.errors) == {QueueFull: 15}
    assert (GenerationJob.objects.count(), usage(live.account)) == (5, (5, 0))
    assert_invariants_hold()


def test_control_counting_before_the_lock_lets_too_many_in(
    live: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The count is exact only because the quota row's lock comes first."""
    give_plan(live.account, queue_depth=1)
    reserve, require = services.reserve_calls, services.require_queue_room
    all_counted = threading.Barrier(3)

    def count_first(**values: object) -> object:
        from apps.plans.selectors import get_entitlements

        require(live.account, get_entitlements(account=live.account), None)
        all_counted.wait(PATIENCE_S)
        return reserve(**values)  # type: ignore[arg-type]  # handed on as they are

    monkeypatch.setattr(services, "reserve_calls", count_first)
    monkeypatch.setattr(services, "require_queue_room", lambda *_, **__: None)
    crew = Crew()
    crew.run(*[live.submit] * 3)
    assert (crew.errors, GenerationJob.objects.count()) == ([], 3)
