"""Every public method of ModelsLab's own Python library, found by looking, sent to this dialect.

Whatever the library posts is answered in its shape: accepted, or refused by name. Its own code raises for any
status but 200 and reads `status`, so both are what it expects. Whole runs are in tests/acceptance.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import modelslab_py.core.apis
import modelslab_py.providers
import pytest
from modelslab_py.core.apis.base import BaseAPI
from modelslab_py.core.client import Client
from pydantic import BaseModel

from apps.catalog.models import CatalogEntry
from tests.apps.api import jobs
from tests.apps.api.client import ApiClient
from tests.apps.api.models_fixtures import operator
from tests.apps.api.modelslab.workbench import mask, picture
from tests.factories import make_adapter, make_checkpoint

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

BASE_URL: Final = "http://testserver/api/"
OURS: Final = ("Community", "Realtime", "Image_editing", "DeepFake")
"""Classes whose methods make images; what else there is concerns providers' models, or is not of images."""
OTHERS: Final = ("Interior", "Three_D", "Video", "Audio")
VIDEO: Final = ("multiple_video_swap", "single_video_swap")
MANAGEMENT: Final = ("system_details", "restart", "update", "clear_cache", "clear_queue")
VALUES: Final[Mapping[str, object]] = {
    "prompt": "a red fox",
    "width": 64,
    "height": 64,
    "aspect_ratio": "16:9",
    "cloth_type": "upper_body",
    "controlnet_model": "canny",
    "mask_image": mask(),
    "model_id": "tiny",
    "init_image": picture(),
    "face_image": picture(),
    "cloth_image": picture(),
}
"""Of fields without a default, by name; what is required besides is a picture."""


def _classes() -> Iterator[type[BaseAPI]]:
    for package in (modelslab_py.core.apis, modelslab_py.providers):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for _, found in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
                if issubclass(found, BaseAPI) and found is not BaseAPI and found.__module__ == module.name:
                    yield found


CLASSES: Final = {found.__name__: found for found in _classes()}


def _methods(api: type[BaseAPI]) -> list[str]:
    """Public ones of its own that post at once; their `async_` twins post the same."""
    return [
        name
        for name, found in inspect.getmembers(api, inspect.isfunction)
        if not name.startswith(("_", "async_")) and name not in vars(BaseAPI) and "schema" in _hints(found)
    ]


def _hints(method: Callable[..., Any]) -> dict[str, Any]:
    return typing.get_type_hints(method)


@pytest.fixture
def client(ada: ApiClient, monkeypatch: pytest.MonkeyPatch) -> Client:
    """The library's own client, whose posts reach Django without a socket."""
    client = Client(
        api_key=ada.headers["Authorization"].removeprefix("Bearer "), fetch_retry=1, fetch_timeout=0
    )
    client.base_url = BASE_URL

    def post(url: str, *, json: Any, headers: Mapping[str, str]) -> Any:
        answer = ApiClient(None).post(url.removeprefix("http://testserver"), json, **headers)
        answer.text = answer.content.decode()
        return answer

    monkeypatch.setattr("modelslab_py.core.client.requests.post", post)
    return client


@pytest.fixture
def studio(
    controlnets: dict[str, CatalogEntry],
    readers: dict[str, CatalogEntry],
    face_adapter: CatalogEntry,
    editor: CatalogEntry,
) -> None:
    """Every model that the library names, and what its endpoints need."""
    make_adapter("flux-ip-plus-face", kind="ip_adapter", family="flux")
    for name in ("z-image-turbo", "qwen", "flux-2-dev"):
        make_checkpoint(name)
    make_checkpoint("flux", family="flux")


def filled_in(schema: type[BaseModel]) -> BaseModel:
    """An instance with what it requires, and what else endpoints need; its own defaults are kept."""
    values = {
        name: VALUES.get(name, 1 if field.annotation in (int, float) else picture())
        for name, field in schema.model_fields.items()
        if field.is_required() or (field.default is None and name in VALUES)
    }
    of_lists = [name for name in values if typing.get_origin(schema.model_fields[name].annotation) is list]
    return schema(**values | {name: [values[name]] for name in of_lists})


