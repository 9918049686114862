"""The reference as a Postman collection (format 2.1): a folder a dialect, a request an endpoint."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from apps.api.reference.document import TAGS, all_operations
from apps.api.reference.operations import JSON, Operation

SCHEMA: Final = "https://schema.getpostman.com/json/collection/v2.1.0/collection.json"
PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


def postman_collection(*, base_url: str) -> dict[str, Any]:  # Any: JSON
    """Its variables are the address of this server and the key, which the user fills in."""
    return {
        "info": {"name": "Darkroom", "schema": SCHEMA},
        "auth": {"type": "bearer", "bearer": [{"key": "token", "value": "{{api_key}}", "type": "string"}]},
        "variable": [{"key": "base_url", "value": base_url}, {"key": "api_key", "value": ""}],
        "item": [
            {
                "name": tag,
                "description": meaning,
                "item": [_item(operation) for operation in all_operations() if operation.tag == tag],
            }
            for tag, meaning in TAGS.items()
        ],
    }


def _item(operation: Operation) -> dict[str, Any]:
    path = PLACEHOLDER.sub(r":\1", operation.path)
    request: dict[str, Any] = {
        "method": operation.method.upper(),
        "header": [],
        "url": {
            "raw": "{{base_url}}" + path,
            "host": ["{{base_url}}"],
            "path": path.strip("/").split("/"),
            "variable": [
                {"key": each.name, "value": ""} for each in operation.parameters if each.place == "path"
            ],
            "query": [
                {"key": each.name, "value": "", "description": each.meaning, "disabled": True}
                for each in operation.parameters
                if each.place == "query"
            ],
        },
    }
    if operation.body is not None:
        request["header"].append({"key": "Content-Type", "value": JSON})
        request["body"] = {
            "mode": "raw",
            "raw": json.dumps(example_of(operation), indent=2),
            "options": {"raw": {"language": "json"}},
        }
    return {"name": f"{operation.summary} ({path})", "request": request}


def example_of(operation: Operation) -> Mapping[str, Any]:
    """A body to begin from: the first example, else the required fields."""
    if operation.examples:
        return next(iter(operation.examples.values()))
    assert operation.body is not None  # as the caller made sure
    required: Any = operation.body.get("required", [])
    return dict.fromkeys(required, "")
