"""The document is valid by the letter of the standard, and its examples are what their schemas allow."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from schemathesis.specs.openapi import definitions

from apps.api.reference.document import openapi_document
from apps.api.reference.headers import HEADERS
from apps.api.reference.shapes import shape_of

DOCUMENT: Any = openapi_document()
COMPONENTS: Any = DOCUMENT["components"]


def resolved(node: Any) -> Any:
    """What a reference leads to."""
    while isinstance(node, dict) and "$ref" in node:
        *_, kind, name = node["$ref"].split("/")
        node = COMPONENTS[kind][name]
    return node


def bodies() -> Iterator[tuple[str, Any, Any]]:
    """Where, schema and example of everything that has one."""
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
                for name, example in content.get("examples", {}).items():
                    yield f"{method} {path} {media_type} {name}", content["schema"], example["value"]
            for status, answer in operation["responses"].items():
                for content in resolved(answer).get("content", {}).values():
                    if "example" in content:
                        yield f"{method} {path} {status}", content["schema"], content["example"]


def test_it_is_valid() -> None:
    validator = definitions.OPENAPI_31_VALIDATOR

    problems = [f"{error.instance_path}: {error.message[:200]}" for error in validator.iter_errors(DOCUMENT)]

    assert problems == []


def test_examples_are_what_their_schemas_allow() -> None:
    validators: dict[str, Any] = {}
    count = 0
    for where, schema, example in bodies():
        name = json.dumps(schema, sort_keys=True)
        if name not in validators:
            validators[name] = jsonschema_rs.validator_for({**schema, "components": COMPONENTS})
        problems = [error.message for error in validators[name].iter_errors(example)]
        assert problems == [], where
        count += 1

    assert count > 400


def test_messages_of_modelslab_have_both_spellings() -> None:
    said = [each for where, _, each in bodies() if " /api/" in where and isinstance(each, dict)]
    spoken = [each for each in said if each.keys() & {"message", "messege"}]

    assert [each for each in spoken if each.get("message") != each.get("messege")] == []
    assert len(spoken) > 100


def test_every_answer_says_what_it_looks_like() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            for status, each in operation["responses"].items():
                answer = resolved(each)
                assert answer["headers"].keys() >= {"X-Request-Id"}, (method, path, status)
                if status not in ("204", "304"):
                    assert answer.get("content"), (method, path, status)


def test_references_lead_somewhere_and_everything_is_used() -> None:
    used = set(re.findall(r'"\$ref": "#/components/([^"]+)"', json.dumps(DOCUMENT)))
    known = {
        f"{kind}/{name}" for kind, parts in COMPONENTS.items() if kind != "securitySchemes" for name in parts
    }

    assert used <= known
    assert {f"headers/{name}" for name in HEADERS} <= used
    assert {each for each in known - used if not each.startswith("responses/")} == set()


def test_ids_are_unique_and_names_of_functions() -> None:
    ids = [each["operationId"] for methods in DOCUMENT["paths"].values() for each in methods.values()]

    assert len(ids) == len(set(ids))
    assert all(re.fullmatch(r"[a-z][A-Za-z0-9_-]*", each) for each in ids)


def test_shapes_of_examples() -> None:
    schema = shape_of({"a": 1, "b": [{"c": None}], "d": "x"}, d={"type": ["string", "null"]})

    assert schema["required"] == ["a", "b", "d"]
    assert schema["properties"]["b"]["items"]["properties"]["c"] == {}
    assert schema["properties"]["d"] == {"type": ["string", "null"]}
    with pytest.raises(TypeError, match="is no JSON"):
        shape_of(complex(1))
