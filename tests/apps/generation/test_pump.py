"""The pump in this process, on real commits, driving the fake engine or one with a script."""

from __future__ import annotations

import io
import threading
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from apps.artifacts.models import Artifact
from apps.artifacts.store import write_image
from apps.audit.models import AuditEvent
from apps.audit.refs import Ref
from apps.core.clock import now
from apps.core.listen import Listener, ListenerLost
from apps.generation import drain, heartbeat, pump_session
from apps.generation.adapters import entries_of
from apps.generation.choices import ControlType, Kind
from apps.generation.faults import HUNG, Failure
from apps.generation.image_requests import request_id_of, runtime_priority
from apps.generation.lifecycle import lease_of
from apps.generation.models import GenerationJob, GpuWorker
from apps.generation.pictures import BytesSource, take_picture
from apps.generation.queue_control import restart_workers
from apps.generation.services import cancel_job
from apps.generation.watchdog import EXIT_DEVICE_LOST, EXIT_RESTARTED
from apps.generation.wishes import DetectWish
from apps.generation.work_plan import work_request
from apps.generation.workers import worker_name
from gpu_runtime.config import EngineConfig
from gpu_runtime.errors import DeviceLost, UnsupportedCombination
from gpu_runtime.fake_images import fake_png
from gpu_runtime.messages import (
    CheckpointRef,
    EngineProtocol,
    ImageRequest,
    Priority,
    Sampler,
    Timings,
)
from tests.apps.generation.engines import (
    MakePump,
    ScriptedEngine,
    TestPump,
    count_sessions,
    separate_connection,
    terminate_backends,
)
from tests.apps.generation.studio import (
    OTHER_WORKER,
    PATIENCE_S,
    WORKER,
    Studio,
    assert_invariants_hold,
    claim_one,
    finish,
    in_background,
    reread,
    states,
    trail,
    usage,
)

OPERATOR = Ref(kind="user", id=1, label="otto")


def slow_engine(step_ms: float = 4.0) -> ScriptedEngine:
    return ScriptedEngine(config=EngineConfig(runtime="fake", fake_step_ms=step_ms))


def has_begun(job: GenerationJob) -> bool:
    row = reread(job)
    return row.state == "running" and row.progress_step > 0


def has_ended(*jobs: GenerationJob) -> bool:
    return all(reread(job).is_terminal for job in jobs)


def worker_row() -> GpuWorker:
    return GpuWorker.objects.get()


def pixels_of(data: bytes) -> bytes:
    with Image.open(io.BytesIO(data)) as image:
        return image.tobytes()


def test_queued_jobs_are_claimed_run_and_delivered(live: Studio, make_pump: MakePump) -> None:
    one = live.submit("one", seed=4, width=64, height=64, num_images=2)
    two = live.submit("two", by_stranger=True)
    make_pump().run_until(lambda: has_ended(one, two))
    assert states(one, two) == ["succeeded", "succeeded"]
    stored = Artifact.objects.filter(job_id=one.pk).order_by("index")
    assert [(image.index, image.seed, image.width, image.height) for image in stored] == [
        (0, 4, 64, 64),
        (1, 5, 64, 64),
    ]
    assert [pixels_of(image.file_path.read_bytes()) for image in stored] == [
        pixels_of(fake_png("one", seed, width=64, height=64)) for seed in (4, 5)
    ]
    row = reread(one)
    assert (row.attempt, row.crashes, row.progress_step, row.progress_total) == (1, 0, 50, 50)
    assert set(row.timings) == {*Timings.__slots__, "store_s"}
    assert trail(one) == ["submitted", "succeeded"]
    assert usage(live.account) == usage(live.strangers_account) == (0, 1)
    assert_invariants_hold()


def test_the_workers_row_says_who_serves_and_with_what(live: Studio, make_pump: MakePump) -> None:
    pump = make_pump()
    pump.run_until(lambda: worker_row_state() == "ready")
    row = worker_row()
    assert (row.name, row.runtime, row.device) == (worker_name("cpu"), "fake", "fake")
    assert row.reason == "DARKROOM_RUNTIME=fake: images are coloured test cards, not generated."


