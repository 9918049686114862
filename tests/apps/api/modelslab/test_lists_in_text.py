"""Lists as clients write them that have nothing but text: forms, and JSON inside a string."""

from __future__ import annotations

import json
from typing import Any

import pytest

from apps.catalog.models import CatalogEntry
from tests.apps.api.client import PROMPT, V6, ApiClient
from tests.apps.api.modelslab.workbench import made, picture, refused
from tests.factories import make_adapter

EDIT = "/api/v6/image_editing/qwen_edit"
TWO = [picture(), picture(32, 32)]


def send_form(client: ApiClient, path: str, fields: dict[str, Any]) -> Any:
    return client.http.post(path, fields, headers=client.headers)


def test_several_pictures_in_a_form(ada: ApiClient, editor: CatalogEntry) -> None:
    resolved = made(send_form(ada, EDIT, {"prompt": "x", "init_image[]": TWO}))

    assert [each.width for each in resolved.references] == [64, 32]


def test_one_picture_in_a_list_of_a_form(ada: ApiClient, editor: CatalogEntry) -> None:
    assert len(made(send_form(ada, EDIT, {"prompt": "x", "init_image[]": TWO[:1]})).references) == 1


def test_a_name_with_and_without_brackets_is_named_twice(ada: ApiClient, editor: CatalogEntry) -> None:
    message = refused(send_form(ada, EDIT, {"prompt": "x", "init_image[]": TWO, "init_image": TWO[0]}))

    assert message == 'The request body names the field "init_image" more than once.'


@pytest.mark.parametrize("pictures", [TWO, TWO[:1]])
def test_pictures_as_json_in_text(ada: ApiClient, editor: CatalogEntry, pictures: list[str]) -> None:
    resolved = made(ada.post(EDIT, {"prompt": "x", "init_image": json.dumps(pictures)}))

    assert len(resolved.references) == len(pictures)


def test_names_and_numbers_as_json_in_text(ada: ApiClient) -> None:
    for name in ("first", "second"):
        make_adapter(name, kind="lora")

    fields = {"lora_model": '["first", "second"]', "lora_strength": "[0.45, 0.55]"}
    resolved = made(ada.submit(**fields))

    assert [(lora.name, lora.scale) for lora in resolved.adapters.loras] == [
        ("first", 0.45),
        ("second", 0.55),
    ]


@pytest.mark.parametrize("broken", ['["a"', "[1", "[]"])
def test_half_a_list_is_a_name_nobody_has(ada: ApiClient, broken: str) -> None:
    answer = ada.post(V6, PROMPT | {"init_image": broken})

    assert refused(answer).startswith("init_image ")
