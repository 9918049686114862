"""The OpenAI Images dialect in the reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from apps.api.openai.fields import GENERATIONS
from apps.api.openai.fields import describe as describe_bodies
from apps.api.openai.models_views import Model, ModelListView, ModelView
from apps.api.openai.render import Image, Usage
from apps.api.openai.views import ImagesView
from apps.api.reference.headers import FUNDING
from apps.api.reference.operations import FORM, IDEMPOTENCY, JSON, PIXEL, Said, ok
from apps.api.reference.routes import Route
from apps.api.reference.typed import schema_of
from apps.apikeys.choices import Scope

TAG: Final = "OpenAI: images and models"
TAGS: Final[Mapping[str, str]] = {
    TAG: "OpenAI's paths and bodies, below /v1 and /openai/v1: either is a `base_url` for its libraries.",
}
SUMMARIES: Final = {
    "generations": "Images from a prompt",
    "edits": "Change pictures by a prompt, or one where a mask says",
    "variations": "Pictures like this one",
}
MODEL: Final = {"id": "starter", "object": "model", "created": 1_772_352_000, "owned_by": "local"}
IMAGES: Final = {
    "created": 1_772_452_804,
    "data": [{"b64_json": "iVBORw0KGgoAAAANSUhEUg…"}],
    "background": "opaque",
    "output_format": "png",
    "quality": "medium",
    "size": "512x512",
    "usage": {
        "input_tokens": 3,
        "input_tokens_details": {"text_tokens": 3, "image_tokens": 0},
        "output_tokens": 256,
        "output_tokens_details": {"text_tokens": 0, "image_tokens": 256},
        "total_tokens": 259,
    },
}
_BODY: Final[Mapping[str, Any]] = {  # Any: JSON Schema
    "type": "object",
    "required": list(IMAGES),
    "properties": {
        "created": {"type": "integer"},
        "data": {"type": "array", "items": schema_of(Image)},
        **{name: {"type": "string"} for name in ("background", "output_format", "quality", "size")},
        "usage": schema_of(Usage),
        "safety_identifier": {"type": "string"},
    },
}
_EXAMPLES: Final[Mapping[str, Mapping[str, object]]] = {
    "generations": {"model": "starter", "prompt": "a red fox", "size": "512x512"},
    "edits": {"model": "starter", "prompt": "a red fox", "image": f"data:image/png;base64,{PIXEL}"},
    "variations": {"model": "starter", "image": f"data:image/png;base64,{PIXEL}"},
}


def more_routes() -> list[Route]:
    """Of single models, whose names may have slashes."""
    return [Route(path="/openai/v1/models/{name}", view=ModelView, options={})]


def describe(route: Route, method: str) -> tuple[str, Said] | None:
    """Tag, and what is said."""
    if route.view is ImagesView:
        return TAG, _making(route.options["endpoint"])
    if route.view is ModelListView:
        data = {"type": "array", "items": schema_of(Model)}
        schema = {
            "type": "object",
            "required": ["object", "data"],
            "properties": {"object": {"const": "list"}, "data": data},
        }
        return TAG, _reading("Models that requests may name", schema, {"object": "list", "data": [MODEL]})
    if route.view is ModelView:
        return TAG, _reading("One model", schema_of(Model), MODEL, 404)
    return None


def _making(endpoint: str) -> Said:
    return Said(
        summary=SUMMARIES[endpoint],
        description="With `stream: true` the answer is a stream of server-sent events instead.",
        scope=Scope.IMAGES_GENERATE,
        parameters=(IDEMPOTENCY,),
        body=describe_bodies()[endpoint],
        media_types=(JSON,) if endpoint == GENERATIONS else (FORM, JSON),
        examples={"an image": _EXAMPLES[endpoint]},
        answers=ok(
            "The images, however long they take.",
            schema=_BODY,
            example=IMAGES,
            headers=("X-Darkroom-Job", "X-Darkroom-Tier", *FUNDING, "Idempotent-Replayed"),
        ),
        refusals=(400, 401, 403, 404, 409, 413, 429, 500, 503),
    )


def _reading(summary: str, schema: Mapping[str, Any], example: object, *refusals: int) -> Said:
    return Said(
        summary=summary,
        scope=Scope.MODELS_READ,
        answers=ok("As it is.", schema=schema, example=example),
        refusals=(401, 403, *refusals, 503),
    )
