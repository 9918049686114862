"""Jobs and the pictures they begin from, in the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apps.api.native.jobs import EstimateView, JobListView, UploadsView
from apps.api.native.jobs_fields import EXAMPLES
from apps.api.native.jobs_fields import describe as describe_jobs
from apps.api.native.jobs_list import LIMIT, MAX_LIMIT, PARAMETERS
from apps.api.native.views import CancelView, EventsView, JobView
from apps.api.reference.headers import FUNDING
from apps.api.reference.operations import (
    EVENTS,
    FORM,
    IDEMPOTENCY,
    JSON,
    Answer,
    JsonSchema,
    Parameter,
    Said,
    ok,
)
from apps.apikeys.choices import Scope

TAG: Final = "Jobs"
IMAGE: Final = {
    "url": "https://darkroom.example/media/1792065600.Zm94IGluIHRoZSBzbm93ISE/generations/7d0c…-0.png",
    "width": 512,
    "height": 512,
    "seed": 7,
    "media_type": "image/png",
    "expires_at": "2026-03-03T12:00:04.000000Z",
}
SUMMARY: Final = {
    "id": 1024,
    "state": "succeeded",
    "kind": "txt2img",
    "progress": {"step": 20, "total": 20},
    "queued_at": "2026-03-02T12:00:00.000000Z",
    "started_at": "2026-03-02T12:00:00.100000Z",
    "finished_at": "2026-03-02T12:00:04.000000Z",
    "is_cancel_requested": False,
    "error": None,
    "images": [IMAGE],
    "track_id": None,
    "links": {"self": "/v1/jobs/1024", "events": "/v1/jobs/1024/events", "cancel": None},
}
DONE: Final = {
    **SUMMARY,
    "queue_position": 0,
    "eta_s": 0.0,
    "timeline": [{"phase": "queued", "seconds": 0.1}, {"phase": "steps", "seconds": 3.2}],
    "safety": None,
    "result": {},
    "request": {"kind": "txt2img", "checkpoint": "starter", "prompt": "a red fox", "seed": 7},
}
WAITING: Final = {
    **DONE,
    "state": "queued",
    "progress": {"step": 0, "total": 20},
    "started_at": None,
    "finished_at": None,
    "images": [],
    "queue_position": 3,
    "eta_s": 12.5,
    "timeline": [],
}
ESTIMATE: Final = {
    "seconds": 4.2,
    "calls": 1,
    "images": 1,
    "pixels": 262_144,
    "price_micro": 2_000,
    "currency": "usd",
    "funding": "wallet",
    "balance_after_micro": 4_998_000,
}
UPLOAD: Final = {
    "id": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "width": 512,
    "height": 512,
    "has_alpha": False,
    "size_bytes": 41_322,
    "media_type": "image/png",
    "expires_at": "2026-03-02T13:00:00.000000Z",
}
STREAM: Final = (
    "retry: 2000\n\n"
    'event: state\nid: 0.0.running.0\ndata: {"id":1024,"state":"running"}\n\n'
    'event: progress\nid: 0.5.running.0\ndata: {"step":5,"total":20,"queue_position":0,"eta_s":3.1}\n\n'
    'event: done\nid: 0.20.succeeded.0\ndata: {"id":1024,"state":"succeeded"}\n\n'
)
_BODIES: Final = describe_jobs()
_MADE: Final = ("Location", *FUNDING, "Preference-Applied", "Idempotent-Replayed")
PREFER: Final = Parameter(
    name="Prefer",
    place="header",
    schema={"type": "string", "examples": ["wait=10", "respond-async"]},
    meaning="`wait=N` waits up to N seconds (60 at most) for the job to end.",
)
LAST_EVENT_ID: Final = Parameter(
    name="Last-Event-ID", place="header", schema={"type": "string"}, meaning="id of the last event seen"
)


def page_of(item: str, example: object) -> Answer:
    """A page of a list; `item` names the schema of its lines."""
    schema = {
        "type": "object",
        "required": ["items", "next_cursor"],
        "properties": {
            "items": {"type": "array", "items": {"$ref": f"#/components/schemas/{item}"}},
            "next_cursor": {"type": ["string", "null"]},
        },
    }
    return Answer(
        meaning="A page of them; `next_cursor` leads to the next.",
        schema=schema,
        example={"items": [example], "next_cursor": None},
    )


def referring(name: str, meaning: str, example: object, *headers: str) -> Answer:
    """An answer whose body is one of the document's schemas."""
    schema = {"$ref": f"#/components/schemas/{name}"}
    return Answer(meaning=meaning, schema=schema, example=example, headers=headers)


