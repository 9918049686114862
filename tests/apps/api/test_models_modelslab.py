from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.api.modelslab.models_fields import IGNORED, SORTS, TABLES
from apps.api.modelslab.models_render import category_of
from apps.api.modelslab.models_schema import DESCRIBED
from apps.apikeys.choices import Scope
from apps.catalog import facets
from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry
from apps.catalog.search import Order
from tests.apps.api.client import ApiClient
from tests.apps.api.models_fixtures import PREVIEW, make_catalogue, reader
from tests.cast import Cast
from tests.factories import make_checkpoint, make_key

LISTS = ["/api/v4/dreambooth/model_list", "/api/v3/dreambooth/model_list", "/api/v3/model_list"]
SEARCHES = ["/api/v6/model-search", "/api/v7/models", "/api/agents/v1/models"]


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    facets.forget()
    yield
    facets.forget()


@pytest.fixture(autouse=True)
def catalogue(checkpoint: CatalogEntry, cast: Cast) -> None:
    make_catalogue(cast)


def _found(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.json()
    body = answer.json()
    return [item["model_id"] for item in (body if isinstance(body, list) else body["data"])]


@pytest.mark.parametrize("path", LISTS)
def test_model_list_is_a_bare_array_of_what_model_id_may_be(ada: ApiClient, path: str) -> None:
    answer = ada.post(path)
    assert _found(answer) == ["realistic-vision-51", "dream-xl", "adas", "tiny"]
    assert answer.json()[0] == {
        "model_id": "realistic-vision-51",
        "status": "model_ready",
        "created_at": "2026-03-02T12:00:00.000000Z",
        "instance_prompt": None,
        "model_name": "Realistic Vision",
        "description": "Photos of people.",
        "screenshots": f"http://testserver/previews/{PREVIEW['file']}",
    }


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"limit": 2}, ["realistic-vision-51", "dream-xl"]),
        ({"limit": "2", "page": "2"}, ["adas", "tiny"]),
        ({"limit": None, "page": ""}, ["realistic-vision-51", "dream-xl", "adas", "tiny"]),
        ({"page": 99}, []),
        ({"model_type": "lora"}, ["more_details", "flux-lora"]),
        ({"model_category": "flux_lora"}, ["flux-lora"]),
        ({"search": "realis vis"}, ["realistic-vision-51"]),
    ],
)
def test_model_list_takes_loose_fields(ada: ApiClient, fields: dict[str, Any], names: list[str]) -> None:
    assert _found(ada.post(LISTS[0], fields)) == names