def worker_row_state() -> str:
    return GpuWorker.objects.values_list("state", flat=True).first() or "none"


def test_an_idle_pump_is_woken_by_a_submit(
    live: Studio, make_pump: MakePump, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With polling out of the way only the message can wake it in time.
    monkeypatch.setattr(pump_session, "IDLE_WAIT_S", 4 * PATIENCE_S)
    monkeypatch.setattr(pump_session, "POLL_S", 4 * PATIENCE_S)
    pump = make_pump()
    polled = threading.Event()
    look = pump_session.PumpSession._look_for_work

    def note(session: pump_session.PumpSession, messages: list[str]) -> None:
        look(session, messages)
        polled.set()

    monkeypatch.setattr(pump_session.PumpSession, "_look_for_work", note)
    running = in_background(lambda: pump.run_slice(seconds=PATIENCE_S))
    assert polled.wait(PATIENCE_S)
    job = live.submit()
    # The slot's own thread may wait for a minute: what ends it is the next message.
    wait_for_state(job, "succeeded")
    drain.request_drain()
    live.submit()
    assert running.join() is True


def wait_for_state(job: GenerationJob, state: str) -> None:
    from apps.generation.waiting import wait_for_job

    assert wait_for_job(reread(job), timeout_s=PATIENCE_S).state == state


def test_progress_is_written_while_a_job_runs(live: Studio, make_pump: MakePump) -> None:
    job = live.submit(steps=100)
    pump = make_pump(slow_engine)
    pump.run_until(lambda: has_begun(job))
    first = reread(job).progress_step
    pump.run_until(lambda: reread(job).progress_step > first or has_ended(job))
    assert 0 < first < reread(job).progress_step <= reread(job).progress_total == 100
    pump.run_until(lambda: worker_row().step_ms > 0)


def test_loading_weights_does_not_count_as_time_of_steps(live: Studio, make_pump: MakePump) -> None:
    job = live.submit(steps=5)
    loading = slow_engine()
    # More than any step takes: nothing is left for the steps themselves.
    loading.load_s = 1e6
    make_pump(lambda: loading).run_until(lambda: has_ended(job))
    assert loading.loads_reported > 0
    assert worker_row().step_ms == 0


def test_operations_on_pictures_do_not_count_as_steps(live: Studio, make_pump: MakePump) -> None:
    data = fake_png("a cat", 1, width=64, height=64)
    picture = take_picture(BytesSource(data), field="image", now=now())
    job = live.submit(
        checkpoint="", kind=Kind.DETECT, image=picture, detect=DetectWish(type=ControlType.CANNY)
    )
    pump = make_pump(slow_engine)
    pump.run_until(lambda: has_ended(job))
    assert states(job) == ["succeeded"]
    assert pump.session is not None
    assert (pump.session.step_ms, pump.session.tflop_ms) == (0.0, 0.0)


def test_a_cancel_request_stops_a_running_job_and_leaves_its_neighbour_alone(
    live: Studio, make_pump: MakePump
) -> None:
    unwanted, neighbour = live.submit("unwanted", steps=150), live.submit("neighbour", steps=30)
    pump = make_pump(slow_engine)
    pump.run_until(lambda: has_begun(unwanted) and has_begun(neighbour))
    cancel_job(job=unwanted, actor=live.key.ref, now=now())
    pump.run_until(lambda: has_ended(unwanted, neighbour))
    assert states(unwanted, neighbour) == ["canceled", "succeeded"]
    assert trail(unwanted) == ["submitted", "cancel_requested", "canceled"]
    assert reread(unwanted).progress_step < 150
    assert usage(live.account) == (0, 1)
    assert_invariants_hold()


def test_a_fault_that_may_not_repeat_is_tried_once_more(live: Studio, make_pump: MakePump) -> None:
    job = live.submit("[fault:nan]")
    make_pump().run_until(lambda: has_ended(job))
    row = reread(job)
    assert (row.state, row.attempt, row.crashes) == ("failed", 2, 0)
    assert row.error_code == "numeric_fault"
    assert row.error_message == (
        "The model produced invalid numbers; try another seed or a lower guidance scale."
    )
    assert trail(job) == ["submitted", "requeued", "failed"]
    assert usage(live.account) == (0, 0)
    assert_invariants_hold()


def test_a_fault_that_would_repeat_fails_at_once(live: Studio, make_pump: MakePump) -> None:
    job, neighbour = live.submit("[fault:oom]"), live.submit()
    make_pump().run_until(lambda: has_ended(job, neighbour))
    assert (reread(job).attempt, reread(job).error_code) == (1, "out_of_memory")
    assert states(job, neighbour) == ["failed", "succeeded"]
    assert usage(live.account) == (0, 1)
    assert_invariants_hold()


def test_a_request_the_engine_refuses_fails_and_its_neighbour_runs(live: Studio, make_pump: MakePump) -> None:
    engine = ScriptedEngine(refusal=UnsupportedCombination("no"))
    refused = live.submit()
    pump = make_pump(lambda: engine)
    pump.run_until(lambda: has_ended(refused))
    engine.refusal = None
    accepted = live.submit()
    pump.run_until(lambda: has_ended(accepted))
    assert states(refused, accepted) == ["failed", "succeeded"]
    assert reread(refused).error_code == "unsupported_combination"
    assert_invariants_hold()


@pytest.mark.parametrize(
    "broken",
    [
        {"from_a_later_version": True},
        {"tier": "of a later version"},
        {"adapters": {"loras": [{"scale": 1.0}]}},
    ],
    ids=["unknown field", "unknown value", "missing field"],
)
def test_a_stored_request_that_cannot_be_read_fails_its_job_alone(
    broken: dict[str, Any], live: Studio, make_pump: MakePump
) -> None:
    before, unreadable, after = (live.submit(prompt) for prompt in ("before", "from later", "after"))
    GenerationJob.objects.filter(pk=unreadable.pk).update(request=unreadable.request | broken)
    engine = ScriptedEngine()
    # A second engine is not to be had: the first must outlive it.
    make_pump(iter([engine]).__next__).run_until(lambda: has_ended(before, unreadable, after))
    assert states(before, unreadable, after) == ["succeeded", "failed", "succeeded"]
    row = reread(unreadable)
    assert (row.error_code, row.attempt, row.crashes) == ("request_unreadable", 1, 0)
    assert "send it again" in row.error_message
    assert [reread(job).attempt for job in (before, after)] == [1, 1]
    assert usage(live.account) == (0, 2)
    assert_invariants_hold()


def test_an_unexpected_failure_counts_as_a_crash_and_brings_a_new_engine(
    live: Studio, make_pump: MakePump
) -> None:
    jobs = [live.submit(f"job {index}") for index in range(2)]
    engines = [ScriptedEngine(faults=[ValueError("nobody expected this")]), ScriptedEngine()]
    waiting = list(engines)
    pump = make_pump(lambda: waiting.pop(0))
    pump.run_until(lambda: has_ended(*jobs))
    assert pump.builds == 2
    assert [(row.state, row.crashes, row.attempt) for row in map(reread, jobs)] == [("succeeded", 1, 2)] * 2
    assert [trail(job) for job in jobs] == [["submitted", "requeued", "succeeded"]] * 2
    # Each of the two is under suspicion, so neither runs in the other's company.
    assert set(engines[1].company) == {frozenset({"job 0"}), frozenset({"job 1"})}
    assert_invariants_hold()


def test_a_failure_that_also_breaks_the_engines_clean_up_does_not_end_the_pump(
    live: Studio, make_pump: MakePump
) -> None:
    class Broken(ScriptedEngine):
        def cancel(self, request_id: str) -> None:
            raise ValueError("broken beyond clean-up")

    job = live.submit()
    waiting: list[EngineProtocol] = [Broken(faults=[ValueError("first")]), ScriptedEngine()]
    pump = make_pump(lambda: waiting.pop(0))
    pump.run_until(lambda: has_ended(job))
    assert (reread(job).state, reread(job).crashes) == ("succeeded", 1)


def test_a_job_whose_worker_fails_twice_is_quarantined(live: Studio, make_pump: MakePump) -> None:
    job = live.submit()
    pump = make_pump(lambda: ScriptedEngine(faults=[ValueError("again")]))
    pump.run_until(lambda: has_ended(job))
    row = reread(job)
    assert (row.state, row.crashes, row.error_code) == ("quarantined", 2, "worker_crashed")
    assert trail(job) == ["submitted", "requeued", "quarantined"]
    assert usage(live.account) == (0, 0)
    assert_invariants_hold()


def test_a_suspect_runs_alone_while_others_wait(live: Studio, make_pump: MakePump) -> None:
    suspect = live.submit("suspect", steps=10)
    GenerationJob.objects.filter(pk=suspect.pk).update(crashes=1)
    others = [live.submit(f"other {index}", steps=10) for index in range(2)]
    engine = slow_engine(1.0)
    make_pump(lambda: engine).run_until(lambda: has_ended(suspect, *others))
    assert states(suspect, *others) == ["succeeded"] * 3
    assert {company for company in engine.company if "suspect" in company} == {frozenset({"suspect"})}
    assert frozenset({"other 0", "other 1"}) in engine.company


def test_losing_the_database_mid_run_costs_no_crash_and_the_jobs_run_again(
    live: Studio, make_pump: MakePump
) -> None:
    jobs = [live.submit(f"job {index}", steps=40) for index in range(2)]
    engine = slow_engine()
    pump = make_pump(lambda: engine)
    pump.run_until(lambda: all(has_begun(job) for job in jobs))
    assert terminate_backends() >= 1
    pump.run_until(lambda: has_ended(*jobs))
    assert [(row.state, row.crashes, row.attempt) for row in map(reread, jobs)] == [("succeeded", 0, 2)] * 2
    assert [trail(job) for job in jobs] == [["submitted", "requeued", "succeeded"]] * 2
    assert pump.builds == 1
    assert usage(live.account) == (0, 2)
    assert_invariants_hold()


def test_a_job_that_another_worker_has_by_now_is_dropped(live: Studio, make_pump: MakePump) -> None:
    lost, neighbour = live.submit("lost", steps=150), live.submit("neighbour", steps=150)
    engine = slow_engine()
    pump = make_pump(lambda: engine)
    pump.run_until(lambda: has_begun(lost))
    GenerationJob.objects.filter(pk=lost.pk).update(state="queued", claimed_by="", lease_expires_at=None)
    taken_over = claim_one(OTHER_WORKER, lease_s=3600)
    assert taken_over.pk == lost.pk
    assert pump.session is not None
    pump.session.heartbeat.beat_once()
    pump.run_until(lambda: has_ended(neighbour))
    assert engine.company[-1] == {"neighbour"}
    assert reread(lost) == taken_over
    assert reread(lost).state == "running"
    finish(taken_over)
    assert usage(live.account) == (0, 2)
    assert_invariants_hold()


def test_a_lost_job_that_comes_back_to_the_same_worker_runs_to_its_end(
    live: Studio, make_pump: MakePump
) -> None:
    job = live.submit(steps=40)
    pump = make_pump(slow_engine)
    pump.run_until(lambda: has_begun(job))
    # What a reaper does to a lease that ran out, except for the crash, which would delay the next claim.
    GenerationJob.objects.filter(pk=job.pk).update(state="queued", claimed_by="", lease_expires_at=None)
    pump.run_until(lambda: has_ended(job))
    row = reread(job)
    assert (row.state, row.attempt) == ("succeeded", 2)
    assert_invariants_hold()


def test_draining_lets_running_jobs_finish_and_claims_nothing_more(
    live: Studio, make_pump: MakePump, settings: Any
) -> None:
    settings.DRAIN_GRACE_S = PATIENCE_S
    running = live.submit(steps=20)
    pump = make_pump(slow_engine)
    pump.run_until(lambda: has_begun(running))
    late = live.submit()
    drain.request_drain()
    assert pump.run_slice(seconds=PATIENCE_S) is True
    assert states(running, late) == ["succeeded", "queued"]
    assert (reread(late).attempt, pump.session) == (0, None)
    assert worker_row_state() == "stopped"


def test_a_slice_does_not_end_before_it_has_drained(live: Studio, make_pump: MakePump, settings: Any) -> None:
    settings.DRAIN_GRACE_S = PATIENCE_S
    job = live.submit(steps=20)
    pump = make_pump(slow_engine)
    pump.run_until(lambda: has_begun(job))
    drain.request_drain()
    assert pump.run_slice(seconds=0.0) is True
    assert states(job) == ["succeeded"]
    assert worker_row_state() == "stopped"


def test_draining_hands_back_what_does_not_finish_in_time(
    live: Studio, make_pump: MakePump, settings: Any
) -> None:
    settings.DRAIN_GRACE_S = 0.0
    job = live.submit(steps=150)
    pump = make_pump(slow_engine)
    pump.run_until(lambda: has_begun(job))
    drain.request_drain()
    assert pump.run_slice(seconds=PATIENCE_S) is True
    row = reread(job)
    assert (row.state, row.attempt, row.crashes, row.claimed_by) == ("queued", 1, 0, "")
    assert row.lease_expires_at is None
    assert worker_row_state() == "stopped"
    assert_invariants_hold()


def test_an_idle_pump_that_drains_says_that_it_stopped(
    live: Studio, make_pump: MakePump, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when its last words come while the heartbeat is just writing the ones before."""
    pump = make_pump()
    pump.run_until(lambda: worker_row_state() == "ready")
    assert pump.session is not None
    write, close, stop = heartbeat.beat, pump.session.settler.close, heartbeat.Heartbeat.stop
    is_writing, may_write = threading.Event(), threading.Event()

    def slow_beat(*, state: str, **values: Any) -> None:
        if state == "draining":
            is_writing.set()
            assert may_write.wait(PATIENCE_S)
        write(state=state, **values)

    def close_once_it_writes() -> None:
        assert is_writing.wait(PATIENCE_S)
        close()

    def stop_before_it_has_written(self: heartbeat.Heartbeat) -> None:
        self._stop.set()
        may_write.set()
        stop(self)

    monkeypatch.setattr(heartbeat, "beat", slow_beat)
    monkeypatch.setattr(pump.session.settler, "close", close_once_it_writes)
    monkeypatch.setattr(heartbeat.Heartbeat, "stop", stop_before_it_has_written)
    drain.request_drain()
    assert pump.run_slice(seconds=PATIENCE_S) is True
    assert worker_row_state() == "stopped"


def test_the_slot_belongs_to_one_process_at_a_time(live: Studio, make_pump: MakePump) -> None:
    holder, second = make_pump(), make_pump()
    holder.run_until(lambda: worker_row_state() == "ready")
    before = GpuWorker.objects.values("pid", "started_at").get()
    job = live.submit()
    assert second.run_slice(seconds=PATIENCE_S) is False
    assert second.builds == 0
    assert GpuWorker.objects.values("pid", "started_at").get() == before
    assert states(job) == ["queued"]
    holder.end()
    second.run_until(lambda: has_ended(job))
    assert states(job) == ["succeeded"]


def test_a_slice_does_not_end_while_the_database_is_away(
    live: Studio, make_pump: MakePump, monkeypatch: pytest.MonkeyPatch
) -> None:
    outages = iter([True] * 20)
    connect = Listener.connect

    def away_at_first(listener: Listener) -> None:
        if next(outages, False):
            raise ListenerLost("the database is away")
        connect(listener)

    pump = make_pump(slow_engine)
    monkeypatch.setattr(Listener, "connect", away_at_first)
    # Twenty tries take longer than the slice, which goes on until one of them succeeds.
    assert pump.run_slice(seconds=0.05) is True
    assert next(outages, None) is None
    assert pump.session is not None


def test_a_slice_that_ends_keeps_engine_and_running_jobs_for_the_next(
    live: Studio, make_pump: MakePump
) -> None:
    job = live.submit(steps=30)
    pump = make_pump(slow_engine)
    pump.run_until(lambda: has_begun(job))
    assert pump.run_slice(seconds=0.0) is True
    pump.run_until(lambda: has_ended(job))
    assert (reread(job).attempt, pump.builds) == (1, 1)


def test_a_device_that_cannot_be_opened_leaves_neither_threads_nor_sessions_behind(
    live: Studio, make_pump: MakePump
) -> None:
    def refuse() -> EngineProtocol:
        if pump.builds <= 5:
            raise UnsupportedCombination("no such device")
        return ScriptedEngine()

    pump = make_pump(refuse)
    job = live.submit()
    sessions, beating = count_sessions(), beating_hearts()
    pump.run_until(lambda: pump.builds == 5)
    assert count_sessions() <= sessions
    assert beating_hearts() == beating
    assert states(job) == ["queued"]
    pump.run_until(lambda: has_ended(job))
    assert states(job) == ["succeeded"]


def beating_hearts() -> int:
    return sum(thread.name == "heartbeat" for thread in threading.enumerate())


def test_a_lost_device_ends_the_process(
    live: Studio, make_pump: MakePump, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Left(BaseException):
        pass

    statuses: list[tuple[int, str]] = []

    def leave(status: int, *, cause: Failure) -> None:
        statuses.append((status, cause.code))
        raise Left

    live.submit()
    pump = make_pump(lambda: ScriptedEngine(faults=[DeviceLost("gone")]))
    monkeypatch.setattr(pump.watchdog, "leave", leave)
    with pytest.raises(Left):
        pump.run_until(lambda: False)
    assert statuses == [(EXIT_DEVICE_LOST, "device_lost")] == [(70, "device_lost")]


def test_a_restart_lets_running_jobs_finish_and_ends_the_process(
    live: Studio, make_pump: MakePump, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    class Left(BaseException):
        pass

    def leave(status: int, **cause: Failure) -> None:
        assert (status, cause) == (EXIT_RESTARTED, {})
        raise Left

    settings.DRAIN_GRACE_S = PATIENCE_S
    running = live.submit(steps=20)
    pump = make_pump(slow_engine)
    monkeypatch.setattr(pump.watchdog, "leave", leave)
    pump.run_until(lambda: has_begun(running))

    assert restart_workers(actor=OPERATOR, now=now()) == 1
    late = live.submit()
    with pytest.raises(Left):
        pump.run_slice(seconds=PATIENCE_S)

    assert states(running, late) == ["succeeded", "queued"]
    assert (worker_row_state(), pump.session) == ("stopped", None)
    [event] = AuditEvent.objects.filter(name="generation.worker.restarted")
    assert (event.actor_label, event.subject_id) == ("otto", str(worker_row().pk))


def test_a_farewell_hands_back_what_runs_and_delivers_what_is_done(
    live: Studio, make_pump: MakePump, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_write = threading.Event()

    def slow_write(**values: Any) -> Any:
        assert may_write.wait(PATIENCE_S)
        return write_image(**values)

    monkeypatch.setattr("apps.generation.settler.write_image", slow_write)
    done = live.submit("done", steps=1)
    pump = make_pump(slow_engine)
    pump.run_until(lambda: has_left_the_engine(pump, done))
    running = live.submit("running", steps=150)
    pump.run_until(lambda: has_begun(running))
    farewell = in_background(lambda: pump.watchdog._farewell(HUNG))
    may_write.set()
    farewell.join()
    assert states(done, running) == ["succeeded", "queued"]
    assert (reread(running).crashes, reread(running).claimed_by) == (1, "")
    assert_invariants_hold()


def has_left_the_engine(pump: TestPump, job: GenerationJob) -> bool:
    """Whether nothing but storing its images is left to do."""
    return pump.session is not None and not pump.session.running and reread(job).attempt > 0


def test_a_farewell_without_a_database_ends_soon_and_leaves_the_jobs_to_be_found(
    live: Studio, make_pump: MakePump
) -> None:
    job = live.submit(steps=150)
    pump = make_pump(slow_engine)
    pump.run_until(lambda: has_begun(job))
    with separate_connection() as other, other.transaction():
        # What a database that does not answer looks like: the statement gets nowhere.
        other.execute("SELECT FROM generation_generationjob WHERE id = %s FOR UPDATE", [job.pk])
        in_background(lambda: pump.watchdog._farewell(HUNG)).join()
    assert (reread(job).state, reread(job).crashes) == ("running", 0)


def test_jobs_of_a_worker_that_died_are_taken_back_by_its_successor(
    live: Studio, make_pump: MakePump
) -> None:
    job = live.submit()
    GpuWorker.objects.create(
        name=worker_name("cpu"), host="host", pid=1, state="ready", started_at=now(), heartbeat_at=now()
    )
    claim_one(worker_name("cpu"))
    elsewhere = live.submit()
    claim_one(WORKER, lease_s=3600)
    make_pump().run_until(lambda: has_ended(job))
    assert (reread(job).state, reread(job).crashes, reread(job).attempt) == ("succeeded", 1, 2)
    assert (reread(elsewhere).state, reread(elsewhere).claimed_by) == ("running", WORKER)


def test_what_the_engine_gets_is_the_job(live: Studio) -> None:
    job = live.submit(
        "a cat",
        negative_prompt="fog",
        width=1024,
        height=512,
        num_images=2,
        steps=7,
        seed=3,
        guidance_scale=2.5,
    )
    claimed = claim_one()
    entries = entries_of([claimed])
    request = work_request(claimed, entries)
    assert (request.before, request.after, request.results, request.pictures) == ((), (), (), {})
    assert request.request_id == request_id_of(lease_of(claimed))
    assert request.image == ImageRequest(
        request_id=request.request_id,
        checkpoint=CheckpointRef(name="tiny", family="sd15", path="/nowhere/tiny", digest="0" * 64),
        prompt="a cat",
        negative_prompt="fog",
        width=512,
        height=256,
        output_width=1024,
        output_height=512,
        steps=7,
        guidance_scale=2.5,
        seeds=(3, 4),
        sampler=Sampler.DPMPP_2M,
        account=str(live.account.pk),
        weight=1.0,
        is_isolated=False,
    )
    GenerationJob.objects.filter(pk=job.pk).update(crashes=1)
    again = work_request(reread(job), entries)
    assert again.is_isolated is True and again.image is not None and again.image.is_isolated is True


@pytest.mark.parametrize(
    ("stored", "taken"),
    [
        (10, Priority.INTERACTIVE),
        (0, Priority.INTERACTIVE),
        (-1, Priority.BACKGROUND),
        (-2, Priority.TRAINING),
        (-9, Priority.TRAINING),
    ],
)
def test_priority_of_a_row_is_a_class_of_the_engine(stored: int, taken: Priority) -> None:
    assert runtime_priority(GenerationJob(priority=stored)) is taken


def test_a_full_disk_fails_the_job_and_gives_its_call_back(
    live: Studio, make_pump: MakePump, monkeypatch: pytest.MonkeyPatch, artifact_dir: Path
) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("apps.generation.settler.write_image", full)
    job = live.submit(num_images=2)
    make_pump().run_until(lambda: has_ended(job))
    row = reread(job)
    assert (row.state, row.error_code, row.attempt) == ("failed", "internal_error", 1)
    assert usage(live.account) == (0, 0)
    assert [path for path in artifact_dir.rglob("*") if path.is_file()] == []
    assert_invariants_hold()
