"""Waiting for a job without holding a database connection, woken by real messages."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection

from apps.core.clock import now
from apps.generation import waiting
from apps.generation.lifecycle import lease_of
from apps.generation.models import GenerationJob
from apps.generation.progress import report_progress
from apps.generation.services import cancel_job
from apps.generation.waiting import JobWatcher, follow_job, wait_for_job
from tests.apps.generation.engines import separate_connection, terminate_backends
from tests.apps.generation.studio import PATIENCE_S, Studio, claim_one, finish, in_background, reread


@pytest.fixture
def only_messages_wake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Re-reading at intervals is out of the way: a waiter that returns was woken."""
    monkeypatch.setattr(waiting, "RECHECK_S", 4 * PATIENCE_S)
    monkeypatch.setattr(waiting, "RECONNECT_S", 0.05)


@pytest.fixture
def asleep(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Call it to wait until that many waits have begun since the test started."""
    begun = threading.Semaphore(0)

    class Event(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            begun.release()
            return super().wait(timeout)

    class Threading:
        def __getattr__(self, name: str) -> Any:
            return Event if name == "Event" else getattr(threading, name)

    monkeypatch.setattr(waiting, "threading", Threading())

    def wait_until(count: int) -> None:
        for _ in range(count):
            assert begun.acquire(timeout=PATIENCE_S)

    return wait_until


@pytest.fixture
def one_slot(monkeypatch: pytest.MonkeyPatch) -> Iterator[JobWatcher]:
    watcher = waiting.job_watcher()
    monkeypatch.setattr(watcher, "_slots", threading.BoundedSemaphore(1))
    yield watcher


def test_a_waiter_wakes_when_its_job_finishes(
    live: Studio, only_messages_wake: None, asleep: Callable[[int], None]
) -> None:
    job = live.submit()
    waiter = in_background(lambda: wait_for_job(reread(job), timeout_s=PATIENCE_S))
    asleep(1)
    finish(claim_one())
    assert waiter.join().state == "succeeded"


def test_a_waiter_sleeps_on_when_another_job_finishes(
    live: Studio, only_messages_wake: None, asleep: Callable[[int], None]
) -> None:
    first, second = live.submit(), live.submit()
    waiter = in_background(lambda: wait_for_job(reread(second), timeout_s=PATIENCE_S))
    asleep(1)
    finish(claim_one())
    assert wait_for_job(reread(first), timeout_s=0).state == "succeeded"
    assert waiter.is_running
    cancel_job(job=second, actor=live.key.ref, now=now())
    assert waiter.join().state == "canceled"


def test_every_waiter_of_a_job_wakes(
    live: Studio, only_messages_wake: None, asleep: Callable[[int], None]
) -> None:
    job = live.submit()
    waiters = [in_background(lambda: wait_for_job(reread(job), timeout_s=PATIENCE_S)) for _ in range(5)]
    asleep(5)
    cancel_job(job=job, actor=live.key.ref, now=now())
    assert [waiter.join().state for waiter in waiters] == ["canceled"] * 5


def test_after_the_time_is_up_the_job_is_returned_as_it_stands(live: Studio) -> None:
    job = live.submit()
    assert wait_for_job(job, timeout_s=0.05).state == "queued"
    claim_one()
    assert wait_for_job(job, timeout_s=0.05).state == "running"


def test_an_ended_job_and_a_wait_of_zero_return_without_a_query(
    live: Studio, django_assert_num_queries: Any
) -> None:
    job = live.submit()
    ended = cancel_job(job=live.submit(), actor=live.key.ref, now=now())
    with django_assert_num_queries(0):
        assert wait_for_job(job, timeout_s=0).state == "queued"
        assert wait_for_job(ended, timeout_s=PATIENCE_S).state == "canceled"


def test_a_job_that_ended_before_the_wait_began_is_noticed(live: Studio, only_messages_wake: None) -> None:
    job = live.submit()
    cancel_job(job=job, actor=live.key.ref, now=now())
    assert job.state == "queued"
    assert wait_for_job(job, timeout_s=PATIENCE_S).state == "canceled"


def test_above_the_cap_the_answer_comes_at_once(
    live: Studio, only_messages_wake: None, asleep: Callable[[int], None], one_slot: JobWatcher
) -> None:
    job = live.submit()
    waiter = in_background(lambda: wait_for_job(reread(job), timeout_s=PATIENCE_S))
    asleep(1)
    assert wait_for_job(job, timeout_s=4 * PATIENCE_S).state == "queued"
    assert [seen.state for seen in follow_job(job, timeout_s=4 * PATIENCE_S)] == ["queued"]
    cancel_job(job=job, actor=live.key.ref, now=now())
    waiter.join()
    # The slot is free again, and nothing is remembered of those who waited.
    assert wait_for_job(job, timeout_s=PATIENCE_S).state == "canceled"
    assert dict(one_slot._events) == {}


def test_a_waiter_holds_no_connection(live: Studio, asleep: Callable[[int], None]) -> None:
    job = live.submit()
    held: list[bool] = []

    def wait() -> None:
        original = waiting.threading.Event.wait

        def look(event: threading.Event, timeout: float | None = None) -> bool:
            held.append(connection.connection is not None)
            return bool(original(event, timeout))

        waiting.threading.Event.wait = look
        try:
            wait_for_job(reread(job), timeout_s=PATIENCE_S)
        finally:
            waiting.threading.Event.wait = original

    waiter = in_background(wait)
    asleep(1)
    cancel_job(job=job, actor=live.key.ref, now=now())
    waiter.join()
    assert held
    assert not any(held)


def test_a_lost_connection_of_the_listener_is_replaced_and_nobody_misses_anything(
    live: Studio, only_messages_wake: None, asleep: Callable[[int], None]
) -> None:
    job = live.submit()
    waiter = in_background(lambda: wait_for_job(reread(job), timeout_s=PATIENCE_S))
    asleep(1)
    terminate_backends()
    # Ended by hand, without any message: the new connection makes everybody look.
    with separate_connection() as other:
        other.execute(
            "UPDATE generation_generationjob SET state = 'canceled', finished_at = now() WHERE id = %s",
            [job.pk],
        )
    assert waiter.join().state == "canceled"
    later = live.submit()
    waiter = in_background(lambda: wait_for_job(reread(later), timeout_s=PATIENCE_S))
    asleep(1)
    cancel_job(job=later, actor=live.key.ref, now=now())
    assert waiter.join().state == "canceled"


def test_without_any_message_a_waiter_looks_again_by_itself(
    live: Studio, monkeypatch: pytest.MonkeyPatch, asleep: Callable[[int], None]
) -> None:
    monkeypatch.setattr(waiting, "RECHECK_S", 0.05)
    job = live.submit()
    waiter = in_background(lambda: wait_for_job(reread(job), timeout_s=PATIENCE_S))
    asleep(1)
    with separate_connection() as other:
        other.execute(
            "UPDATE generation_generationjob SET state = 'canceled', finished_at = now() WHERE id = %s",
            [job.pk],
        )
    assert waiter.join().state == "canceled"


def test_following_yields_the_job_at_once_and_after_each_change_until_its_end(
    live: Studio, only_messages_wake: None
) -> None:
    job = live.submit()
    seen = follow_job(job, timeout_s=PATIENCE_S)
    assert next(seen).state == "queued"
    claimed = claim_one()
    report_progress(steps={lease_of(claimed): 5})
    row = next(seen)
    assert (row.state, row.progress_step) == ("running", 5)
    report_progress(steps={lease_of(claimed): 6})
    assert next(seen).progress_step == 6
    finish(GenerationJob.objects.get(pk=job.pk))
    assert next(seen).state == "succeeded"
    assert list(seen) == []


def test_following_ends_when_the_time_is_up(live: Studio) -> None:
    states = [row.state for row in follow_job(live.submit(), timeout_s=0.05)]
    assert set(states) == {"queued"}


def test_a_follower_that_leaves_early_gives_its_slot_back(live: Studio, one_slot: JobWatcher) -> None:
    job = live.submit()
    seen = follow_job(job, timeout_s=PATIENCE_S)
    next(seen)
    seen.close()  # type: ignore[attr-defined]  # it is a generator
    with one_slot.watch(job.pk) as event:
        assert event is not None