def called(api: BaseAPI, name: str) -> dict[str, Any]:
    """The library's answer; its exception for a refusal as the body that it quotes."""
    method = getattr(api, name)
    schema = _hints(method)["schema"]
    try:
        return dict(method(filled_in(schema)))
    except Exception as error:  # noqa: BLE001  # the library raises nothing narrower
        text = str(error)
        assert text.startswith("Request failed with status code "), text
        status, _, body = text.removeprefix("Request failed with status code ").partition(": ")
        return {"http": int(status), **json.loads(body)}


@pytest.mark.parametrize("is_enterprise", [False, True])
@pytest.mark.parametrize("name", OURS)
def test_every_method_that_makes_an_image_is_accepted(
    client: Client, studio: None, name: str, is_enterprise: bool
) -> None:
    api = CLASSES[name](client, enterprise=is_enterprise)
    for method in _methods(CLASSES[name]):
        if method in VIDEO or (method.startswith("qwen_text") and not is_enterprise):
            continue
        answer = called(api, method)
        assert answer["status"] == "processing", (method, answer)
        assert answer["fetch_result"].startswith(api.base_url.split("/images/")[0]), method
        if "qwen_text" not in method:
            assert api.fetch(str(answer["id"]))["id"] == answer["id"], method


@pytest.mark.parametrize("is_enterprise", [False, True])
@pytest.mark.parametrize("name", OTHERS)
def test_what_is_not_made_here_says_so(
    client: Client, checkpoint: CatalogEntry, name: str, is_enterprise: bool
) -> None:
    api = CLASSES[name](client, enterprise=is_enterprise)
    assert _methods(CLASSES[name])
    for method in _methods(CLASSES[name]):
        answer = called(api, method)
        assert (answer["http"], answer["status"]) == (400, "error"), (method, answer)
        assert "is not offered by this server" in answer["message"], (method, answer)
    assert jobs.traces() == jobs.NOTHING


@pytest.mark.parametrize("method", VIDEO)
def test_faces_in_videos_are_not_offered(client: Client, checkpoint: CatalogEntry, method: str) -> None:
    answer = called(CLASSES["DeepFake"](client), method)

    assert (answer["http"], answer["message"]) == (400, "Video is not offered by this server.")


def _providers() -> list[str]:
    return [name for name in CLASSES if name not in (*OURS, *OTHERS)]


@pytest.mark.parametrize("name", _providers())
def test_models_of_providers_are_named_when_they_are_not_here(
    client: Client, checkpoint: CatalogEntry, name: str
) -> None:
    api = CLASSES[name](client)
    for method in _methods(CLASSES[name]):
        answer = called(api, method)
        assert (answer["http"], answer["status"]) == (400, "error"), (method, answer)
        assert answer["message"].startswith(("Model not found: ", "Video is not", "Audio is not")), (
            method,
            answer,
        )
    assert jobs.traces() == jobs.NOTHING


@pytest.mark.parametrize("name", OURS)
def test_operators_manage_the_server_by_it(client: Client, checkpoint: CatalogEntry, name: str) -> None:
    client.api_key = operator().headers["Authorization"].removeprefix("Bearer ")
    api = CLASSES[name](client, enterprise=True)

    answers = {method: _managed(api, method) for method in MANAGEMENT}

    assert answers.pop("system_details")["status"] == "ok"
    assert "Updating over the API is not offered" in answers.pop("update")["message"]
    assert {answer["status"] for answer in answers.values()} == {"success"}


def _managed(api: BaseAPI, method: str) -> dict[str, Any]:
    try:
        return dict(getattr(api, method)())
    except Exception as error:  # noqa: BLE001  # the library raises nothing narrower
        return dict(json.loads(str(error).partition(": ")[2]))


def test_nothing_of_the_library_is_left_out() -> None:
    assert {*OURS, *OTHERS} <= CLASSES.keys()
    assert len(_providers()) >= 10
    inherited = {name for name in vars(BaseAPI) if not name.startswith(("_", "async_"))}
    assert {name for name in inherited if callable(getattr(BaseAPI, name))} == {"fetch", *MANAGEMENT}
