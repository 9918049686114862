"""The ModelsLab dialect in the reference: its views' own tables, wherever they are mounted."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Final

from apps.api.modelslab import general_views as general
from apps.api.modelslab.endpoints import FAMILIES, SERVERS
from apps.api.modelslab.fields.table import Table
from apps.api.modelslab.reference import describe as describe_bodies
from apps.api.modelslab.reference import table_schema
from apps.api.modelslab.render import (
    FailedBody,
    FindingsBody,
    LinkBody,
    PendingBody,
    ProcessingBody,
    SuccessBody,
)
from apps.api.modelslab.translation.asked import Endpoint, Shape
from apps.api.modelslab.views import FetchView, GenerationView
from apps.api.reference.headers import FUNDING
from apps.api.reference.modelslab_models import SAID as MODELS
from apps.api.reference.modelslab_models import Asking, query_of
from apps.api.reference.operations import FORM, IDEMPOTENCY, JSON, Answer, JsonSchema, Said, ok
from apps.api.reference.routes import Route
from apps.api.reference.shapes import shape_of
from apps.api.reference.typed import schema_of
from apps.apikeys.choices import Scope

IMAGES: Final = "ModelsLab: images"
GENERAL: Final = "ModelsLab: everything else"
MODEL_TAG: Final = "ModelsLab: models"
ENTERPRISE: Final = "ModelsLab: enterprise"
EARLIER: Final = "ModelsLab: earlier paths"
TAGS: Final[Mapping[str, str]] = {
    IMAGES: "Making and editing images, v6 and v7, and fetching them.",
    GENERAL: "Checks of prompts, uploads, what was made, what is left.",
    MODEL_TAG: "Listing, searching and loading models.",
    ENTERPRISE: "The same below /api/v1/enterprise, and the operator's own endpoints.",
    EARLIER: "Paths of earlier versions and of SDKs' mistakes; they do what their successors do.",
}
_EARLIER: Final = re.compile(r"/api/(?:v[345]/|v[67]/(?:images/text2img/text2img|deepfake))")
_IMAGES: Final = re.compile(r"/api/v[67]/(?:images|realtime|image_editing|faceswap|fetch)")
_SERVER: Final = re.compile(r"(/api/v1/enterprise)/([\w-]+)/(.+)")
USUAL: Final = (400, 401, 403, 404, 409, 413, 429, 503)
MAKING: Final = (400, 401, 402, 403, 404, 409, 413, 429, 503)
PNG_LINK: Final = "https://darkroom.example/media/1792065600.Zm94/generations/7d0c…-0.png"
SUCCESS: Final = {
    "status": "success",
    "generationTime": 3.91,
    "id": 1024,
    "output": [PNG_LINK],
    "proxy_links": [PNG_LINK],
    "nsfw_content_detected": False,
    "webhook_status": "",
    "meta": {"prompt": "a red fox", "model_id": "starter", "seed": 7, "width": 512, "height": 512},
}
LINK: Final = {"status": "success", "generationTime": 1.2, "id": 1024, "output": PNG_LINK}
FINDINGS: Final = {"status": "success", "id": 1024, "images": [""], "has_nsfw_concept": [False]}
PENDING: Final = {
    "status": "processing",
    "id": 1024,
    "eta": 2.5,
    "message": "The image is still being generated; try again later.",
    "messege": "The image is still being generated; try again later.",
    "output": "",
}
_SHAPES: Final[Mapping[Shape, tuple[type, Mapping[str, Any]]]] = {
    Shape.IMAGES: (SuccessBody, SUCCESS),
    Shape.LINK: (LinkBody, LINK),
    Shape.WORDS: (SuccessBody, {**SUCCESS, "output": ["a fox in the snow"], "proxy_links": []}),
    Shape.FINDINGS: (FindingsBody, FINDINGS),
}
_ASKED: Final = {"status": "success", "message": "image uploaded", "messege": "image uploaded"}
_PAGES: Final = {"current_page": 1, "per_page": 30, "total": 1, "last_page": 1, "from": 1, "to": 1}
SAID: Final[Mapping[type, Asking]] = {
    general.PromptCheckView: Asking(
        "What a prompt asks for, before anything is made of it",
        {
            "status": "success",
            "is_cp": False,
            "is_nsfw": False,
            "original_prompt": "a red fox",
            "filtered_prompt": "a red fox",
        },
    ),
    general.Base64ToUrlView: Asking(
        "A picture under a link of its own, for a day", {"status": "success", "id": 3, "output": [PNG_LINK]}
    ),
    general.Base64CropView: Asking(
        "A picture, cut to a square, under a link of its own",
        {**_ASKED, "link": PNG_LINK, "request_id": 3},
    ),
    general.UploadImageView: Asking(
        "A picture under a link of its own, as enterprise clients ask for it",
        {**_ASKED, "image_url": PNG_LINK},
    ),
    general.DeleteImageView: Asking(
        "Delete the images of one request",
        {"status": "success", "message": "image deleted", "messege": "image deleted"},
        refusals=(400, 401, 403, 404, 409, 413, 503),
    ),
    general.AssetsGeneratedView: Asking(
        "What you made and what is still there, newest first",
        {"status": "success", "data": [{"id": 1024, "output": [PNG_LINK]}], "pagination": _PAGES},
        overrides={"pagination": {"type": "object", "required": list(_PAGES)}},
    ),
    general.RequestCountView: Asking(
        "How many of your requests are open",
        {
            "status": "success",
            "processing_count": 2,
            "message": "2 requests are queued or being processed",
            "messege": "2 requests are queued or being processed",
        },
    ),
    general.WalletView: Asking(
        "What is left of wallet and credit, in dollars; of the day's calls where no money is needed",
        {"status": "success", "data": {"balance": 4.998, "currency": "USD"}},
        overrides={"data": {"type": "object", "required": ["balance", "currency"]}},
    ),
    general.SubscriptionsView: Asking(
        "Your plan",
        {
            "status": "success",
            "data": [
                {
                    "plan": "studio",
                    "status": "active",
                    "calls_per_day": 1000,
                    "queue_depth": 50,
                    "max_samples": 4,
                    "features": ["img2img", "txt2img"],
                }
            ],
        },
        overrides={"data": {"type": "array", "items": {"type": "object"}}},
    ),
    **MODELS,
}


def more_routes() -> list[Route]:
    """Of fetching, whose paths end in the same way below each family; one pattern reads them all."""
    families = dict.fromkeys(("v6", "v7", *FAMILIES))
    paths = [f"/api/{family}/fetch{tail}" for family in families for tail in ("", "/{job_id}")]
    return [Route(path=path, view=FetchView, options={}) for path in paths]


def gathered(routes: Iterable[Route]) -> list[Route]:
    """The same, with one path for what every enterprise server has: `server` stands for its name."""
    kept: dict[str, Route] = {}
    servers: dict[str, set[str]] = defaultdict(set)
    alone: dict[str, list[Route]] = defaultdict(list)
    for route in routes:
        found = None if route.view is GenerationView else _SERVER.fullmatch(route.path)
        if found is None:
            kept[route.path] = route
            continue
        path = f"{found[1]}/{{server}}/{found[3]}"
        servers[path].add(found[2])
        alone[path].append(route)
    for path, group in alone.items():
        is_everywhere = servers[path] == set(SERVERS)
        kept |= {each.path: each for each in ([replace(group[0], path=path)] if is_everywhere else group)}
    return list(kept.values())


def describe(route: Route, method: str) -> tuple[str, Said] | None:
    """Tag, and what is said; None for a path that is no ModelsLab's."""
    if not route.path.startswith("/api/"):
        return None
    tag = _tag(route)
    if route.view is GenerationView:
        return tag, _generation(route)
    if route.view is FetchView:
        return tag, _fetch(route, method)
    asking = next((SAID[each] for each in route.view.__mro__ if each in SAID), None)
    return None if asking is None else (tag, _asked(route, method, asking))