def _job(meaning: str, example: object = DONE, *headers: str) -> Answer:
    return referring("JobBody", meaning, example, *headers)


def _list_parameters() -> tuple[Parameter, ...]:
    rows = [
        Parameter(name=name, place="query", schema=row.schema, meaning=row.meaning)
        for name, row in PARAMETERS.items()
    ]
    limit: JsonSchema = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}
    return (*rows, Parameter(name=LIMIT, place="query", schema=limit, meaning="jobs on a page; 20"))


SAID: Final[Mapping[tuple[type, str], Said]] = {
    (JobListView, "post"): Said(
        summary="Ask for images, of any kind",
        description="With `Prefer: wait=30` the answer is the finished job where it is done in time.",
        scope=Scope.IMAGES_GENERATE,
        parameters=(PREFER, IDEMPOTENCY),
        body=_BODIES["jobs"],
        media_types=(JSON, FORM),
        examples=EXAMPLES,
        answers={
            200: _job("Ended while you waited.", DONE, *_MADE),
            202: _job("Accepted.", WAITING, *_MADE),
        },
        refusals=(400, 401, 402, 403, 404, 409, 413, 429, 503),
    ),
    (EstimateView, "post"): Said(
        summary="What a job would take and cost",
        description="The body is that of a job; nothing is made and nothing is charged.",
        scope=Scope.IMAGES_GENERATE,
        parameters=(IDEMPOTENCY,),
        body=_BODIES["estimate"],
        media_types=(JSON, FORM),
        examples=EXAMPLES,
        answers={200: referring("Estimate", "What it would take.", ESTIMATE, "Idempotent-Replayed")},
        refusals=(400, 401, 403, 404, 409, 413, 503),
    ),
    (UploadsView, "post"): Said(
        summary="Keep a picture, so that several jobs can name it",
        description="The picture may also be the body itself, with its own media type.",
        scope=Scope.IMAGES_GENERATE,
        parameters=(IDEMPOTENCY,),
        body=_BODIES["uploads"],
        media_types=(JSON, FORM),
        examples={"by address": {"image": "https://example.com/fox.png"}},
        answers={201: referring("UploadBody", "Kept for an hour.", UPLOAD, "Idempotent-Replayed")},
        refusals=(400, 401, 403, 409, 413, 503),
    ),
    (JobListView, "get"): Said(
        summary="Your jobs",
        scope=Scope.JOBS_READ,
        parameters=_list_parameters(),
        answers={200: page_of("JobSummary", SUMMARY)},
        refusals=(400, 401, 403, 503),
    ),
    (JobView, "get"): Said(
        summary="One job",
        scope=Scope.JOBS_READ,
        parameters=(PREFER,),
        answers={200: _job("As it is.", DONE, "Preference-Applied")},
        refusals=(401, 403, 404, 503),
    ),
    (JobView, "delete"): Said(
        summary="Cancel a job that is open, remove the images of one that has ended",
        scope=Scope.JOBS_CANCEL,
        answers={200: _job("As it is now.")},
        refusals=(401, 403, 404, 409, 503),
    ),
    (CancelView, "post"): Said(
        summary="Cancel a job that is open",
        scope=Scope.JOBS_CANCEL,
        parameters=(IDEMPOTENCY,),
        answers={200: _job("As it is now.", {**WAITING, "state": "canceled"}, "Idempotent-Replayed")},
        refusals=(400, 401, 403, 404, 409, 503),
    ),
    (EventsView, "get"): Said(
        summary="The job's course as it happens",
        description="Server-sent events: `state`, `progress`, `preview` and at the end `done` with the job.",
        scope=Scope.JOBS_READ,
        parameters=(LAST_EVENT_ID,),
        answers=ok("The stream.", media_type=EVENTS, schema={"type": "string"}, example=STREAM),
        refusals=(401, 403, 404, 503),
    ),
}
