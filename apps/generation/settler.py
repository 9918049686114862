"""Writes the results of finished requests: files, then rows, off the thread that drives the engine.

Each request's work runs on one of a few threads, in order, each with a database connection of its
own. Knows jobs, leases and files; knows nothing of the engine.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection

from apps.artifacts.media import EXTENSIONS
from apps.artifacts.services import NewArtifact
from apps.artifacts.store import write_image
from apps.audit.refs import Ref
from apps.core.clock import now
from apps.generation.faults import INTERNAL, Failure, failure_of
from apps.generation.lifecycle import Lease, LeaseLost, fail_job, finish_cancel, finish_job, release_jobs
from apps.generation.safety_policy import judgement_of
from gpu_runtime.errors import RuntimeFault
from gpu_runtime.messages import ImageDone, Timings

log = logging.getLogger(__name__)

SETTLER_THREADS = 2


@dataclass(slots=True)
class RunningJob:
    """One claimed job while the engine has it."""

    lease: Lease
    group: UUID
    attempt: int
    step_tflop: float = 0.0
    """Work of one row-step."""
    step: int = 0
    """Row-steps done so far."""
    files: list[Future[NewArtifact]] = field(default_factory=list)
    """Images that are on disk or on their way there."""
    notes: dict[int, Mapping[str, Any]] = field(default_factory=dict)
    """What was found out about each image, by its index; JSON."""


class Settler:
    """Ends jobs in the background. Methods return at once; failures end in the log and in the reaper."""

    def __init__(self, *, worker: Ref, max_attempts: int, on_settled: Callable[[Lease], None]) -> None:
        self._worker = worker
        self._max_attempts = max_attempts
        self._on_settled = on_settled
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
        self._run(job, lambda: self._finish(job, seconds, delivered_at, result))

    def fail(self, job: RunningJob, fault: RuntimeFault) -> None:
        """End the job as failed, or hand it back when its fault may not repeat."""
        log.warning("job %d failed: %s: %s", job.lease.job_id, type(fault).__name__, fault)
        if fault.retryable and job.attempt < self._max_attempts:
            self._run(job, lambda: release_jobs(leases=[job.lease], worker=self._worker, now=now()))
        else:
            self._run(job, lambda: self._fail(job, failure_of(fault)))

    def cancel(self, job: RunningJob) -> None:
        """End the job as canceled."""
        self._run(job, lambda: finish_cancel(lease=job.lease, worker=self._worker, now=now()))

    def close(self) -> None:
        """Wait for everything that was started."""
        self._threads.shutdown(wait=True)

    def _finish(
        self, job: RunningJob, seconds: dict[str, float], delivered_at: float, result: Mapping[str, Any]
    ) -> None:
        """`seconds` are the runtime's timings; what storing took after them is added."""
        try:
            artifacts = [written.result() for written in job.files]
        except OSError:
            # A full disk: the job cannot be delivered, and its owner must hear of it.
            log.exception("job %d: an image could not be stored", job.lease.job_id)
            self._fail(job, INTERNAL)
            return
        seconds |= {"store_s": round(time.monotonic() - delivered_at, 4)}
        finish_job(
            lease=job.lease,
            artifacts=artifacts,
            timings=seconds,
            worker=self._worker,
            now=now(),
            result=result,
        )

    def _fail(self, job: RunningJob, failure: Failure) -> None:
        fail_job(lease=job.lease, failure=failure, worker=self._worker, now=now())

    def _run(self, job: RunningJob, act: Callable[[], object]) -> None:
        self._threads.submit(self._guarded, job, act)

    def _guarded(self, job: RunningJob, act: Callable[[], object]) -> None:
        """Task edge of the settler's threads: on failure the row stays running until it is reaped."""
        try:
            act()
        except LeaseLost as lost:
            log.info("result dropped, the lease was lost: %s", lost)
        except OperationalError as error:
            log.warning("job %d could not be settled, its lease will run out: %s", job.lease.job_id, error)
            connection.close()
        except Exception:
            log.exception("job %d could not be settled, its lease will run out", job.lease.job_id)
            connection.close()
        finally:
            self._on_settled(job.lease)


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