@cache
def _bodies() -> Mapping[str, JsonSchema]:
    return describe_bodies()


def schemas() -> dict[str, Any]:
    """Bodies of answers, which dozens of paths share; Any: JSON Schema."""
    types = (SuccessBody, LinkBody, FindingsBody, ProcessingBody, PendingBody, FailedBody)
    return {_name(each): schema_of(each) for each in types}


def _name(body: type) -> str:
    return f"ModelsLab{body.__name__}"


def _reference(body: type) -> JsonSchema:
    return {"$ref": f"#/components/schemas/{_name(body)}"}


def _tag(route: Route) -> str:
    if route.path.startswith("/api/v1/"):
        return ENTERPRISE
    if _EARLIER.match(route.path):
        return EARLIER
    if _IMAGES.match(route.path) and route.view in (GenerationView, FetchView):
        return IMAGES
    return MODEL_TAG if any(each in MODELS for each in route.view.__mro__) else GENERAL


def _generation(route: Route) -> Said:
    endpoint: Endpoint = route.options["endpoint"]
    kind, example = _SHAPES[endpoint.shape]
    bodies = [_reference(each) for each in (kind, ProcessingBody, FailedBody)]
    return Said(
        summary=endpoint.summary,
        scope=Scope.IMAGES_GENERATE,
        parameters=(IDEMPOTENCY,),
        body=_bodies()[route.path.removeprefix("/api/")],
        media_types=(JSON, FORM),
        answers=ok(
            "Done (`success`), on its way (`processing`), or ended without images (`error`): see `status`.",
            schema={"anyOf": bodies},
            example=example,
            headers=(*FUNDING, "Idempotent-Replayed"),
        ),
        refusals=MAKING,
    )


def _fetch(route: Route, method: str) -> Said:
    """With the number in the path, or in the body as `request_id`."""
    bodies = [_reference(each) for each in (SuccessBody, LinkBody, FindingsBody, PendingBody, FailedBody)]
    is_in_body = not route.names
    number: dict[str, Any] = {  # Any: JSON Schema
        "request_id": {"type": "integer", "minimum": 1, "description": "the `id` of the request"}
    }
    return Said(
        summary="The state of a request, and its images",
        scope=Scope.JOBS_READ,
        parameters=query_of(number) if is_in_body and method == "get" else (),
        body={"type": "object", "properties": number} if is_in_body and method == "post" else None,
        is_body_required=False,
        media_types=(JSON, FORM),
        answers=ok("As it is.", schema={"anyOf": bodies}, example=SUCCESS),
        refusals=(400, 401, 403, 404, 413, 503),
    )


def _asked(route: Route, method: str, asking: Asking) -> Said:
    """A view that reads the fields of its own table from body and query alike."""
    table: Table = asking.table or getattr(route.view, "table", ())
    schema = table_schema(table)
    required = schema["required"]
    answer = Answer(
        meaning="Done.",
        schema=asking.schema or shape_of(asking.example, **asking.overrides),
        example=asking.example,
        headers=asking.headers,
    )
    return Said(
        summary=asking.summary,
        description=asking.description,
        scope=getattr(route.view, "scope", asking.scope),
        parameters=query_of(schema["properties"]) if method == "get" else (),
        body=schema if method == "post" else None,
        is_body_required=bool(required),
        media_types=(JSON, FORM),
        answers={200: answer} if asking.example is not None else {},
        refusals=asking.refusals,
    )
