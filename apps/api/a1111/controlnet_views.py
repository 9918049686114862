"""The ControlNet extension's own endpoints."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

from django.http import HttpResponse
from rest_framework.request import Request

from apps.accounts.models import Account
from apps.api.a1111.errors import PICTURE_MISSING, BadField, Refusal
from apps.api.a1111.fields import NAME
from apps.api.a1111.jobs import artifacts_of, require_success, wait_for_all
from apps.api.a1111.maps import map_request
from apps.api.a1111.modules import (
    MODULES,
    NONE,
    ModuleRow,
    list_networks,
    title_of_network,
    type_of,
    usable_modules,
)
from apps.api.a1111.readers import ANY_NUMBER, YES, Whole
from apps.api.a1111.render import encoded
from apps.api.a1111.submissions import Submission, submit_all, with_headers
from apps.api.a1111.translation import store_pictures
from apps.api.a1111.units import HIGHEST_RESOLUTION
from apps.api.a1111.views import A1111View, answer
from apps.api.readers import BadValue, Reader
from apps.apikeys.choices import Scope
from apps.core import clock
from apps.generation.request import MAX_CONTROLS

VERSION: Final = 2
"""Of the extension's API."""
NO_MODEL: Final = "None"
MOST_PICTURES: Final = 10

DETECT_FIELDS: Final[dict[str, tuple[Reader, object]]] = {
    "controlnet_module": (NAME, NONE),
    "controlnet_processor_res": (Whole(lowest=-1, highest=HIGHEST_RESOLUTION), 512),
    "controlnet_threshold_a": (ANY_NUMBER, None),
    "controlnet_threshold_b": (ANY_NUMBER, None),
}
"""Their names, how each is read, and its default; a threshold that is not sent is the detector's own."""


class VersionView(A1111View):
    """Which API this is."""

    def get(self, request: Request) -> HttpResponse:
        self.identify(request._request, {}, Scope.MODELS_READ)
        return answer({"version": VERSION})


class SettingsView(A1111View):
    """How many units a request may have."""

    def get(self, request: Request) -> HttpResponse:
        self.identify(request._request, {}, Scope.MODELS_READ)
        return answer({"control_net_unit_count": MAX_CONTROLS})


class ModelListView(A1111View):
    """ControlNets that the caller may use."""

    def get(self, request: Request) -> HttpResponse:
        key = self.identify(request._request, {}, Scope.MODELS_READ)
        return answer({"model_list": [title_of_network(entry) for entry in list_networks(key.account)]})


class ModuleListView(A1111View):
    """Preprocessors that run here: their first names, or with alias_names what people call them."""

    def get(self, request: Request) -> HttpResponse:
        http = request._request
        key = self.identify(http, {}, Scope.MODELS_READ)
        rows = usable_modules(key.account)
        has_aliases = http.GET.get("alias_names", "").strip().lower() in YES
        names = [row.label.lower() if has_aliases else row.names[0] for row in rows]
        details = {name: _detail(row) for name, row in zip(names, rows, strict=True)}
        return answer(
            {
                "module_list": [NONE, *names],
                "module_detail": {NONE: {"model_free": False, "sliders": []}, **details},
            }
        )


def _detail(row: ModuleRow) -> dict[str, object]:
    """Sliders: the resolution first, then the thresholds."""
    resolution = {"name": "Preprocessor Resolution", "value": 512, "min": 64, "max": HIGHEST_RESOLUTION}
    return {"model_free": False, "sliders": [resolution, *({"name": name} for name in row.sliders)]}


class ControlTypesView(A1111View):
    """Preprocessors and ControlNets that go together, by type."""

    def get(self, request: Request) -> HttpResponse:
        key = self.identify(request._request, {}, Scope.MODELS_READ)
        return answer({"control_types": control_types(key.account)})


def control_types(account: Account) -> dict[str, object]:
    """Types without a module and without a model are left out, so that interfaces do not offer them."""
    usable = usable_modules(account)
    networks = list(list_networks(account))
    groups: dict[str, object] = {
        "All": _group([row.names[0] for row in usable], [title_of_network(each) for each in networks])
    }
    for row in MODULES:
        modules = [row.names[0]] if row in usable else []
        # A ControlNet for several types is listed under each of those that it takes.
        models = [title_of_network(each) for each in networks if type_of(each, row.label) is row.type]
        if modules or models:
            groups[row.label] = _group(modules, models)
    return groups


def _group(modules: list[str], models: list[str]) -> dict[str, object]:
    return {
        "module_list": [NONE, *modules],
        "model_list": [NO_MODEL, *models],
        "default_option": modules[0] if modules else NONE,
        "default_model": models[0] if models else NO_MODEL,
    }


class DetectView(A1111View):
    """A preprocessor by itself, on each of some pictures."""

    def post(self, request: Request) -> HttpResponse:
        key, fields = self.read(request, Scope.IMAGES_GENERATE)
        submission = Submission.of(request._request, key)
        values = {name.removeprefix("controlnet_"): _read(name, fields) for name in DETECT_FIELDS}
        pictures = store_pictures(_pictures(fields), now=clock.now())
        module = str(values["module"])
        wanted = [map_request(module, values, picture, short_side=512) for picture in pictures]
        jobs = submit_all(submission, [(each, {}) for each in wanted])
        ended = wait_for_all(jobs, request._request, key, is_fetchable=submission.is_fetchable)
        images = [encoded(artifact) for job in ended for artifact in artifacts_of(require_success(job))]
        return with_headers(answer({"images": images, "info": "Success"}), submission, jobs)


def _read(name: str, fields: dict[str, object]) -> object:
    read, default = DETECT_FIELDS[name]
    value = fields.get(name)
    if value is None:
        return default
    try:
        return read(value)
    except BadValue as error:
        raise BadField(name, str(error)) from None


def _pictures(fields: dict[str, object]) -> list[tuple[str, str]]:
    """Under either of the names that clients use. Raises Refusal, as there, when there is none."""
    name = "controlnet_input_images" if fields.get("controlnet_input_images") else "controlnet_images"
    given = fields.get(name)
    if not given:
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "No image selected", code=PICTURE_MISSING)
    if not isinstance(given, list) or len(given) > MOST_PICTURES:
        raise BadField(name, f"must be a list of 1 to {MOST_PICTURES} pictures")
    for number, item in enumerate(given):
        if not isinstance(item, str):
            raise BadField(f"{name}.{number}", "must be a picture as base64")
    return [(f"{name}.{number}", item) for number, item in enumerate(given)]
