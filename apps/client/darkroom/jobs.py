"""Plans about jobs: ask, look, follow, cancel, delete, and fetch what came out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Unpack
from urllib.parse import urlsplit

from darkroom.bodies import decode
from darkroom.core import Core, Flow, Plan, Request, gather, json_request
from darkroom.errors import JobCanceled, JobFailed, NotFound, UnexpectedAnswer
from darkroom.following import follow
from darkroom.listing import pages
from darkroom.pictures import Picture, bytes_of, upload_request, with_uploads
from darkroom.records import Done, Event, Job, job_event
from darkroom.saving import write_new
from darkroom.schema import PICTURE_FIELDS, Estimate, Image, JobFields, JobFilters, Kind, Upload
from darkroom.sending import Flight, send

GONE: Final = 404
EXTENSIONS: Final = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


class Asking(JobFields, total=False):
    """The fields of a job, and how to ask for it."""

    timeout: float | None
    """Seconds to wait for the end; default: as long as it takes."""
    on_event: Callable[[Event], object] | None
    """Called with every event on the way."""
    idempotency_key: str
    """The same key asks for the same job; default: a new one each time."""


def create(
    core: Core, kind: Kind = "txt2img", *, flight: Flight | None = None, **fields: Unpack[Asking]
) -> Plan[Job]:
    """Ask for a job and return at once; pictures of this machine are uploaded first. Raises Refused.

    Whoever may be interrupted passes a `flight`: `landed` then says whether there is a job.
    """
    values: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    values.pop("timeout", None), values.pop("on_event", None)
    key = values.pop("idempotency_key", "") or core.new_key()
    body = {"kind": kind, **(yield from with_uploads(core, values, PICTURE_FIELDS))}
    reply = yield from send(core, json_request("POST", "/v1/jobs", body, key=key), flight=flight)
    return decode(Job, reply.json())


def landed(core: Core, flight: Flight) -> Plan[Job | None]:
    """The job of a `create` that was interrupted; None if the server cannot have it. Asks once at most.

    Where nobody knows whether it arrived it is asked for again with the same key, so that it is the same job.
    """
    if flight.request is None:
        return None
    reply = yield from send(replace(core, max_retries=0), flight.request)
    return decode(Job, reply.json())


def generate(core: Core, kind: Kind = "txt2img", **fields: Unpack[Asking]) -> Plan[Job]:
    """Ask for a job and wait until it has succeeded. Raises Refused, JobFailed and WaitTimeout.

    After a WaitTimeout the job goes on: `jobs.wait` takes it up again, `jobs.cancel` ends it.
    """
    job = yield from create(core, kind, **fields)
    if not job.is_done:
        return (yield from wait(core, job.id, timeout=fields.get("timeout"), on_event=fields.get("on_event")))
    on_event = fields.get("on_event")
    if on_event is not None:
        on_event(Done(job=job, raw=job.raw))
    return checked(job)


def wait(
    core: Core,
    job_id: int,
    *,
    timeout: float | None = None,
    on_event: Callable[[Event], object] | None = None,
) -> Plan[Job]:
    """The job once it has succeeded. Raises JobFailed, JobCanceled and WaitTimeout."""
    ended: list[Job] = []

    def take(event: Event) -> None:
        if on_event is not None:
            on_event(event)
        if isinstance(event, Done):
            ended.append(event.job)

    yield from gather(events(core, job_id, timeout=timeout), take)
    return checked(ended[0])


def checked(job: Job) -> Job:
    """Raises JobFailed for a job that ended without images."""
    if job.is_done and not job.is_succeeded:
        raise (JobCanceled if job.state == "canceled" else JobFailed)(job)
    return job


def events(core: Core, job_id: int, *, timeout: float | None = None) -> Flow[Event]:
    """The job's course as it happens, to its end; connections that break are made anew."""
    return follow(
        core,
        f"/v1/jobs/{job_id}/events",
        job_event,
        is_last=lambda event: isinstance(event, Done),
        timeout_s=timeout,
    )


def get(core: Core, job_id: int) -> Plan[Job]:
    """One job as it is."""
    return _job(core, Request(method="GET", path=f"/v1/jobs/{job_id}"))


def list_jobs(core: Core, *, limit: int | None = None, **filters: Unpack[JobFilters]) -> Flow[Job]:
    """Jobs of the account, newest first, at most `limit`; pages are fetched as they are needed."""
    return pages(core, "/v1/jobs", Job, limit=limit, filters=filters)  # type: ignore[arg-type]  # all plain


def cancel(core: Core, job_id: int) -> Plan[Job]:
    """End a job that is open. Raises Conflict for one that has ended."""
    return _job(core, json_request("POST", f"/v1/jobs/{job_id}/cancel", {}, key=core.new_key()))


def delete(core: Core, job_id: int) -> Plan[Job]:
    """Remove the images of a job that has ended; one that is open is canceled."""
    return _job(core, Request(method="DELETE", path=f"/v1/jobs/{job_id}"))


def _job(core: Core, request: Request) -> Plan[Job]:
    reply = yield from send(core, request)
    return decode(Job, reply.json())


def estimate(core: Core, kind: Kind = "txt2img", **fields: Unpack[JobFields]) -> Plan[Estimate]:
    """What a job would take and cost. Reserves nothing."""
    values: Mapping[str, Any] = {name: value for name, value in fields.items() if value is not None}
    body = {"kind": kind, **(yield from with_uploads(core, values, PICTURE_FIELDS))}
    reply = yield from send(core, json_request("POST", "/v1/estimate", body, is_repeatable=True))
    return decode(Estimate, reply.json())


def upload(core: Core, picture: Picture) -> Plan[Upload]:
    """Keep a picture for an hour, so that several jobs can name it by its `id`; an address is fetched."""
    if isinstance(picture, str):
        request = json_request("POST", "/v1/uploads", {"image": picture}, key=core.new_key())
    else:
        request = upload_request(core, bytes_of(picture), field="image")
    reply = yield from send(core, request)
    return decode(Upload, reply.json())


def download(core: Core, image: Image) -> Plan[bytes]:
    """An image's file. Raises NotFound once it has expired."""
    # The server's name for itself may be one that only it knows: links are asked of where it was found.
    place = urlsplit(image.url)
    query = f"?{place.query}" if place.query else ""
    request = Request(method="GET", path=place.path + query, is_signed=False)
    try:
        reply = yield from send(core, request)
    except (NotFound, UnexpectedAnswer) as error:
        # Links belong to all dialects, and refuse in the words of another.
        if error.status != GONE:
            raise
        raise NotFound(f"This image has expired or was deleted: {image.url}", status=GONE) from None
    return reply.body


def save(core: Core, job: Job, folder: str | os.PathLike[str] = ".", *, stem: str = "") -> Plan[list[Path]]:
    """Write a job's images below `folder`, which is made; files that are there are never overwritten."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    written = []
    for index, image in enumerate(job.images):
        data = yield from download(core, image)
        number = f"-{index + 1}" if len(job.images) > 1 else ""
        name = f"{stem or f'darkroom-{job.id}'}{number}.{EXTENSIONS.get(image.media_type, 'png')}"
        written.append(write_new(place / name, data))
    return written
