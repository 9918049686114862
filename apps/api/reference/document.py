"""One OpenAPI 3.1 document of all dialects, made of the tables that read their requests."""

from __future__ import annotations

import json
import re
from functools import cache
from http import HTTPStatus
from typing import Any, Final

from apps.api.reference import dialects, native
from apps.api.reference.operations import FORM, Answer, Operation, Parameter

OPENAPI: Final = "3.1.1"
VERSION: Final = "1"
"""Of the API, not of the appliance: clients compare it."""
TAGS: Final = {
    native.TAG: "Our own API: jobs, events, pictures.",
    dialects.MODELSLAB: "Paths and bodies of ModelsLab's API.",
    dialects.OPENAI: "Paths and bodies of OpenAI's Images API.",
    dialects.A1111: "Paths and bodies of stable-diffusion-webui.",
}
NO_KEY: Final = re.compile(r"[^A-Za-z0-9_.-]+")
Json = dict[str, Any]  # Any: an OpenAPI document


@cache
def all_operations() -> tuple[Operation, ...]:
    """Every dialect's, in the order of TAGS."""
    return (*native.operations(), *dialects.operations())


@cache
def openapi_document() -> Json:
    """The document; the same for everybody, since it knows of no account and no model."""
    paths: Json = {}
    bodies = _Bodies()
    for operation in all_operations():
        paths.setdefault(operation.path, {})[operation.method] = _operation(operation, bodies)
    return {
        "openapi": OPENAPI,
        "info": {
            "title": "Darkroom",
            "version": VERSION,
            "description": "Self-hosted image generation. Each tag is a dialect: use your client's.",
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": meaning} for name, meaning in TAGS.items()],
        "security": [{"bearer": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
            "schemas": native.schemas() | bodies.schemas,
        },
    }


class _Bodies:
    """Bodies by name: a dozen paths have the same one, and the document would be ten times as long."""

    def __init__(self) -> None:
        self.schemas: Json = {}
        self._names: dict[str, str] = {}

    def reference(self, operation: Operation) -> Json:
        """Where the body of an operation is described."""
        text = json.dumps(operation.body, sort_keys=True)
        if text not in self._names:
            # Paths are unique and the name is a key of the document, which may hold neither slash nor brace.
            name = NO_KEY.sub("_", operation.path.strip("/"))
            self._names[text] = f"body_{name}"
            self.schemas[f"body_{name}"] = operation.body
        return {"$ref": f"#/components/schemas/{self._names[text]}"}


def _operation(operation: Operation, bodies: _Bodies) -> Json:
    described: Json = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "parameters": [_parameter(parameter) for parameter in operation.parameters],
        "responses": {str(status): _answer(status, each) for status, each in operation.answers.items()},
    }
    if operation.body is not None:
        content = _content(operation, bodies.reference(operation))
        described["requestBody"] = {"required": True, "content": content}
    return described


def _content(operation: Operation, schema: Json) -> Json:
    examples = {name: {"value": value} for name, value in operation.examples.items()}
    content: Json = {}
    for media_type in operation.media_types:
        content[media_type] = {"schema": schema}
        if examples and media_type != FORM:
            content[media_type]["examples"] = examples
    return content


def _parameter(parameter: Parameter) -> Json:
    described: Json = {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.place == "path",
        "schema": parameter.schema,
        "description": parameter.meaning,
    }
    if parameter.schema.get("type") == "array":
        described |= {"style": "form", "explode": False}
    return described


def _answer(status: int, answer: Answer) -> Json:
    described: Json = {"description": answer.meaning}
    if answer.schema is not None:
        described["content"] = {answer.media_type: {"schema": answer.schema}}
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        described["headers"] = {"Retry-After": {"schema": {"type": "integer"}}}
    return described
