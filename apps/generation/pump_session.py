"""One stay of the pump in its slot: from taking the slot's lock until giving it up or losing the database.

Everything here happens on one thread, save for settling and heartbeats, which have their own. When
the database is lost, so is the lock; the session is then abandoned without writing anything more,
because another process may already hold the slot.
"""

from __future__ import annotations

import logging
import time

from django.conf import settings
from django.db import Error, connection

from apps.audit.refs import Ref
from apps.core.clock import now
from apps.core.listen import Listener
from apps.core.logging import working_for
from apps.generation import lifecycle
from apps.generation.adapters import entries_of
from apps.generation.choices import JobState
from apps.generation.claiming import claim_jobs
from apps.generation.counting import count_ticks, log_ticks
from apps.generation.drain import is_draining
from apps.generation.faults import Failure, unreadable_of
from apps.generation.heartbeat import Heartbeat
from apps.generation.image_requests import request_id_of
from apps.generation.licensed import workers_beyond_licence
from apps.generation.model_policies import ModelPolicies
from apps.generation.models import GenerationJob
from apps.generation.progress import ProgressBoard
from apps.generation.settler import RunningJob, Settler
from apps.generation.watchdog import Watchdog
from apps.generation.work_plan import work_request
from gpu_runtime.errors import RuntimeFault
from gpu_runtime.messages import (
    EngineProtocol,
    Event,
    ImageDone,
    Preview,
    Progress,
    RequestCanceled,
    RequestDone,
    RequestFailed,
)
from gpu_runtime.telemetry import TickKind

log = logging.getLogger(__name__)

# An idle pump looks at the table at least this often, in case a message was lost.
IDLE_WAIT_S = 1.0
# How often a busy pump looks for queued jobs that no message announced, and reaps.
POLL_S = 1.0


