"""The native API in the reference: its tables, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from apps.api.native.jobs_fields import EXAMPLES
from apps.api.native.jobs_fields import describe as describe_jobs
from apps.api.native.jobs_list import LIMIT, MAX_LIMIT, PARAMETERS
from apps.api.native.render import JobBody, JobSummary, UploadBody
from apps.api.reference.operations import (
    EVENTS,
    FORM,
    IDEMPOTENCY,
    JSON,
    PROBLEM,
    Answer,
    JsonSchema,
    Operation,
    Parameter,
)
from apps.api.reference.typed import schema_of
from apps.generation.estimates import Estimate

TAG: Final = "Darkroom"
PROBLEM_SCHEMA: Final[JsonSchema] = {"$ref": "#/components/schemas/Problem"}
JOB_SCHEMA: Final[JsonSchema] = {"$ref": "#/components/schemas/JobBody"}
REFUSALS: Final[Mapping[int, str]] = {
    400: "A field, parameter or header is wrong; `errors` says which.",
    401: "The API key is missing or not valid.",
    403: "The key or the plan does not allow it.",
    404: "There is no such thing, or it is not yours.",
    409: "It contradicts what has already happened.",
    413: "The body is too large.",
    429: "The day's quota or the queue is full; see Retry-After.",
    503: "The service is temporarily unavailable; see Retry-After.",
}
PREFER: Final = Parameter(
    name="Prefer",
    place="header",
    schema={"type": "string", "examples": ["wait=10", "respond-async"]},
    meaning="`wait=N` waits up to N seconds (60 at most) for the job to end.",
)
JOB_ID: Final = Parameter(
    name="job_id", place="path", schema={"type": "integer", "minimum": 1}, meaning="of the job"
)
LAST_EVENT_ID: Final = Parameter(
    name="Last-Event-ID", place="header", schema={"type": "string"}, meaning="id of the last event seen"
)


def _answers(*refusals: int, **successes: Answer) -> dict[int, Answer]:
    """Successes by `sNNN`, and the refusals that can come besides."""
    told = {int(name[1:]): answer for name, answer in successes.items()}
    common = {401, 403, 503, *refusals}
    return told | {
        status: Answer(meaning=REFUSALS[status], media_type=PROBLEM, schema=PROBLEM_SCHEMA)
        for status in sorted(common)
    }


def _job(meaning: str) -> Answer:
    return Answer(meaning=meaning, schema=JOB_SCHEMA)


def _list_parameters() -> tuple[Parameter, ...]:
    rows = [
        Parameter(name=name, place="query", schema=row.schema, meaning=row.meaning)
        for name, row in PARAMETERS.items()
    ]
    limit: JsonSchema = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT}
    return (*rows, Parameter(name=LIMIT, place="query", schema=limit, meaning="jobs on a page; 20"))


def operations() -> list[Operation]:
    """Everything about jobs, and the pictures they begin from."""
    return [*_making(), *_following()]


def _making() -> list[Operation]:
    bodies = describe_jobs()
    estimate = Answer(meaning="What it would take.", schema={"$ref": "#/components/schemas/Estimate"})
    kept = Answer(meaning="Kept for an hour.", schema={"$ref": "#/components/schemas/UploadBody"})
    return [
        Operation(
            path="/v1/jobs",
            method="post",
            tag=TAG,
            summary="Ask for images, of any kind",
            parameters=(PREFER, IDEMPOTENCY),
            body=bodies["jobs"],
            media_types=(JSON, FORM),
            examples=EXAMPLES,
            answers=_answers(
                400, 404, 409, 413, 429, s200=_job("Ended while you waited."), s202=_job("Accepted.")
            ),
        ),
        Operation(
            path="/v1/estimate",
            method="post",
            tag=TAG,
            summary="What a job would take and cost",
            parameters=(IDEMPOTENCY,),
            body=bodies["estimate"],
            media_types=(JSON, FORM),
            examples=EXAMPLES,
            answers=_answers(400, 404, 409, 413, s200=estimate),
        ),
        Operation(
            path="/v1/uploads",
            method="post",
            tag=TAG,
            summary="Keep a picture, so that several jobs can name it",
            parameters=(IDEMPOTENCY,),
            body=bodies["uploads"],
            media_types=(JSON, FORM),
            examples={"by address": {"image": "https://example.com/fox.png"}},
            answers=_answers(400, 409, 413, s201=kept),
        ),
    ]


def _following() -> list[Operation]:
    page = Answer(
        meaning="Newest first.",
        schema={
            "type": "object",
            "required": ["items", "next_cursor"],
            "properties": {
                "items": {"type": "array", "items": {"$ref": "#/components/schemas/JobSummary"}},
                "next_cursor": {"type": ["string", "null"]},
            },
        },
    )
    events = Answer(
        meaning="Events `state`, `progress`, `preview` and at the end `done` with the job.",
        media_type=EVENTS,
        schema={"type": "string"},
    )
    return [
        _on_jobs("", "get", "Your jobs", _answers(400, s200=page), _list_parameters()),
        _on_jobs("/{job_id}", "get", "One job", _answers(404, s200=_job("As it is.")), (JOB_ID, PREFER)),
        _on_jobs(
            "/{job_id}",
            "delete",
            "Cancel a job that is open, remove the images of one that has ended",
            _answers(404, 409, s200=_job("As it is now.")),
            (JOB_ID,),
        ),
        _on_jobs(
            "/{job_id}/cancel",
            "post",
            "Cancel a job that is open",
            _answers(400, 404, 409, s200=_job("As it is now.")),
            (JOB_ID, IDEMPOTENCY),
        ),
        _on_jobs(
            "/{job_id}/events",
            "get",
            "The job's course as it happens",
            _answers(404, s200=events),
            (JOB_ID, LAST_EVENT_ID),
        ),
    ]


def _on_jobs(
    tail: str,
    method: str,
    summary: str,
    answers: Mapping[int, Answer],
    parameters: tuple[Parameter, ...],
) -> Operation:
    return Operation(
        path=f"/v1/jobs{tail}",
        method=method,
        tag=TAG,
        summary=summary,
        parameters=parameters,
        answers=answers,
    )


def schemas() -> dict[str, Any]:
    """What answers are made of; Any: JSON Schema."""
    made = {each.__name__: schema_of(each) for each in (JobBody, JobSummary, UploadBody, Estimate)}
    place = {"type": "string"}
    return made | {
        "Problem": {
            "type": "object",
            "description": "RFC 9457; distinguish by `code`, which never changes its meaning.",
            "required": ["type", "title", "status", "code", "detail"],
            "properties": {
                "type": {"const": "about:blank"},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "code": {"type": "string"},
                "detail": {"type": "string"},
                "request_id": {"type": "string"},
                "errors": {
                    "type": "array",
                    "items": {
                        "type": "object",
                        "required": ["detail"],
                        "properties": {
                            "detail": place,
                            "pointer": place,
                            "parameter": place,
                            "header": place,
                        },
                    },
                },
            },
        }
    }
