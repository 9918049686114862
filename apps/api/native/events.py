"""A job's course as server-sent events.

`state` whenever the state changes, `progress` whenever a step is done, one `done` with the whole job at
the end. The first event tells the present state, so a client that reconnects misses nothing that matters,
whatever `Last-Event-ID` it sends. A stream that ends without `done` ran into its time limit or found no free
place: the client reconnects by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from apps.api.json_bytes import json_bytes
from apps.api.native.render import job_body, progress
from apps.core import clock
from apps.generation.models import GenerationJob
from apps.generation.selectors import estimate_s, list_artifacts, queue_position
from apps.generation.waiting import follow_job

RECONNECT_MS = 2000
# Proxies drop what lasts much longer; the client simply comes back.
STREAM_S = 600.0


def job_events(job: GenerationJob) -> Iterator[bytes]:
    """Events of `job` until it has ended or STREAM_S have passed; waits without a database connection."""
    yield f"retry: {RECONNECT_MS}\n\n".encode()
    told: tuple[str, int] | None = None
    for current in follow_job(job, timeout_s=STREAM_S):
        seen = (str(current.state), current.progress_step)
        if seen == told:
            # Keeps proxies from closing a silent connection, and notices a client that has gone.
            yield b": still here\n\n"
            continue
        if told is None or seen[0] != told[0]:
            yield _event("state", current, {"id": current.pk, "state": seen[0]})
        if told is None or seen[1] != told[1]:
            yield _event("progress", current, progress(current))
        told = seen
        if current.is_terminal:
            yield _event("done", current, describe(current))


def describe(job: GenerationJob) -> Mapping[str, object]:
    """The whole job as the native API shows it."""
    artifacts = list(list_artifacts(job)) if job.is_terminal else []
    return job_body(
        job,
        artifacts=artifacts,
        queue_position=queue_position(job),
        eta_s=estimate_s(job=job, now=clock.now()),
    )


def _event(name: str, job: GenerationJob, data: Mapping[str, object]) -> bytes:
    mark = f"{job.attempt}.{job.progress_step}.{job.state}"
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name.encode(), mark.encode(), json_bytes(data))
