"""Writes the results of finished requests: files, then rows, off the thread that drives the engine.

Each request's work runs on one of a few threads, in order, each with a database connection of its
own; jobs whose files are on disk by then end together, in one transaction. Knows jobs, leases and files;
knows nothing of the engine.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Protocol, TypeAlias, TypeVar
from uuid import UUID

from django.db import OperationalError, connection

from apps.artifacts.media import EXTENSIONS
from apps.artifacts.services import NewArtifact
from apps.artifacts.store import write_image
from apps.audit.refs import Ref
from apps.core.clock import now
from apps.core.logging import working_for
from apps.generation.delivering import Delivered
from apps.generation.faults import INTERNAL, Failure, failure_of
from apps.generation.lifecycle import Lease, finish_jobs, refuse_jobs, release_jobs
from apps.generation.safety_policy import judgement_of
from gpu_runtime.errors import RuntimeFault
from gpu_runtime.messages import ImageDone, Timings

log = logging.getLogger(__name__)

SETTLER_THREADS = 2
MOST_TOGETHER: Final = 50
"""Jobs that end in one transaction: what it locks, others wait for."""

UNSETTLED: Final = "job %d could not be settled, its lease will run out"

Outcome: TypeAlias = Delivered | Failure | None
"""What a job ends with; None where its owner wanted it stopped."""


@dataclass(slots=True)
class RunningJob:
    """One claimed job while the engine has it."""

    lease: Lease
    group: UUID
    attempt: int
    step_tflop: float = 0.0
    """Work of one row-step."""
    request_id: str = ""
    """Of the HTTP request that asked for it, for the log."""
    step: int = 0
    """Row-steps done so far."""
    files: list[Future[NewArtifact]] = field(default_factory=list)
    """Images that are on disk or on their way there."""
    notes: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    """What was found out about each image, by its index; JSON."""


@dataclass(frozen=True, slots=True, eq=False)
class _End:
    """One job that the engine is done with."""

    job: RunningJob
    outcome: Callable[[], Outcome]
    """Waits for the job's files, on a settler's thread."""

    def has_files(self) -> bool:
        """Whether nothing has to be waited for."""
        return all(written.done() for written in self.job.files)


OutcomeT_contra = TypeVar("OutcomeT_contra", contravariant=True)


class _EndJobs(Protocol[OutcomeT_contra]):
    """`finish_jobs` or `refuse_jobs`: returns the leases that were lost."""

    def __call__(
        self, outcomes: Mapping[Lease, OutcomeT_contra], /, *, worker: Ref, now: datetime
    ) -> frozenset[Lease]: ...


class Settler:
    """Ends jobs in the background. Methods return at once; failures end in the log and in the reaper."""

    def __init__(self, *, worker: Ref, max_attempts: int, on_settled: Callable[[Lease], None]) -> None:
        self._worker = worker
        self._max_attempts = max_attempts
        self._on_settled = on_settled
        self._waiting: list[_End] = []
        self._lock = threading.Lock()
        """Of `_waiting`."""
        self._threads = ThreadPoolExecutor(max_workers=SETTLER_THREADS, thread_name_prefix="settle")

    def store(self, job: RunningJob, image: ImageDone) -> None:
        """Start writing one image."""
        job.notes[image.index] = image.notes
        job.files.append(self._threads.submit(_write, job, image))

    def succeed(self, job: RunningJob, timings: Timings, notes: Mapping[str, Any]) -> None:
        """Finish the job once all its images are on disk; `notes` (JSON) are about the request as a whole."""
        delivered_at = time.monotonic()
        seconds = {name: round(getattr(timings, name), 4) for name in Timings.__slots__}
        result = result_of(job, notes)
        self._end(job, lambda: _delivered(job, seconds, delivered_at, result))

    def fail(self, job: RunningJob, fault: RuntimeFault) -> None:
        """End the job as failed, or hand it back when its fault may not repeat."""
        log.warning("job %d failed: %s: %s", job.lease.job_id, type(fault).__name__, fault)
        if fault.retryable and job.attempt < self._max_attempts:
            self._threads.submit(self._release, job)
        else:
            self._end(job, lambda: failure_of(fault))

    def cancel(self, job: RunningJob) -> None:
        """End the job as canceled."""
        self._end(job, lambda: None)

    def close(self) -> None:
        """Wait for everything that was started."""
        self._threads.shutdown(wait=True)

    def _end(self, job: RunningJob, outcome: Callable[[], Outcome]) -> None:
        end = _End(job, outcome)
        with self._lock:
            self._waiting.append(end)
        self._threads.submit(self._settle, end)

    def _settle(self, first: _End) -> None:
        """Edge of the settler's threads: on failure rows stay running until they are reaped."""
        ends = self._take(first)
        try:
            outcomes = [(end.job, self._outcome_of(end)) for end in ends]
            made = [(job, made) for job, made in outcomes if isinstance(made, Delivered)]
            refused = [(job, failure) for job, failure in outcomes if not isinstance(failure, Delivered)]
            self._write(finish_jobs, made)
            self._write(refuse_jobs, refused)
        finally:
            for end in ends:
                self._on_settled(end.job.lease)

    def _take(self, first: _End) -> list[_End]:
        """`first` and others that are ready; none if another thread has taken it.

        Only `first` may be waited for: its files were begun before its end was asked for, so that another
        thread has them in hand. Those of the others may still stand in the queue behind this very work.
        """
        with self._lock:
            if first not in self._waiting:
                return []
            ready = [end for end in self._waiting if end is not first and end.has_files()]
            taken = [first, *ready[: MOST_TOGETHER - 1]]
            self._waiting = [end for end in self._waiting if end not in taken]
        return taken

    def _outcome_of(self, end: _End) -> Outcome:
        with _at_work_on(end.job):
            return end.outcome()

    def _write(
        self,
        act: _EndJobs[OutcomeT_contra],
        outcomes: Sequence[tuple[RunningJob, OutcomeT_contra]],
    ) -> None:
        """All at once. Where that fails, one by one, so that one that cannot be written costs no other."""
        if not outcomes:
            return
        try:
            lost = act({job.lease: outcome for job, outcome in outcomes}, worker=self._worker, now=now())
        except OperationalError as error:
            for job, _ in outcomes:
                with _at_work_on(job):
                    log.warning(UNSETTLED + ": %s", job.lease.job_id, error)
            connection.close()
        except Exception:
            if len(outcomes) == 1:
                with _at_work_on(outcomes[0][0]):
                    log.exception(UNSETTLED, outcomes[0][0].lease.job_id)
                connection.close()
            else:
                for one in outcomes:
                    self._write(act, [one])
        else:
            for job, _ in outcomes:
                if job.lease in lost:
                    with _at_work_on(job):
                        log.info("result dropped, the lease was lost: %s", job.lease)

    def _release(self, job: RunningJob) -> None:
        """Edge of the settler's threads, as `_settle`."""
        with _at_work_on(job):
            try:
                release_jobs(leases=[job.lease], worker=self._worker, now=now())
            except OperationalError as error:
                log.warning(UNSETTLED + ": %s", job.lease.job_id, error)
                connection.close()
            except Exception:
                log.exception(UNSETTLED, job.lease.job_id)
                connection.close()
            finally:
                self._on_settled(job.lease)


