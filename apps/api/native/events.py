"""A job's course as server-sent events.

`state` whenever the state changes, `progress` whenever a step is done or the place in the queue changes,
`preview` whenever there is a new one of a job that asked for previews, one `done` with the whole job at the
end. The first events tell the present, so a client that reconnects misses nothing that matters; with
`Last-Event-ID` it is not told again what it knows. A stream that ends without `done` ran into its time limit
or found no free place: the client reconnects by itself.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Final, NamedTuple

from django.db import connection

from apps.api.json_bytes import json_bytes
from apps.api.native.render import job_body, progress
from apps.core import clock
from apps.generation.models import GenerationJob, JobPreview
from apps.generation.selectors import estimate_s, find_preview, list_artifacts, queue_position
from apps.generation.waiting import follow_job

RECONNECT_MS = 2000
# Proxies drop what lasts much longer; the client simply comes back.
STREAM_S = 600.0
MARK: Final = re.compile(r"([0-9]{1,9})\.([0-9]{1,9})\.([a-z]{1,16})\.([0-9]{1,9})")
"""Id of an event: attempt, step, state and place in the queue."""


class Told(NamedTuple):
    """What a client knows of a job."""

    attempt: int = -1
    step: int = -1
    state: str = ""
    place: int = -1
    """In the queue."""
    preview: tuple[int, int] = (-1, -1)
    """Image and step."""


def job_events(job: GenerationJob, *, last_seen: str = "") -> Iterator[bytes]:
    """Events of `job` until it has ended or STREAM_S have passed; waits without a database connection."""
    yield f"retry: {RECONNECT_MS}\n\n".encode()
    told = _told_by(last_seen)
    for current in follow_job(job, timeout_s=STREAM_S):
        told, events = _news(current, told)
        # `follow_job` waits next, and a waiter holds no connection.
        connection.close()
        # A comment keeps proxies from closing a silent connection, and notices a client that has gone.
        yield from events or [b": still here\n\n"]
        if current.is_terminal:
            yield _event("done", told, describe(current))


def _news(job: GenerationJob, told: Told) -> tuple[Told, list[bytes]]:
    """What there is to tell of a job as it stands."""
    preview = find_preview(job)
    seen = Told(
        attempt=job.attempt,
        step=job.progress_step,
        state=str(job.state),
        place=queue_position(job),
        preview=told.preview if preview is None else (preview.index, preview.step),
    )
    events = []
    if (seen.state, seen.attempt) != (told.state, told.attempt):
        events.append(_event("state", seen, {"id": job.pk, "state": seen.state}))
    if (seen.attempt, seen.step, seen.place) != (told.attempt, told.step, told.place):
        eta_s = estimate_s(job=job, now=clock.now())
        events.append(
            _event("progress", seen, {**progress(job), "queue_position": seen.place, "eta_s": eta_s})
        )
    if preview is not None and seen.preview != told.preview:
        events.append(_event("preview", seen, _preview(preview)))
    return seen, events


def _told_by(last_seen: str) -> Told:
    """What the id of an event tells; nothing if it is none of ours."""
    found = MARK.fullmatch(last_seen)
    if found is None:
        return Told()
    attempt, step, state, place = found.groups()
    return Told(attempt=int(attempt), step=int(step), state=state, place=int(place))


def _preview(preview: JobPreview) -> Mapping[str, object]:
    data = base64.b64encode(bytes(preview.data)).decode("ascii")
    return {"index": preview.index, "step": preview.step, "image": f"data:image/jpeg;base64,{data}"}


def describe(job: GenerationJob) -> Mapping[str, object]:
    """The whole job as the native API shows it."""
    artifacts = list(list_artifacts(job)) if job.is_terminal else []
    return job_body(
        job,
        artifacts=artifacts,
        queue_position=queue_position(job),
        eta_s=estimate_s(job=job, now=clock.now()),
    )


def _event(name: str, told: Told, data: Mapping[str, object]) -> bytes:
    mark = f"{told.attempt}.{told.step}.{told.state}.{told.place}"
    return b"event: %b\nid: %b\ndata: %b\n\n" % (name.encode(), mark.encode(), json_bytes(data))
