"""The reference: a document that is valid and whole, a page that is complete in itself, a collection."""

from __future__ import annotations

import json
import re
from typing import Any, NotRequired, TypedDict

import jsonschema_rs
import pytest

from apps.api.a1111.fields import describe as describe_a1111
from apps.api.modelslab.endpoints import ENDPOINTS
from apps.api.native.jobs_fields import EXAMPLES, JOB_FIELDS
from apps.api.native.jobs_translation import read_asked
from apps.api.native.tables import Items, Part
from apps.api.openai.fields import describe as describe_openai
from apps.api.readers import Reader
from apps.api.reference.document import TAGS, all_operations, openapi_document
from apps.api.reference.typed import schema_of
from apps.config.version import REPOSITORY_ROOT
from apps.generation.request import GenerationRequest
from tests.apps.api.client import ApiClient

PAGE = (REPOSITORY_ROOT / "templates" / "docs" / "reference.html").read_text(encoding="utf-8")
DOCUMENT: Any = openapi_document()


def test_it_is_open_to_everybody_and_the_same_for_all(anybody: ApiClient, ada: ApiClient) -> None:
    response = anybody.get("/v1/openapi.json")

    assert (response.status_code, response["Content-Type"]) == (200, "application/json")
    assert response.json() == DOCUMENT
    assert ada.get("/v1/openapi.json").content == response.content
    assert DOCUMENT["openapi"].startswith("3.1")


def test_every_endpoint_of_every_table_is_in_it() -> None:
    paths = DOCUMENT["paths"].keys()

    assert {f"/api/{path}" for path in ENDPOINTS} <= paths
    assert {f"/v1/images/{path}" for path in describe_openai()} <= paths
    assert {f"/sdapi/v1/{path}" for path in describe_a1111()} <= paths
    assert {tag for operation in all_operations() for tag in [operation.tag]} == TAGS.keys()


@pytest.mark.parametrize("name", DOCUMENT["components"]["schemas"])
def test_schemas_are_schemas(name: str) -> None:
    jsonschema_rs.meta.validate(DOCUMENT["components"]["schemas"][name])


def test_answers_are_as_described(ada: ApiClient) -> None:
    def check(name: str, body: Any) -> None:
        schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
        jsonschema_rs.validate(schema, body)

    created = ada.post("/v1/jobs", {"model": "tiny", "prompt": "a fox"})
    check("JobBody", created.json())
    [item] = ada.get("/v1/jobs").json()["items"]
    check("JobSummary", item)
    check("Estimate", ada.post("/v1/estimate", {"model": "tiny", "prompt": "a fox"}).json())
    check("Problem", ada.post("/v1/jobs", {"steps": 0}).json())


def test_the_table_names_what_a_request_has() -> None:
    ours = {row.ours for row in JOB_FIELDS}

    assert ours - {"track_id", "webhook"} == set(GenerationRequest.__dataclass_fields__)


@pytest.mark.parametrize("table", [JOB_FIELDS])
def test_parts_name_what_their_wish_has(table: Any) -> None:
    def part_of(read: Reader) -> Part | None:
        inner = read.each if isinstance(read, Items) else read
        return inner if isinstance(inner, Part) else None

    parts = [part for row in table if (part := part_of(row.read)) is not None]

    assert len(parts) == 16
    for part in parts:
        made: Any = part.make
        assert {row.ours for row in part.table} == set(made.__dataclass_fields__), made


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_can_be_read(name: str) -> None:
    assert read_asked(dict(EXAMPLES[name])).values


def test_the_page_needs_nothing_from_elsewhere(anybody: ApiClient) -> None:
    response = anybody.get("/docs")

    assert response.status_code == 200
    assert "default-src 'none'" in response["Content-Security-Policy"]
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?:https?:)?//""", PAGE)
    assert "innerHTML" not in PAGE
    assert len(PAGE) < 300_000


def test_the_collection_has_every_operation(anybody: ApiClient) -> None:
    body = anybody.get("/docs/postman.json").json()

    folders = [folder for group in body["item"] for folder in group["item"]]
    requests = [item["request"] for folder in folders for item in folder["item"]]
    told = {(each["method"].lower(), each["url"]["raw"]) for each in requests}
    assert told == {
        (operation.method, "{{base_url}}" + re.sub(r"\{(\w+)\}", r":\1", operation.path))
        for operation in all_operations()
    }
    assert body["variable"][0] == {"key": "base_url", "value": "http://testserver"}
    for each in requests:
        if "raw" in each.get("body", {}):
            json.loads(each["body"]["raw"])


def test_types_without_a_schema_are_named() -> None:
    with pytest.raises(TypeError, match="has no JSON Schema here"):
        schema_of(complex)


class Sometimes(TypedDict):
    """Written in a module whose annotations are text, as all of ours are."""

    always: int
    at_times: NotRequired[int]


class Never(TypedDict, total=False):
    at_times: int


def test_what_may_be_absent_is_not_required() -> None:
    assert (schema_of(Sometimes)["required"], schema_of(Never)["required"]) == (["always"], [])