class PumpSession:
    """Claims, runs and settles. Raises DeviceLost, and one of `pump.DATABASE_GONE` with the database away."""

    def __init__(
        self,
        *,
        actor: Ref,
        engine: EngineProtocol,
        listener: Listener,
        heartbeat: Heartbeat,
        watchdog: Watchdog,
    ) -> None:
        self.actor = actor
        self.engine = engine
        self.listener = listener
        self.heartbeat = heartbeat
        self.watchdog = watchdog
        self.settler = Settler(worker=actor, max_attempts=settings.MAX_CRASHES, on_settled=heartbeat.remove)
        self.policies = ModelPolicies(engine)
        self.running: dict[str, RunningJob] = {}
        self.progress = ProgressBoard()
        self.step_ms = 0.0
        self.tflop_ms = 0.0
        self.next_poll = 0.0
        self.has_room = True
        """Whether more jobs may fit than at the last look: one has ended, or there were more than fitted."""
        self.suspect_waits = False
        self.is_licensed = True
        """Whether the licence covers this device; one that it does not takes nothing more."""
        self.drain_deadline: float | None = None
        self.is_restarting = False
        """Whether the operator wants a new process in this one's place."""

    @property
    def is_leaving(self) -> bool:
        """Whether nothing more is to be claimed."""
        return self.is_restarting or is_draining()

    def turn(self) -> None:
        """Look for work, run one tick, pass on what came of it; wait when there is nothing to do."""
        busy = self.engine.has_work()
        wait_s = 0.0 if busy or self.has_room or self._wants_poll() else self._idle_wait_s()
        messages = self.listener.wait(wait_s)
        if messages or self.has_room or self._wants_poll():
            self._look_for_work(messages)
        if self.engine.has_work():
            if self.running:
                self.policies.note_work()
            self._tick()
        else:
            self.watchdog.idle()
        self.progress.write()

    def _idle_wait_s(self) -> float:
        return max(0.0, min(IDLE_WAIT_S, self.next_poll - time.monotonic()))

    def _wants_poll(self) -> bool:
        return time.monotonic() >= self.next_poll

    def _look_for_work(self, messages: list[str]) -> None:
        self.has_room = False
        if self._wants_poll():
            self.next_poll = time.monotonic() + POLL_S
            lifecycle.reap_expired(actor=self.actor, now=now())
            self.suspect_waits = GenerationJob.objects.filter(state=JobState.QUEUED, crashes__gt=0).exists()
            self.policies.apply()
            self.is_licensed = self.actor.label not in workers_beyond_licence(now=now())
            self.heartbeat.describe(info=self.engine.info())
        self._drop_lost_and_canceled(check_now="cancel" in messages)
        self.is_restarting = self.is_restarting or "restart" in messages
        if not self.is_leaving and self.is_licensed:
            self._claim()

    def _claim(self) -> None:
        """Take what fits. While a suspect waits nothing else is taken, so that it gets the engine alone."""
        if self.suspect_waits:
            if not self.running:
                self._admit(claim_jobs(worker=self.actor.label, limit=1, now=now(), suspects=True))
                self.suspect_waits = bool(self.running)
                self.has_room = not self.suspect_waits
            return
        room = self.engine.free_rows()
        if room > 0:
            claimed = claim_jobs(worker=self.actor.label, limit=room, now=now())
            self._admit(claimed)
            if len(claimed) == room:
                self.has_room = True

    def _admit(self, jobs: list[GenerationJob]) -> None:
        unreadable = unreadable_of(jobs)
        entries = entries_of(job for job in jobs if job.pk not in unreadable)
        for job in jobs:
            # Re-queued by a reaper while we still worked on it, and now ours again.
            self._drop_job(job.pk)
            running = RunningJob(
                lease=lifecycle.lease_of(job),
                group=job.artifact_group,
                attempt=job.attempt,
                step_tflop=job.work_tflop / max(1, job.progress_total),
                request_id=job.request_id,
            )
            request_id = request_id_of(running.lease)
            self.running[request_id] = running
            self.heartbeat.add(running.lease)
            try:
                if job.pk in unreadable:
                    raise unreadable[job.pk]
                self.engine.submit(work_request(job, entries))
            except RuntimeFault as fault:
                self._forget(request_id)
                with working_for(request=job.request_id, job=job.pk):
                    self.settler.fail(running, fault)

    def _tick(self) -> None:
        self.watchdog.busy(expected_s=self.engine.expected_step_s())
        started = time.monotonic()
        events = self.engine.step()
        elapsed_s = time.monotonic() - started
        reports = self.engine.take_ticks()
        count_ticks(reports, worker=self.actor.label)
        log_ticks(reports, requests=(job.request_id for job in self.running.values()))
        # A slice of an operation is no step, although its request reports progress by it.
        if not any(report.kind is TickKind.OPERATION for report in reports):
            # Loading weights says nothing about the steps to come, and may take a thousand times as long.
            loading_s = sum(report.seconds for report in reports if report.kind is TickKind.LOAD)
            self._measure(events, elapsed_ms=max(0.0, elapsed_s - loading_s) * 1000)
        for event in events:
            self._handle(event)

    def _measure(self, events: list[Event], *, elapsed_ms: float) -> None:
        """Moving averages of what one step of one image takes, and of how much is computed a second."""
        done = [
            (self.running[event.request_id], event.step - self.running[event.request_id].step)
            for event in events
            if isinstance(event, Progress) and event.request_id in self.running
        ]
        row_steps = sum(steps for _, steps in done)
        if row_steps > 0:
            tflop = sum(steps * job.step_tflop for job, steps in done)
            self.step_ms = _averaged(self.step_ms, elapsed_ms / row_steps)
            self.tflop_ms = _averaged(self.tflop_ms, elapsed_ms / tflop) if tflop else self.tflop_ms
            tflop_per_s = 1000 / self.tflop_ms if self.tflop_ms else 0.0
            self.heartbeat.measure(step_ms=self.step_ms, tflop_per_s=tflop_per_s)

    def _handle(self, event: Event) -> None:
        job = self.running.get(event.request_id)
        if job is None:
            # Its lease was lost while the engine still worked on it.
            return
        with working_for(request=job.request_id, job=job.lease.job_id):
            self._pass_on(event, job)

    def _pass_on(self, event: Event, job: RunningJob) -> None:
        match event:
            case Progress():
                job.step = event.step
                self.progress.note_steps(job.lease, done=event.step, total=event.total)
            case Preview():
                self.progress.note_preview(job.lease, event)
            case ImageDone():
                self.settler.store(job, event)
            case RequestDone():
                self._forget(event.request_id)
                log.info("job %d is made", job.lease.job_id, extra={"attempt": job.attempt})
                self.settler.succeed(job, event.timings, event.notes)
                self.has_room = True
            case RequestFailed():
                self._forget(event.request_id)
                self.settler.fail(job, event.fault)
                self.has_room = True
            case RequestCanceled():
                self._forget(event.request_id)
                self.settler.cancel(job)

    def _forget(self, request_id: str) -> None:
        """The engine is done with it. Its lease lives on until the settler is done as well."""
        job = self.running.pop(request_id)
        self.progress.forget(job.lease)

    def _drop_lost_and_canceled(self, *, check_now: bool) -> None:
        """Stop what is no longer ours and what its owner does not want any more."""
        lost, canceled = self.heartbeat.take_findings()
        if check_now and self.running:
            leases = [job.lease for job in self.running.values()]
            canceled |= lifecycle.list_cancel_requests(leases=leases)
        for job_id in lost:
            self._drop_job(job_id)
        for request_id, job in self.running.items():
            if job.lease.job_id in canceled:
                self.engine.cancel(request_id)

    def is_drained(self) -> bool:
        """Whether nothing is left to do; what does not end within the grace time is handed back."""
        if self.drain_deadline is None:
            self.drain_deadline = time.monotonic() + settings.DRAIN_GRACE_S
            self.heartbeat.publish(state="draining", info=self.engine.info())
        if self.running and time.monotonic() >= self.drain_deadline:
            log.info("%s: handing back %d unfinished jobs", self.actor.label, len(self.running))
            leases = [job.lease for job in self.running.values()]
            lifecycle.release_jobs(leases=leases, worker=self.actor, now=now())
            self._drop_all()
        return not self.running

    def close(self) -> None:
        """Leave in order: results written, the row says stopped, the slot is free."""
        self.settler.close()
        self.heartbeat.publish(state="stopped", info=self.engine.info())
        self.abandon()

    def abandon(self, *, is_engine_sound: bool = True) -> None:
        """Give the slot up as things stand: rows keep their state, and the next holder recovers them."""
        self.watchdog.idle()
        if is_engine_sound:
            self._drop_all()
        self.heartbeat.stop()
        self.settler.close()
        self.listener.close()
        connection.close()

    def give_back(self, cause: Failure) -> None:
        """The process is about to be ended: what it holds goes back as crashed by `cause`.

        On a thread that is not the session's, which may never return from the engine. What the engine has
        delivered is settled all the same.
        """
        held = [job.lease for job in list(self.running.values())]
        try:
            lifecycle.hand_back_crashed(leases=held, cause=cause, worker=self.actor, now=now())
        except Error as error:
            log.warning("%s: its jobs are left to be found (%s)", self.actor.label, str(error).strip())
        finally:
            connection.close()
        self.settler.close()

    def _drop_all(self) -> None:
        """Make the engine forget every request without touching their rows."""
        for request_id in list(self.running):
            self._drop(request_id)

    def _drop_job(self, job_id: int) -> None:
        """Stop working on a job that is not ours any more, if we still do."""
        for request_id in [name for name, job in self.running.items() if job.lease.job_id == job_id]:
            log.warning("job %d: the lease was lost, dropping it", job_id)
            self._drop(request_id)

    def _drop(self, request_id: str) -> None:
        self.heartbeat.remove(self.running[request_id].lease)
        self._forget(request_id)
        self.engine.cancel(request_id)


def _averaged(before: float, latest: float) -> float:
    """A moving average; 0 before the first value."""
    return 0.9 * before + 0.1 * latest if before else latest
