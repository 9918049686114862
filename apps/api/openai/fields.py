"""The fields of the OpenAI dialect: one table for reading, refusing, documenting and testing.

FIELDS are read, REFUSED mean something that this version cannot do, IGNORED are accepted without effect. Any
other name is refused, as OpenAI does: a misspelt field would otherwise go unnoticed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from apps.api.bodies import JsonObject
from apps.api.openai.errors import Refusal, invalid
from apps.api.openai.qualities import QUALITIES
from apps.api.openai.readers import Flag, Loras, Number, Pictures, Size, Whole
from apps.api.readers import BadValue, Choice, JsonSchema, Reader, Text, is_unset
from apps.generation.field_rules import MAX_PROMPT_CHARS
from apps.generation.request import MAX_GUIDANCE_SCALE, MAX_LORAS, MAX_REFERENCES, MAX_SEED, MAX_STEPS
from apps.generation.sizes import MIN_SIDE_PX, SIDE_MULTIPLE_PX
from gpu_runtime.messages import Tier

GENERATIONS: Final = "generations"
EDITS: Final = "edits"
VARIATIONS: Final = "variations"
ALL: Final = frozenset({GENERATIONS, EDITS, VARIATIONS})
PROMPTED: Final = frozenset({GENERATIONS, EDITS})
FROM_PICTURE: Final = frozenset({EDITS, VARIATIONS})

MAX_NAME_CHARS = 200
MAX_IMAGES = 10
MAX_SIDE_PX = 4096
URL: Final = "url"
B64_JSON: Final = "b64_json"
TRANSPARENT: Final = "transparent"
MEDIA_TYPES: Final = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


@dataclass(frozen=True, slots=True)
class Field:
    """One row of the table."""

    theirs: str
    ours: str
    """The name in GenerationRequest, or of what `translation` makes of it."""
    read: Reader
    default: str
    """What an unset field means, in words."""
    endpoints: frozenset[str] = ALL
    is_extra: bool = False
    """Whether it is ours, for callers who add it: `extra_body` in their libraries."""


FIELDS: Final = (
    Field("prompt", "prompt", Text(max_chars=MAX_PROMPT_CHARS), "required", PROMPTED),
    Field("prompt", "prompt", Text(max_chars=MAX_PROMPT_CHARS), "none", frozenset({VARIATIONS}), True),
    Field("image", "image", Pictures(most=MAX_REFERENCES), "required", frozenset({EDITS})),
    Field("image", "image", Pictures(most=1), "required", frozenset({VARIATIONS})),
    Field("mask", "mask", Pictures(most=1), "none", frozenset({EDITS})),
    Field("model", "checkpoint", Text(max_chars=MAX_NAME_CHARS), "the server's default model"),
    Field("n", "num_images", Whole(lowest=1, highest=MAX_IMAGES), "1"),
    Field(
        "size",
        "size",
        Size(lowest=MIN_SIDE_PX, highest=MAX_SIDE_PX, multiple_of=SIDE_MULTIPLE_PX),
        "auto: the picture's size, else the model's own",
    ),
    Field("quality", "quality", Choice(tuple(QUALITIES)), "auto", PROMPTED),
    Field("response_format", "response_format", Choice((URL, B64_JSON)), "url for dall-e, else b64_json"),
    Field("background", "background", Choice((TRANSPARENT, "opaque", "auto")), "auto", PROMPTED),
    Field("output_format", "output_format", Choice(tuple(MEDIA_TYPES)), "png", PROMPTED),
    Field("output_compression", "output_quality", Whole(lowest=0, highest=100), "100", PROMPTED),
    Field("moderation", "moderation", Choice(("auto", "low")), "the account's own rule", PROMPTED),
    Field("style", "style", Choice(("vivid", "natural")), "the prompt as it is", frozenset({GENERATIONS})),
    Field("input_fidelity", "input_fidelity", Choice(("low", "high")), "low", frozenset({EDITS})),
    Field("stream", "stream", Flag(), "false", PROMPTED),
    Field("partial_images", "partial_images", Whole(lowest=0, highest=3), "0", PROMPTED),
    Field("user", "user", Text(max_chars=MAX_NAME_CHARS), "none"),
    Field("safety_identifier", "safety_identifier", Text(max_chars=MAX_NAME_CHARS), "user", PROMPTED),
    Field(
        "negative_prompt",
        "negative_prompt",
        Text(max_chars=MAX_PROMPT_CHARS),
        "the model's own",
        is_extra=True,
    ),
    Field("seed", "seed", Whole(lowest=-1, highest=MAX_SEED), "-1: random", is_extra=True),
    Field("steps", "steps", Whole(lowest=1, highest=MAX_STEPS), "by quality", is_extra=True),
    Field(
        "guidance_scale",
        "guidance_scale",
        Number(lowest=0.0, highest=MAX_GUIDANCE_SCALE),
        "the model's own",
        is_extra=True,
    ),
    Field("loras", "loras", Loras(most=MAX_LORAS), "none", is_extra=True),
    Field("tier", "tier", Choice(tuple(tier.value for tier in Tier)), "by quality", is_extra=True),
    Field(
        "strength",
        "strength",
        Number(lowest=0.0, highest=1.0),
        "0.7, with a mask 1; by input_fidelity",
        FROM_PICTURE,
        is_extra=True,
    ),
)

REFUSED: Final[Mapping[str, str]] = {
    "markup": "is not offered by this server: say in the prompt what to change, or send a mask",
    "svg": "is not offered by this server: ask for png, jpeg or webp",
    "frame_count": "is not offered by this server: it makes single images",
    "frame_duration_ms": "is not offered by this server: it makes single images",
}

IGNORED: Final[Mapping[str, str]] = {
    "complexity": "how much their models plan before they draw; models here draw at once",
}

# The same in words that newer descriptions of their API use.
ALIASES: Final[Mapping[str, str]] = {"images": "image"}


def fields_of(endpoint: str) -> tuple[Field, ...]:
    """The rows that count at one endpoint."""
    return tuple(field for field in FIELDS if endpoint in field.endpoints)


THEIRS: Final[Mapping[str, str]] = {field.ours: field.theirs for field in FIELDS} | {
    # Names in refusals of `GenerationRequest` and of what comes after it.
    "width": "size",
    "height": "size",
    "aspect_ratio": "size",
    "upscale": "size",
    "upscale_factor": "size",
    "upscale_width": "size",
    "upscale_height": "size",
    "upscaler": "quality",
    "references": "image",
    "lora_scale": "loras",
    "output_media_type": "output_format",
}
"""Our names to theirs, for refusals."""


def read_values(fields: JsonObject, endpoint: str) -> dict[str, object]:
    """What is set, by our names. Raises Refusal for the first field that is wrong, missing or unknown."""
    given = {ALIASES.get(name, name): value for name, value in fields.items() if not is_unset(value)}
    rows = {field.theirs: field for field in fields_of(endpoint)}
    values: dict[str, object] = {}
    for name, value in given.items():
        if name in REFUSED:
            raise invalid(name, f"{name} {REFUSED[name]}.", code="unsupported_parameter")
        if name in IGNORED:
            continue
        if name not in rows:
            raise invalid(name, f"Unknown parameter: {name[:80]!a}.", code="unknown_parameter")
        try:
            values[rows[name].ours] = rows[name].read(value)
        except BadValue as error:
            raise invalid(name, f"{name} {error}.") from None
    _require(rows, values)
    return values


def _require(rows: Mapping[str, Field], values: Mapping[str, object]) -> None:
    for name, field in rows.items():
        if field.default == "required" and field.ours not in values:
            raise missing(name)


def missing(name: str) -> Refusal:
    """Theirs, word by word."""
    return invalid(name, f"Missing required parameter: '{name}'.", code="missing_required_parameter")


def describe() -> Mapping[str, JsonSchema]:
    """The table for documentation: endpoint -> JSON Schema of its body."""
    return {endpoint: _body_schema(fields_of(endpoint)) for endpoint in (GENERATIONS, EDITS, VARIATIONS)}


def _body_schema(fields: tuple[Field, ...]) -> JsonSchema:
    properties: dict[str, JsonSchema] = {}
    for field in fields:
        origin = " An addition of this server." if field.is_extra else ""
        description = f"{field.read.allowed}; default: {field.default}.{origin}"
        properties[field.theirs] = field.read.schema | {"description": description}
    properties |= {name: {"description": f"Ignored: {reason}."} for name, reason in IGNORED.items()}
    return {
        "type": "object",
        "properties": properties,
        "required": [field.theirs for field in fields if field.default == "required"],
        # Anything else is refused by its name.
        "additionalProperties": False,
    }
