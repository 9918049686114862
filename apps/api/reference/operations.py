"""What the reference says of one method of one path, whichever dialect it belongs to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from apps.api.reference.routes import Route
from apps.apikeys.choices import Scope

PIXEL: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
"""A whole PNG as base64, for examples."""
JsonSchema = Mapping[str, object]

JSON: Final = "application/json"
FORM: Final = "multipart/form-data"
EVENTS: Final = "text/event-stream"
PROBLEM: Final = "application/problem+json"
TEXT: Final = "text/plain"
PNG: Final = "image/png"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A value outside the body."""

    name: str
    place: str
    """query, path or header."""
    schema: JsonSchema
    meaning: str = ""
    is_required: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What comes with one status."""

    meaning: str
    media_type: str = JSON
    schema: JsonSchema | None = None
    example: object = None
    headers: tuple[str, ...] = ()
    """Of `headers.HEADERS`, beside those that every answer has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What is said of a method of a view, wherever the view is mounted."""

    summary: str
    answers: Mapping[int, Answer]
    """Those that are no refusals."""
    refusals: tuple[int, ...] = ()
    """Statuses of the dialect's refusals."""
    description: str = ""
    scope: Scope | None = None
    """What the key must allow; None for what needs no key, or any."""
    is_public: bool = False
    """Whether no key is needed."""
    parameters: tuple[Parameter, ...] = ()
    body: JsonSchema | None = None
    is_body_required: bool = True
    media_types: tuple[str, ...] = (JSON,)
    """In which the body may come."""
    examples: Mapping[str, JsonSchema] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    path: str
    method: str
    """In lower case."""
    tag: str
    dialect: str
    """Whose shape refusals have: a key of `refusals.REFUSALS`."""
    said: Said
    parameters: tuple[Parameter, ...]
    """Those of the path first."""

    @property
    def id(self) -> str:
        """Unique in the document; SDK generators name functions by it."""
        words = [part.strip("{}") for part in self.path.split("/") if part]
        text = "_".join([self.method, *words])
        return "".join(character if character.isalnum() or character in "_-" else "_" for character in text)

    @property
    def statuses(self) -> tuple[int, ...]:
        """Every status that is promised, in order."""
        return tuple(sorted({*self.said.answers, *self.said.refusals}))

    @property
    def has_quota_headers(self) -> bool:
        """What asks for images is told what is left of the day."""
        return self.said.scope == Scope.IMAGES_GENERATE


Describe = Callable[[Route, str], Operation | None]
"""A dialect's word on a method of a route; None for a route of somebody else."""

IDEMPOTENCY: Final = Parameter(
    name="Idempotency-Key",
    place="header",
    schema={"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!-~]([ -~]*[!-~])?$"},
    meaning="A repeat with the same key within 48 hours gets the first answer, and makes nothing anew.",
)


def ok(meaning: str, **more: Any) -> dict[int, Answer]:  # Any: fields of Answer
    """A success by 200."""
    return {int(HTTPStatus.OK): Answer(meaning=meaning, **more)}
