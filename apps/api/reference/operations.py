"""What the reference says of one endpoint, whichever dialect it belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

JsonSchema = Mapping[str, object]

JSON: Final = "application/json"
FORM: Final = "multipart/form-data"
EVENTS: Final = "text/event-stream"
PROBLEM: Final = "application/problem+json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameter:
    """A value outside the body."""

    name: str
    place: str
    """query, path or header."""
    schema: JsonSchema
    meaning: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What comes with one status."""

    meaning: str
    media_type: str = JSON
    schema: JsonSchema | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation:
    """One method of one path."""

    path: str
    method: str
    """In lower case."""
    tag: str
    """The dialect."""
    summary: str
    answers: Mapping[int, Answer]
    parameters: tuple[Parameter, ...] = ()
    body: JsonSchema | None = None
    media_types: tuple[str, ...] = (JSON,)
    """In which the body may come."""
    examples: Mapping[str, JsonSchema] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """Unique in the document; SDK generators name functions by it."""
        words = [part.strip("{}") for part in self.path.split("/") if part]
        return "_".join([self.method, *words]).replace(".", "_")


IDEMPOTENCY: Final = Parameter(
    name="Idempotency-Key",
    place="header",
    schema={"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!-~]([ -~]*[!-~])?$"},
    meaning="A repeat with the same key within 48 hours gets the first answer, and makes nothing anew.",
)
