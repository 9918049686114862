"""One OpenAPI 3.1 document of everything the appliance answers, made of the tables that read requests."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from apps.api.modelslab.endpoints import SERVERS
from apps.api.reference import a1111, modelslab, native, openai, refusals
from apps.api.reference.headers import COMMON, HEADERS, QUOTA
from apps.api.reference.native_account import WEBHOOK_EXAMPLE
from apps.api.reference.operations import FORM, Answer, JsonSchema, Operation, Parameter
from apps.api.reference.routes import Route, list_routes
from apps.apikeys.choices import Scope

OPENAPI: Final = "3.1.1"
VERSION: Final = "1"
"""Of the API, not of the appliance: clients compare it."""
DIALECTS: Final = (
    (refusals.NATIVE, native.describe, native.TAGS),
    (refusals.OPENAI, openai.describe, openai.TAGS),
    (refusals.MODELSLAB, modelslab.describe, modelslab.TAGS),
    (refusals.A1111, a1111.describe, a1111.TAGS),
)
TAGS: Final = {name: meaning for _, _, tags in DIALECTS for name, meaning in tags.items()}
GROUPS: Final = (
    ("Darkroom", tuple(native.TAGS)),
    ("OpenAI", tuple(openai.TAGS)),
    ("ModelsLab", tuple(modelslab.TAGS)),
    ("AUTOMATIC1111", tuple(a1111.TAGS)),
)
PATH_PARAMETERS: Final[Mapping[str, tuple[JsonSchema, str]]] = {
    "job_id": ({"type": "integer", "minimum": 1}, "`id` of the job"),
    "import_id": ({"type": "integer", "minimum": 1}, "`id` of the import"),
    "upload_id": ({"type": "string"}, "`id` of the upload"),
    "event_id": ({"type": "string"}, "`id` of the delivery"),
    "key_id": ({"type": "string"}, "`id` of the key, or `current`"),
    "name": ({"type": "string"}, "the model's name, or one of its aliases"),
    "model_id": ({"type": "string"}, "the model's name, or one of its aliases"),
    "server": ({"type": "string", "enum": list(SERVERS)}, "one server does everything, whichever is named"),
    "file": ({"type": "string"}, "last part of the preview's address"),
    "expires": ({"type": "integer"}, "seconds since 1970"),
    "mark": ({"type": "string"}, "signature"),
    "group": ({"type": "string", "format": "uuid"}, "the request's images"),
    "index": ({"type": "integer", "minimum": 0}, "which of them"),
    "extension": ({"type": "string"}, "png, jpg, webp or base64"),
}
NO_KEY: Final = re.compile(r"[^A-Za-z0-9_.-]+")
SECURITY: Final = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "`Authorization: Bearer dkr_…`"},
    "header": {"type": "apiKey", "in": "header", "name": "X-Api-Key", "description": "The same elsewhere."},
    "query": {"type": "apiKey", "in": "query", "name": "key", "description": "Shows in logs of proxies."},
    "basic": {"type": "http", "scheme": "basic", "description": "AUTOMATIC1111: the key as either half."},
}
DESCRIPTION: Final = (
    "Self-hosted image generation. Choose the dialect of your client: jobs of our own, OpenAI's Images API,"
    " ModelsLab's API or that of AUTOMATIC1111's web interface. All of them share keys, models, quotas and"
    " jobs. The guides at [/docs/guides](/docs/guides) show each task with code."
)
Json = dict[str, Any]  # Any: an OpenAPI document


@cache
def all_operations() -> tuple[Operation, ...]:
    """Everything that is answered, in the order of TAGS. Raises LookupError for what nobody describes."""
    found = [_operation(route, method) for route in _routes() for method in route.methods]
    order = list(TAGS)
    return tuple(sorted(found, key=lambda operation: order.index(operation.tag)))


def _routes() -> list[Route]:
    # Functions serve pages for people and files, few of which belong here.
    described = native.SAID_SERVER
    own = {
        route.path: route
        for route in list_routes()
        if isinstance(route.view, type) or route.view in described
    }
    more = [*modelslab.more_routes(), *openai.more_routes()]
    return modelslab.gathered(({route.path: route for route in more} | own).values())


def _operation(route: Route, method: str) -> Operation:
    for dialect, describe, _ in DIALECTS:
        told = describe(route, method)
        if told is not None:
            tag, said = told
            return Operation(
                path=route.path,
                method=method,
                tag=tag,
                dialect=dialect,
                said=said,
                parameters=(*_path_parameters(route), *said.parameters),
            )
    raise LookupError(f"{method.upper()} {route.path} has no word in apps/api/reference: add it to a table")


def _path_parameters(route: Route) -> list[Parameter]:
    rows = {name: PATH_PARAMETERS[name] for name in route.names}
    return [
        Parameter(name=name, place="path", schema=schema, meaning=meaning, is_required=True)
        for name, (schema, meaning) in rows.items()
    ]


@cache
def openapi_document() -> Json:
    """The document; the same for everybody, since it knows of no account and no model."""
    paths: Json = {}
    bodies = _Bodies()
    for operation in all_operations():
        paths.setdefault(operation.path, {})[operation.method] = _described(operation, bodies)
    return {
        "openapi": OPENAPI,
        "info": {"title": "Darkroom", "version": VERSION, "description": DESCRIPTION},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": meaning} for name, meaning in TAGS.items()],
        "x-tagGroups": [{"name": name, "tags": list(tags)} for name, tags in GROUPS],
        "security": [{"bearer": []}, {"header": []}, {"query": []}],
        "paths": paths,
        "webhooks": {"jobEnded": {"post": _webhook()}},
        "components": {
            "securitySchemes": SECURITY,
            "headers": {name: dict(row) for name, row in HEADERS.items()},
            "responses": {name: _answer(each) for name, each in refusals.answers().items()},
            "schemas": native.schemas() | modelslab.schemas() | refusals.schemas() | bodies.schemas,
        },
    }


class _Bodies:
    """Bodies by name: a dozen paths have the same one, and the document would be ten times as long."""

    def __init__(self) -> None:
        self.schemas: Json = {}
        self._names: dict[str, str] = {}

    def reference(self, operation: Operation) -> Json:
        """Where the body of an operation is described."""
        text = json.dumps(operation.said.body, sort_keys=True)
        if text not in self._names:
            # Paths are unique and the name is a key of the document, which may hold neither slash nor brace.
            name = NO_KEY.sub("_", operation.path.strip("/"))
            self._names[text] = f"body_{operation.method}_{name}"
            self.schemas[self._names[text]] = operation.said.body
        return {"$ref": f"#/components/schemas/{self._names[text]}"}


def _described(operation: Operation, bodies: _Bodies) -> Json:
    said = operation.said
    described: Json = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": said.summary,
        "description": _description(operation),
        "parameters": [_parameter(parameter) for parameter in operation.parameters],
        "responses": {str(status): _response(operation, status) for status in operation.statuses},
    }
    if said.is_public:
        described["security"] = []
    elif operation.dialect == refusals.A1111:
        described["security"] = [{"bearer": []}, {"header": []}, {"query": []}, {"basic": []}]
    if said.body is not None:
        content = _content(operation, bodies.reference(operation))
        described["requestBody"] = {"required": said.is_body_required, "content": content}
    return described


def _description(operation: Operation) -> str:
    """With what the key must allow."""
    said = operation.said
    needs = f"Needs the scope `{said.scope}`." if said.scope is not None else ""
    if said.scope == Scope.MODELS_WRITE:
        needs = f"Needs the scope `{said.scope}`, for models of others `{Scope.MODELS_ADMIN}`."
    return " ".join(part for part in (said.description, needs) if part)


def _response(operation: Operation, status: int) -> Json:
    """Refusals are said once for each dialect."""
    answer = operation.said.answers.get(status)
    if answer is None:
        return {"$ref": f"#/components/responses/{refusals.name_of(operation.dialect, status)}"}
    return _answer(answer, QUOTA if operation.has_quota_headers else ())


def _content(operation: Operation, schema: Json) -> Json:
    examples = {name: {"value": value} for name, value in operation.said.examples.items()}
    content: Json = {}
    for media_type in operation.said.media_types:
        content[media_type] = {"schema": schema}
        if examples and media_type != FORM:
            content[media_type]["examples"] = examples
    return content


def _parameter(parameter: Parameter) -> Json:
    described: Json = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.is_required,
        "schema": parameter.schema,
        "description": parameter.meaning,
    }
    if parameter.schema.get("type") == "array":
        described |= {"style": "form", "explode": False}
    return described


def _answer(answer: Answer, more: tuple[str, ...] = ()) -> Json:
    names = dict.fromkeys((*COMMON, *more, *answer.headers))
    described: Json = {
        "description": answer.meaning,
        "headers": {name: {"$ref": f"#/components/headers/{name}"} for name in names},
    }
    if answer.schema is not None:
        content: Json = {"schema": answer.schema}
        if answer.example is not None:
            content["example"] = answer.example
        described["content"] = {answer.media_type: content}
    return described


def _webhook() -> Json:
    """What is sent to the address that a request of the native API names."""
    schema = {
        "type": "object",
        "required": ["type", "timestamp", "data"],
        "properties": {
            "type": {"type": "string"},
            "timestamp": {"type": "string", "format": "date-time"},
            "data": {"$ref": "#/components/schemas/JobBody"},
        },
    }
    signs = ("webhook-id", "webhook-timestamp", "webhook-signature")
    return {
        "operationId": "webhook_job_ended",
        "summary": "A job has ended",
        "description": "Signed as Standard Webhooks has it. Requests of the ModelsLab dialect get its body.",
        "tags": list(native.TAGS)[3:4],
        "parameters": [
            {"name": name, "in": "header", "required": True, "schema": {"type": "string"}} for name in signs
        ],
        "requestBody": {"content": {"application/json": {"schema": schema, "example": WEBHOOK_EXAMPLE}}},
        "responses": {"2XX": {"description": "Taken; anything else is sent again."}},
    }