@pytest.mark.parametrize("path", SEARCHES)
def test_search_has_items_under_both_names_and_a_total(ada: ApiClient, path: str) -> None:
    body = ada.get(f"{path}?search=detail").json()
    assert body == {
        "status": "success",
        "data": [
            {
                "model_id": "more_details",
                "status": "model_ready",
                "created_at": "2026-03-02T12:00:00.000000Z",
                "instance_prompt": "detailed, sharp",
                "model_name": "More_Details",
                "description": "",
                "screenshots": "",
                "name": "More_Details",
                "provider": "local",
                "feature": "imagen",
                "model_type": "lora",
                "model_category": "lora",
                "model_subcategory": "lora",
                "base_model": "sd15",
                "variant": "",
                "tags": ["style"],
                "trigger_words": ["detailed", "sharp"],
                "previews": [],
                "licence": "Apache-2.0",
                "is_commercial_use_allowed": False,
                "uses": 70,
            }
        ],
        "meta": {
            "total": 1,
            "is_total_exact": True,
            "page": 1,
            "current_page": 1,
            "per_page": 20,
            "last_page": 1,
        },
    }


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("", ["realistic-vision-51", "more_details", "dream-xl", "flux-lora", "adas", "tiny"]),
        ("sort=recommended&per_page=2", ["realistic-vision-51", "more_details"]),
        ("sort=most-used&per_page=2&page=2", ["dream-xl", "flux-lora"]),
        ("sort=latest&per_page=1", ["adas"]),
        ("sort=asc&per_page=2", ["adas", "dream-xl"]),
        ("sort=sort-desc&per_page=2", ["tiny", "realistic-vision-51"]),
        ("feature=imagen&per_page=1", ["realistic-vision-51"]),
        ("feature=video_fusion", []),
        ("model_type=stable_diffusion_xl", ["dream-xl"]),
        ("model_type=stable_diffusion&per_page=1", ["realistic-vision-51"]),
        ("model_subcategory=lora", ["more_details", "flux-lora"]),
        ("model_type=flux&model_subcategory=lora", []),
        ("model_type=lora&model_subcategory=flux_lora", ["flux-lora"]),
        ("base_model=SDXL", ["dream-xl"]),
        ("base_model=SDXL 1.0", ["dream-xl"]),
        ("base_model=flux&model_type=stable_diffusion", []),
        ("base_model=nothing", []),
        ("provider=ACME", ["realistic-vision-51"]),
        ("tags=photo,portrait", ["realistic-vision-51"]),
        ("tags=photo&tags=portrait", ["realistic-vision-51"]),
        ("tags[]=photo&tags[]=portrait", ["realistic-vision-51"]),
        ("tags[]=style", ["more_details"]),
        ("search=%ff%fe", []),
        ("search=switched", []),
        ("q=dream", ["dream-xl"]),
    ],
)
def test_search_filters(ada: ApiClient, query: str, names: list[str]) -> None:
    assert _found(ada.get(f"{SEARCHES[1]}?{query}")) == names


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"),
        ("page=x", "page"),
        ("per_page=101", "per_page"),
        ("per_page=-1", "per_page"),
        ("sort=random", "sort"),
        ("feature=cooking", "feature"),
        ("model_type=tensor", "model_type"),
        (f"search={'x' * 201}", "search"),
        ("search=%00", "search"),
        ("tags=a%00b", "tags"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_name(ada: ApiClient, query: str, field: str) -> None:
    answer = ada.get(f"{SEARCHES[0]}?{query}")
    assert (answer.status_code, answer["X-Darkroom-Error"]) == (400, "invalid_field")
    assert answer.json()["message"].startswith(f"{field} must ")
    assert answer.json()["messege"] == answer.json()["message"]


def test_keys_and_fields_may_come_in_the_body_of_a_get(anybody: ApiClient, cast: Cast) -> None:
    answer = anybody.http.generic(
        "GET", SEARCHES[0], f'{{"key": "{cast.key_text}", "search": "dream"}}', "application/json"
    )
    assert _found(answer) == ["dream-xl"]
    assert _found(anybody.get(f"{SEARCHES[0]}?key={cast.key_text}&search=dream")) == ["dream-xl"]


@pytest.mark.parametrize("prefix", SEARCHES)
def test_detail_says_what_requests_may_say(ada: ApiClient, prefix: str) -> None:
    body = ada.get(f"{prefix}/sdxl").json()
    assert (body["status"], body["data"]["model_id"]) == ("success", "tiny")
    parameters = body["data"]["parameters"]
    assert list(parameters) == [f"/api/{path}" for path in DESCRIBED]
    schema = parameters["/api/v7/images/text-to-image"]
    assert schema["required"] == ["prompt", "model_id"]
    properties = schema["properties"]
    assert properties["model_id"]["const"] == "tiny"
    assert {name: properties["width"][name] for name in ("type", "minimum", "maximum", "default")} == {
        "type": "integer",
        "minimum": 64,
        "maximum": 2048,
        "default": 64,
    }
    assert (properties["width"]["multipleOf"], properties["num_inference_steps"]["default"]) == (8, 25)
    assert properties["guidance_scale"]["type"] == "number"
    assert "aspect_ratio" in properties
    assert "aspect_ratio" not in parameters["/api/v6/images/text2img"]["properties"]


def test_what_is_not_used_by_itself_has_no_parameters(ada: ApiClient) -> None:
    assert ada.get("/api/agents/v1/models/more_details").json()["data"]["parameters"] == {}


@pytest.mark.parametrize("model_id", ["nothing", "switched-off", "%00", "%ed%a0%80", "x" * 3000])
def test_an_unknown_model_is_404(ada: ApiClient, model_id: str) -> None:
    answer = ada.get(f"/api/v6/model-search/{model_id}")
    assert (answer.status_code, answer["X-Darkroom-Error"]) == (404, "not_found")


@pytest.mark.parametrize("prefix", SEARCHES)
def test_filters_tags_and_providers_have_counts(ada: ApiClient, prefix: str) -> None:
    data = ada.get(f"{prefix}/filters").json()["data"]
    assert data["model_type"] == [
        {"name": "checkpoint", "value": "checkpoint", "count": 4},
        {"name": "lora", "value": "lora", "count": 2},
    ]
    assert data["feature"][:2] == [
        {"name": "imagen", "value": "imagen", "count": 6},
        {"name": "video_fusion", "value": "video_fusion", "count": 0},
    ]
    assert data["base_model"][0] == {"name": "sd15", "value": "sd15", "count": 4}
    assert data["sort"] == list(SORTS)
    assert ada.get(f"{prefix}/tags").json()["data"] == [
        {"name": "photo", "value": "photo", "count": 2},
        {"name": "portrait", "value": "portrait", "count": 1},
        {"name": "style", "value": "style", "count": 1},
    ]
    assert ada.get(f"{prefix}/providers").json()["data"] == [{"name": "acme", "value": "acme", "count": 1}]


def test_every_value_of_a_filter_can_be_asked_for(ada: ApiClient) -> None:
    data = ada.get(f"{SEARCHES[0]}/filters").json()["data"]
    for field in ("model_type", "model_subcategory", "base_model", "provider", "tags"):
        for value in data[field]:
            body = ada.get(f"{SEARCHES[0]}?{field}={value['value']}").json()
            assert body["meta"]["total"] == value["count"], (field, value)


READS = [
    *[("POST", path) for path in LISTS],
    *[("GET", f"{prefix}{rest}") for prefix in SEARCHES for rest in ("", "/filters", "/tags", "/providers")],
    *[("GET", f"{prefix}/adas") for prefix in SEARCHES],
]


@pytest.mark.parametrize(("method", "path"), READS)
def test_cleo_sees_nothing_of_adas(ada: ApiClient, cleo: ApiClient, method: str, path: str) -> None:
    mine, theirs = (client.post(path) if method == "POST" else client.get(path) for client in (ada, cleo))
    assert "adas" not in theirs.content.decode() or theirs.status_code == 404
    if not path.endswith(("tags", "providers")):
        assert mine.content != theirs.content


@pytest.mark.parametrize(("method", "path"), READS)
def test_models_are_shown_to_nobody_without_a_key(anybody: ApiClient, method: str, path: str) -> None:
    answer = anybody.post(path) if method == "POST" else anybody.get(path)
    assert (answer.status_code, answer.json()["status"]) == (401, "error")


def test_a_key_without_the_scope_reads_no_models(cast: Cast) -> None:
    client = ApiClient(make_key(cast.account, scopes=[Scope.IMAGES_GENERATE]).plaintext)
    for method, path in READS:
        answer = client.post(path) if method == "POST" else client.get(path)
        assert (answer.status_code, answer["X-Darkroom-Error"]) == (403, "scope_missing"), path


def test_a_keys_list_limits_what_it_sees(cast: Cast) -> None:
    client = ApiClient(make_key(cast.account, allowed_checkpoints=["dream-xl"]).plaintext)
    assert _found(client.post(LISTS[0])) == ["dream-xl"]
    assert _found(client.get(SEARCHES[0])) == ["more_details", "dream-xl", "flux-lora"]
    assert client.get(f"{SEARCHES[0]}/tiny").status_code == 404


@pytest.mark.parametrize(
    ("path", "count"),
    [
        # The key, then: total, keys and rows of the page; a search by relevance counts the keys.
        (SEARCHES[0], 4),
        (f"{SEARCHES[0]}?search=photo&sort=latest", 4),
        (f"{SEARCHES[0]}?search=photo", 3),
        (f"{SEARCHES[0]}/tiny", 2),
        # The key, and two questions each for checkpoints, others, own and lent.
        (f"{SEARCHES[0]}/filters", 9),
    ],
)
def test_queries_are_few_however_many_models(ada: ApiClient, path: str, count: int) -> None:
    ada.get(SEARCHES[1])  # notes the use of the key, once a minute
    facets.forget()
    for number in range(30):
        make_checkpoint(f"photo-{number}", tags=["photo"])
    with CaptureQueriesContext(connection) as queries:
        assert ada.get(path).status_code == 200
    assert len(queries) == count


def test_tables_are_consistent() -> None:
    for table in TABLES:
        names = [name for field in table for name in (field.theirs, field.alias) if name]
        assert len(names) == len(set(names))
        assert not set(names) & set(IGNORED)
    assert set(SORTS.values()) == set(Order) - {Order.RELEVANCE}
    for kind in Kind:
        assert category_of(kind, "")


def test_readers_need_no_more_than_a_default_key(cast: Cast) -> None:
    assert _found(reader(cast).get(SEARCHES[0]))[0] == "realistic-vision-51"
