"""The dialects of others in the reference: what their field tables say of themselves.

A table describes itself by `describe() -> Mapping`: endpoint -> JSON Schema of its body. Answers have the
dialect's own shapes; what is promised here are their statuses.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from apps.api.a1111.fields import describe as describe_a1111
from apps.api.modelslab.reference import describe as describe_modelslab
from apps.api.openai.fields import describe as describe_openai
from apps.api.reference.operations import FORM, IDEMPOTENCY, JSON, Answer, JsonSchema, Operation

MODELSLAB: Final = "ModelsLab"
OPENAI: Final = "OpenAI Images"
A1111: Final = "AUTOMATIC1111"
ANSWERS: Final[Mapping[int, str]] = {
    200: "Done, or on its way: see the body.",
    400: "A field is wrong; the message says which.",
    401: "The API key is missing or not valid.",
    403: "The key or the plan does not allow it.",
    404: "There is no such thing, or it is not yours.",
    409: "The Idempotency-Key was used for another request.",
    413: "The body is too large.",
    422: "A field is wrong; `detail` says which.",
    429: "The day's quota or the queue is full; see Retry-After.",
    500: "The job failed; the message says why.",
    503: "The service is temporarily unavailable; see Retry-After.",
    504: "The images were not ready in time; the job was canceled.",
}
USUAL: Final = (200, 400, 401, 403, 404, 409, 413, 429, 503)


def operations() -> list[Operation]:
    """Everything that makes something, in the dialects of others."""
    return [
        *(
            _operation(f"/api/{path}", MODELSLAB, body, USUAL, (JSON, FORM))
            for path, body in describe_modelslab().items()
        ),
        *(
            _operation(f"/v1/images/{path}", OPENAI, body, (*USUAL, 500), _media_types(path))
            for path, body in describe_openai().items()
        ),
        *(
            _operation(f"/sdapi/v1/{path}", A1111, body, (*USUAL, 422, 500, 504), (JSON,))
            for path, body in describe_a1111().items()
        ),
    ]


def _media_types(path: str) -> tuple[str, ...]:
    return (JSON,) if path == "generations" else (FORM, JSON)


def _operation(
    path: str, tag: str, body: JsonSchema, statuses: tuple[int, ...], media_types: tuple[str, ...]
) -> Operation:
    name = path.rsplit("/", 1)[-1].replace("_", " ").replace("-", " ")
    return Operation(
        path=path,
        method="post",
        tag=tag,
        summary=str(body.get("title", name.capitalize())),
        parameters=(IDEMPOTENCY,),
        body=body,
        media_types=media_types,
        answers={status: Answer(meaning=ANSWERS[status]) for status in sorted(statuses)},
    )
