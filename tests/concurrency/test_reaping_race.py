"""Two reapers that end jobs of the same days, each in another order."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from threading import Barrier, BrokenBarrierError

import pytest
from django.db import OperationalError

from apps.audit.refs import SYSTEM
from apps.core.clock import now
from apps.generation import lifecycle
from apps.generation.lifecycle import reap_crashed
from apps.generation.models import GenerationJob
from apps.generation.settlement import release_reservation
from apps.quotas.models import DailyUsage
from tests.apps.generation.studio import (
    OTHER_WORKER,
    WORKER,
    Crew,
    Studio,
    assert_invariants_hold,
    claim,
    states,
    usage,
)
from tests.factories import give_plan

MEETING_S = 1.0
"""One of them waits so long for another that its lock keeps out."""


def dead_workers_across_midnight(live: Studio) -> list[GenerationJob]:
    """Each worker has a job of either day: the first one today's before yesterday's, the other turned."""
    give_plan(live.account, queue_depth="unlimited")
    jobs = [live.submit() for _ in range(4)]
    assert [job.pk for job in (*claim(WORKER, limit=2), *claim(OTHER_WORKER))] == [job.pk for job in jobs]
    today = jobs[0].quota_day
    DailyUsage.objects.filter(account=live.account).update(reserved=2)
    DailyUsage.objects.create(account=live.account, day=today - timedelta(days=1), reserved=2)
    early = [jobs[1].pk, jobs[2].pk]
    GenerationJob.objects.filter(pk__in=early).update(quota_day=today - timedelta(days=1))
    GenerationJob.objects.update(is_cancel_requested=True)
    return jobs


def reap_at_once(monkeypatch: pytest.MonkeyPatch) -> Crew:
    """Both have given back the call of their first job before either goes on, if they can."""
    both_have_begun = Barrier(2)

    def release_and_meet(job: GenerationJob, **options: object) -> None:
        release_reservation(job, **options)  # type: ignore[arg-type]  # handed on as they are
        try:
            both_have_begun.wait(MEETING_S)
        except BrokenBarrierError:
            return

    monkeypatch.setattr(lifecycle, "release_reservation", release_and_meet)
    crew = Crew()
    crew.run(
        *[partial(reap_crashed, worker=name, actor=SYSTEM, now=now()) for name in (WORKER, OTHER_WORKER)]
    )
    return crew


def test_reapers_take_days_in_one_order(live: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = dead_workers_across_midnight(live)

    crew = reap_at_once(monkeypatch)

    assert (crew.errors, crew.results) == ([], [2, 2])
    assert states(*jobs) == ["canceled"] * 4
    assert usage(live.account) == (0, 0)
    assert_invariants_hold()


def test_control_without_the_order_they_wait_for_each_other(
    live: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead_workers_across_midnight(live)
    monkeypatch.setattr(lifecycle, "lock_days", lambda _: None)

    crew = reap_at_once(monkeypatch)

    assert [type(error) for error in crew.errors] == [OperationalError]
    assert "deadlock" in str(crew.errors[0])
