"""The AUTOMATIC1111 dialect in the reference, by the last part of its paths."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from apps.api.a1111 import controlnet_views, extras_views, lists_views, progress_views, views
from apps.api.a1111.controlnet_views import DETECT_FIELDS
from apps.api.a1111.extras import FIELDS as EXTRAS
from apps.api.a1111.fields import describe as describe_bodies
from apps.api.a1111.options import FIXED, OPTIONS
from apps.api.a1111.urls import MOVED
from apps.api.readers import Reader, shown
from apps.api.reference import a1111_examples as examples
from apps.api.reference.headers import FUNDING
from apps.api.reference.operations import IDEMPOTENCY, PIXEL, JsonSchema, Parameter, Said, ok
from apps.api.reference.routes import Route
from apps.api.reference.shapes import shape_of
from apps.apikeys.choices import Scope

IMAGES: Final = "AUTOMATIC1111: images"
LISTS: Final = "AUTOMATIC1111: lists and progress"
TAGS: Final[Mapping[str, str]] = {
    IMAGES: "Paths and bodies of stable-diffusion-webui and of its ControlNet extension.",
    LISTS: "What clients ask for besides: models, samplers, options, progress.",
}
MAKING: Final = (400, 401, 402, 403, 404, 409, 410, 413, 422, 429, 500, 503, 504)
ACTING: Final = (400, 401, 403, 413, 422, 500, 503)
READING: Final = (401, 403, 503)
PICTURE: Final = {"type": "string", "description": "A picture as base64."}
_SKIPS: Final = Parameter(
    name="skip_current_image",
    place="query",
    schema={"type": "string", "enum": ["true", "false"]},
    meaning="without the picture so far",
)
_ALIASES: Final = Parameter(
    name="alias_names",
    place="query",
    schema={"type": "string", "enum": ["true", "false"]},
    meaning="what people call them, instead of first names",
)


def describe(route: Route, method: str) -> tuple[str, Said] | None:
    """Tag, and what is said; None for a path that is none of theirs."""
    if not route.path.startswith(("/sdapi/", "/internal/", "/controlnet/")):
        return None
    if route.view is lists_views.ListView:
        return LISTS, _list(route.path.rsplit("/", 1)[1])
    if route.view is lists_views.NothingToDoView:
        return LISTS, _nothing_to_do(route)
    said = SAID.get((route.view, method))
    return None if said is None else (IMAGES if route.view in _PICTURES else LISTS, said)


def _body(fields: Mapping[str, JsonSchema], *required: str) -> JsonSchema:
    # Other names are ignored, as there.
    return {"type": "object", "properties": fields, "required": list(required), "additionalProperties": True}


def _row(read: Reader, default: object) -> JsonSchema:
    return {**read.schema, "description": f"{read.allowed}; default: {shown(default)}"}


def _rows(table: Mapping[str, tuple[Reader, object]]) -> dict[str, JsonSchema]:
    return {name: _row(*row) for name, row in table.items()}


def _making(summary: str, body: JsonSchema, example: object, **more: Any) -> Said:  # Any: fields of Said
    refusals: tuple[int, ...] = more.pop("refusals", MAKING)
    headers = ("X-Darkroom-Job", *FUNDING, "Idempotent-Replayed")
    return Said(
        summary=summary,
        scope=Scope.IMAGES_GENERATE,
        parameters=more.pop("parameters", (IDEMPOTENCY,)),
        body=body,
        answers=ok("Done.", schema=shape_of(example), example=example, headers=headers),
        refusals=refusals,
        **more,
    )


def _reading(summary: str, example: object, scope: Scope = Scope.MODELS_READ, **more: Any) -> Said:
    return Said(
        summary=summary,
        scope=scope,
        answers=ok("As it is.", schema=more.pop("schema", None) or shape_of(example), example=example),
        refusals=more.pop("refusals", READING),
        **more,
    )


def _list(name: str) -> Said:
    summary, example, schema = examples.LISTS[name]
    return _reading(summary, example, schema=schema)


def _nothing_to_do(route: Route) -> Said:
    name = route.path.rsplit("/", 1)[1]
    example: object = {} if name in MOVED else None
    return Said(
        summary=f"{name.replace('-', ' ').capitalize()}: happens here by itself",
        scope=Scope.MODELS_READ,
        answers=ok("Nothing was to be done.", schema=shape_of(example), example=example),
        refusals=READING,
    )


_OPTIONS_BODY: Final = _body({name: _row(row.read, row.default) for name, row in OPTIONS.items()})
_DETECT: Final = _rows(DETECT_FIELDS) | {
    "controlnet_input_images": {"type": "array", "items": PICTURE, "description": "Pictures to look at."}
}
_TASK: Final = {
    "id_task": {"type": "string", "description": "the `force_task_id` of a request"},
    "id_live_preview": {"type": "integer", "description": "number of the picture that was seen last"},
    "live_preview": {"type": "boolean", "description": "whether a picture is wanted"},
}
_BATCH: Final = {
    "type": "array",
    "description": "Pictures, each an object with `data` (base64) and `name`.",
    "items": {"type": "object", "properties": {"data": PICTURE, "name": {"type": "string"}}},
}

SAID: Final[Mapping[tuple[type, str], Said]] = {
    (views.GenerationView, "post"): _making(
        "Images from a prompt",
        describe_bodies()["txt2img"],
        examples.IMAGES,
        examples={"an image": {"prompt": "a red fox", "steps": 20, "width": 512, "height": 512}},
    ),
    (views.Img2ImgView, "post"): _making(
        "Images from a picture",
        describe_bodies()["img2img"],
        examples.IMAGES,
        examples={"an image": {"prompt": "a red fox", "init_images": [PIXEL]}},
    ),
    (extras_views.ExtrasView, "post"): _making(
        "Enlarge a picture, or mend faces in it",
        _body(_rows(EXTRAS) | {"image": PICTURE}, "image"),
        {"html_info": "", "image": "iVBORw0KGgo…"},
    ),
    (extras_views.ExtrasBatchView, "post"): _making(
        "Enlarge several pictures",
        _body(_rows(EXTRAS) | {"imageList": _BATCH}, "imageList"),
        {"html_info": "", "images": ["iVBORw0KGgo…"]},
    ),
    (extras_views.PngInfoView, "post"): _making(
        "How a picture was made, whoever made it",
        _body({"image": PICTURE}, "image"),
        {"info": "a red fox\nSteps: 20, Seed: 7", "items": {}, "parameters": {}},
        parameters=(),
        refusals=ACTING,
    ),
    (extras_views.InterrogateView, "post"): _making(
        "What is to be seen in a picture, in words",
        _body({"image": PICTURE, "model": {"type": "string", "enum": ["clip"]}}, "image"),
        {"caption": "a fox in the snow"},
    ),
    (progress_views.ProgressView, "get"): _reading(
        "How far your request is",
        examples.PROGRESS,
        Scope.JOBS_READ,
        parameters=(_SKIPS,),
        schema=examples.PROGRESS_SCHEMA,
    ),
    (progress_views.InterruptView, "post"): _reading("Stop your request", {}, Scope.JOBS_CANCEL),
    (progress_views.SkipView, "post"): _reading("Stop your request, as interrupt", None, Scope.JOBS_CANCEL),
    (progress_views.TaskProgressView, "post"): _reading(
        "How far one named task is",
        examples.TASK,
        Scope.JOBS_READ,
        body=_body(_TASK, "id_task"),
        schema=examples.TASK_SCHEMA,
        refusals=ACTING,
    ),
    (progress_views.PendingTasksView, "get"): _reading(
        "Your named tasks that wait", {"size": 1, "tasks": ["task(a1)"]}, Scope.JOBS_READ
    ),
    (progress_views.PingView, "get"): Said(
        summary="Whether somebody is there",
        answers=ok("Somebody is.", schema=shape_of({}), example={}),
        is_public=True,
    ),
    (lists_views.OptionsView, "get"): _reading(
        "Settings of your key",
        examples.options(FIXED, OPTIONS),
        schema={"type": "object", "required": [*FIXED, *OPTIONS]},
    ),
    (lists_views.OptionsView, "post"): Said(
        summary="Change settings of your key",
        description="Those that have an effect here; others are accepted and forgotten.",
        scope=Scope.IMAGES_GENERATE,
        body=_OPTIONS_BODY,
        examples={"a format": {"samples_format": "webp"}},
        answers=ok("Kept.", schema={"type": "null"}),
        refusals=ACTING,
    ),
    (controlnet_views.VersionView, "get"): _reading("Which version this API has", {"version": 2}),
    (controlnet_views.SettingsView, "get"): _reading(
        "How many units a request may have", {"control_net_unit_count": 5}
    ),
    (controlnet_views.ModelListView, "get"): _reading(
        "ControlNets that you may use", {"model_list": ["control_v11p_sd15_canny [d14c016b]"]}
    ),
    (controlnet_views.ModuleListView, "get"): _reading(
        "Preprocessors that run here",
        {"module_list": ["none", "canny"], "module_detail": examples.MODULES},
        parameters=(_ALIASES,),
        schema=shape_of({"module_list": [""], "module_detail": {}}),
    ),
    (controlnet_views.ControlTypesView, "get"): _reading(
        "Preprocessors and ControlNets that go together",
        {"control_types": {"Canny": examples.CONTROL_TYPE}},
        schema=shape_of({"control_types": {}}),
    ),
    (controlnet_views.DetectView, "post"): _making(
        "Run a preprocessor by itself",
        _body(_DETECT),
        {"images": ["iVBORw0KGgo…"], "info": "Success"},
    ),
}
_PICTURES: Final = frozenset(
    {
        views.GenerationView,
        views.Img2ImgView,
        extras_views.ExtrasView,
        extras_views.ExtrasBatchView,
        extras_views.PngInfoView,
        extras_views.InterrogateView,
        controlnet_views.DetectView,
    }
)