def _delivered(
    job: RunningJob, seconds: Mapping[str, float], delivered_at: float, result: Mapping[str, Any]
) -> Outcome:
    """`seconds` are the runtime's timings; what storing took after them is added. Waits for the files."""
    try:
        artifacts = [written.result() for written in job.files]
    except OSError:
        # A full disk: the job cannot be delivered, and its owner must hear of it.
        log.exception("job %d: an image could not be stored", job.lease.job_id)
        return INTERNAL
    stored = {"store_s": round(time.monotonic() - delivered_at, 4)}
    return Delivered(artifacts=artifacts, timings={**seconds, **stored}, result=result)


def _at_work_on(job: RunningJob) -> AbstractContextManager[None]:
    """Log lines within name the job, and the request that asked for it."""
    return working_for(request=job.request_id, job=job.lease.job_id)


def result_of(job: RunningJob, notes: Mapping[str, Any]) -> dict[str, Any]:
    """What `GenerationJob.result` keeps: notes of each image and of the request, its caption by itself."""
    result: dict[str, Any] = {}
    if any(job.notes.values()):
        result["images"] = [dict(job.notes[index]) for index in sorted(job.notes)]
    if notes:
        result["notes"] = dict(notes)
    judgement = judgement_of([notes, *job.notes.values()])
    if judgement:
        result["safety"] = {"images": judgement}
    if "caption" in notes:
        result["caption"] = notes["caption"]
    return result


def _write(job: RunningJob, image: ImageDone) -> NewArtifact:
    extension = EXTENSIONS[image.media_type]
    file = write_image(group=job.group, index=image.index, extension=extension, data=image.data)
    return NewArtifact(
        index=image.index,
        seed=image.seed,
        extension=extension,
        file=file,
        width=image.width,
        height=image.height,
    )
