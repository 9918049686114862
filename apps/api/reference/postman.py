"""The reference as a Postman collection (format 2.1): folders of what belongs together, by dialect."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from apps.api.reference.document import GROUPS, TAGS, all_operations
from apps.api.reference.operations import JSON, Operation

SCHEMA: Final = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


def postman_collection(*, base_url: str) -> dict[str, Any]:  # Any: JSON
    """Its variables are the address of this server and the key, which the user fills in."""
    return {
        "info": {"name": "Darkroom", "schema": SCHEMA},
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{api_key}}", "type": "string"}]},
        "variable": [{"key": "base_url", "value": base_url}, {"key": "api_key", "value": ""}],
        "item": [{"name": group, "item": [_folder(tag) for tag in tags]} for group, tags in GROUPS],
    }


def _folder(tag: str) -> dict[str, Any]:  # Any: JSON
    """What belongs together."""
    operations = [operation for operation in all_operations() if operation.tag == tag]
    return {"name": tag, "description": TAGS[tag], "item": [_item(operation) for operation in operations]}


def _item(operation: Operation) -> dict[str, Any]:
    path = PLACEHOLDER.sub(r":\1", operation.path)
    said = operation.said
    request: dict[str, Any] = {
        "method": operation.method.upper(),
        "header": [],
        "description": said.description,
        "url": {
            "raw": "{{base_url}}" + path,
            "host": ["{{base_url}}"],
            "path": path.strip("/").split("/"),
            "variable": [
                {"key": each.name, "value": "", "description": each.meaning}
                for each in operation.parameters
                if each.place == "path"
            ],
            "query": [
                {"key": each.name, "value": "", "description": each.meaning, "disabled": True}
                for each in operation.parameters
                if each.place == "query"
            ],
        },
    }
    if said.is_public:
        request["auth"] = {"type": "noauth"}
    if said.body is not None:
        request |= _body(operation)
    return {"name": f"{said.summary} ({path})", "request": request}


def _body(operation: Operation) -> dict[str, Any]:
    """A JSON body to begin from, or a file to choose."""
    media_type = operation.said.media_types[0]
    if JSON not in operation.said.media_types:
        return {
            "header": [{"key": "Content-Type", "value": media_type}],
            "body": {"mode": "file", "file": {}},
        }
    raw = json.dumps(example_of(operation), indent=2)
    return {
        "header": [{"key": "Content-Type", "value": JSON}],
        "body": {"mode": "raw", "raw": raw, "options": {"raw": {"language": "json"}}},
    }


def example_of(operation: Operation) -> Mapping[str, Any]:
    """A body to begin from: the first example, else the required fields."""
    said = operation.said
    if said.examples:
        return next(iter(said.examples.values()))
    assert said.body is not None  # as the caller made sure
    required: Any = said.body.get("required", [])
    return dict.fromkeys(required, "")
