from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import OperationalError

from apps.generation import heartbeat as heartbeat_module
from apps.generation.heartbeat import Heartbeat
from apps.generation.lifecycle import lease_of, release_jobs
from apps.generation.models import GpuWorker
from apps.generation.selectors import fresh_workers
from apps.generation.services import cancel_job
from apps.generation.workers import is_held_by_this_process, register_worker
from gpu_runtime.messages import EngineInfo
from tests.apps.generation.studio import Studio, claim, reread, worker_ref
from tests.clocks import FrozenClock

INFO = EngineInfo(
    runtime="fake", device="cpu", device_name="a chip", dtype="none", reason="because", resident=("tiny",)
)


@pytest.fixture
def worker(db: None, clock: FrozenClock) -> GpuWorker:
    return register_worker(name="host/cpu", now=clock.now())


def test_a_beat_renews_leases_and_describes_the_worker(
    studio: Studio, worker: GpuWorker, clock: FrozenClock
) -> None:
    studio.submit()
    [job] = claim()
    heartbeat = Heartbeat(worker_id=worker.pk)
    heartbeat.add(lease_of(job))
    heartbeat.publish(state="ready", info=INFO)
    heartbeat.measure(step_ms=12.5, tflop_per_s=40.0)
    clock.advance(seconds=4)
    heartbeat.beat_once()
    assert reread(job).lease_expires_at == clock.now() + timedelta(seconds=10)
    row = GpuWorker.objects.get()
    assert (row.state, row.heartbeat_at) == ("ready", clock.now())
    assert (row.step_ms, row.tflop_per_s) == (12.5, 40.0)
    assert (row.runtime, row.device, row.device_name, row.reason) == ("fake", "cpu", "a chip", "because")
    assert row.resident == ["tiny"]
    assert heartbeat.take_findings() == (frozenset(), frozenset())


def test_it_finds_lost_and_unwanted_jobs_and_tells_once(
    studio: Studio, worker: GpuWorker, clock: FrozenClock
) -> None:
    lost, unwanted = studio.submit(), studio.submit()
    leases = [lease_of(job) for job in claim()]
    heartbeat = Heartbeat(worker_id=worker.pk)
    for lease in leases:
        heartbeat.add(lease)
    release_jobs(leases=leases[:1], worker=worker_ref(), now=clock.now())
    cancel_job(job=unwanted, actor=studio.key.ref, now=clock.now())
    heartbeat.beat_once()
    assert heartbeat.take_findings() == (frozenset({lost.pk}), frozenset({unwanted.pk}))
    assert heartbeat.take_findings() == (frozenset(), frozenset())


def test_what_was_removed_is_neither_renewed_nor_reported(
    studio: Studio, worker: GpuWorker, clock: FrozenClock
) -> None:
    studio.submit()
    [job] = claim()
    heartbeat = Heartbeat(worker_id=worker.pk)
    heartbeat.add(lease_of(job))
    heartbeat.remove(lease_of(job))
    release_jobs(leases=[lease_of(job)], worker=worker_ref(), now=clock.now())
    clock.advance(seconds=4)
    heartbeat.beat_once()
    assert reread(job).lease_expires_at is None
    assert heartbeat.take_findings() == (frozenset(), frozenset())


def test_a_job_that_ends_while_a_beat_is_on_its_way_is_not_reported_lost(
    studio: Studio, worker: GpuWorker, clock: FrozenClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio.submit()
    [job] = claim()
    heartbeat = Heartbeat(worker_id=worker.pk)
    heartbeat.add(lease_of(job))
    renew = heartbeat_module.renew_leases

    def end_meanwhile(**values: object) -> object:
        release_jobs(leases=[lease_of(job)], worker=worker_ref(), now=clock.now())
        heartbeat.remove(lease_of(job))
        return renew(**values)  # type: ignore[arg-type]  # handed on as they are

    monkeypatch.setattr(heartbeat_module, "renew_leases", end_meanwhile)
    heartbeat.beat_once()
    assert heartbeat.take_findings() == (frozenset(), frozenset())


def test_a_failed_beat_is_survived_and_stopping_writes_the_last_words(
    live: Studio, monkeypatch: pytest.MonkeyPatch
) -> None:
    from apps.core.clock import now

    worker = register_worker(name="host/cpu", now=now())
    write = heartbeat_module.beat
    fail_once = [OperationalError("the database is away")]

    def beat(**values: object) -> None:
        if fail_once:
            raise fail_once.pop()
        write(**values)  # type: ignore[arg-type]  # handed on as they are

    monkeypatch.setattr(heartbeat_module, "beat", beat)
    heartbeat = Heartbeat(worker_id=worker.pk)
    heartbeat.start()
    heartbeat.publish(state="stopped", info=INFO)
    heartbeat.stop()
    assert fail_once == []
    assert GpuWorker.objects.get().state == "stopped"
    heartbeat.stop()


def test_a_worker_is_fresh_for_one_lease_and_only_while_ready(worker: GpuWorker, clock: FrozenClock) -> None:
    def fresh() -> list[str]:
        return [row.name for row in fresh_workers(now=clock.now())]

    assert fresh() == []
    GpuWorker.objects.update(state="ready")
    assert (fresh(), worker.is_fresh(now=clock.now(), lease_s=10)) == (["host/cpu"], True)
    clock.advance(seconds=10)
    assert (fresh(), worker.is_fresh(now=clock.now(), lease_s=10)) == ([], False)


def test_registering_again_takes_the_row_over(worker: GpuWorker, clock: FrozenClock) -> None:
    GpuWorker.objects.update(state="ready", pid=1, host="elsewhere")
    clock.advance(hours=1)
    again = register_worker(name="host/cpu", now=clock.now())
    assert again.pk == worker.pk
    assert (again.state, again.started_at, again.heartbeat_at) == ("starting", clock.now(), clock.now())
    assert again.pid != 1


def test_a_reused_process_id_is_not_taken_for_the_slots_last_holder(db: None, clock: FrozenClock) -> None:
    # The clock stands in the past: the row is older than this process, whatever its id says.
    register_worker(name="host/cpu", now=clock.now())
    assert is_held_by_this_process("host/cpu") is False
    clock.move_to(clock.now() + timedelta(days=100 * 365))
    register_worker(name="host/cpu", now=clock.now())
    assert is_held_by_this_process("host/cpu") is True
    assert is_held_by_this_process("host/cuda:0") is False
