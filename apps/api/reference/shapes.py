"""JSON Schema of answers that no type describes, made of one example: what stands in both is said once.

Every key of the example is promised, with the type that its value has. Null promises nothing of the type, and
neither does an empty list of its items.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Json = dict[str, Any]  # Any: JSON Schema


def shape_of(example: object, **overrides: Json) -> Json:
    """The schema; `overrides` are those of keys whose type one example cannot show."""
    match example:
        case None:
            return {}
        case bool():
            return {"type": "boolean"}
        case int():
            return {"type": "integer"}
        case float():
            return {"type": "number"}
        case str():
            return {"type": "string"}
        case list():
            return {"type": "array", "items": shape_of(example[0]) if example else {}}
        case Mapping():
            properties = {name: overrides.get(name) or shape_of(value) for name, value in example.items()}
            return {"type": "object", "required": list(example), "properties": properties}
    raise TypeError(f"{example!r} is no JSON")
