"""What POST /v1/keys takes, and the parameters of lists of keys: one table, as for jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from django.http import QueryDict

from apps.api.bodies import JsonObject
from apps.api.native.errors import FieldRefused
from apps.api.native.readers import Text
from apps.api.native.tables import Field, Items, Table, object_schema, read_table
from apps.api.readers import BadValue, Choice, JsonSchema, Whole, refuse
from apps.apikeys.choices import DEFAULT_SCOPES, Scope
from apps.apikeys.terms import KeyTerms
from apps.core.errors import InvalidField

CREDENTIAL: Final = "key"
DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
MAX_NAMES: Final = 100
MAX_CAP: Final = 2**31 - 1
MAX_ID: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time with its zone."""

    allowed: str = "a time with its zone such as 2027-01-31T00:00:00Z"

    @property
    def schema(self) -> JsonSchema:
        return {"type": "string", "format": "date-time"}

    def __call__(self, value: object) -> datetime:
        try:
            moment = datetime.fromisoformat(value) if isinstance(value, str) else None
        except ValueError:
            moment = None
        if moment is None or moment.tzinfo is None or not 1 < moment.year < 9999:
            raise refuse(self, value)
        # PostgreSQL knows offsets up to 16 hours, Python up to 24.
        return moment.astimezone(UTC)


KEY_FIELDS: Final[Table] = (
    Field("name", "name", Text(max_chars=100), "who or what will use it", is_required=True),
    Field(
        "scopes",
        "scopes",
        Items(each=Choice(Scope), most=len(Scope)),
        f"what it may do; default: those of {', '.join(DEFAULT_SCOPES)} that the asking key has",
    ),
    Field("expires_at", "expires_at", Moment(), "default: when the asking key does"),
    Field(
        "allowed_models",
        "allowed_checkpoints",
        Items(each=Text(max_chars=200), most=MAX_NAMES),
        "names of models it may use; default: those of the asking key",
    ),
    Field(
        "allowed_addresses",
        "allowed_addresses",
        Items(each=Text(max_chars=43), most=MAX_NAMES),
        "networks in CIDR form it works from; default: those of the asking key",
    ),
    Field("daily_cap", "daily_cap", Whole(lowest=0, highest=MAX_CAP), "most calls a day; default: none"),
    Field(
        "monthly_cap",
        "monthly_cap",
        Whole(lowest=0, highest=MAX_CAP),
        "most calls a calendar month; default: none",
    ),
    Field(
        "queue_depth",
        "queue_depth",
        Whole(lowest=0, highest=MAX_CAP),
        "most open requests of it, waiting and running; more are refused; default: none",
    ),
    Field(
        "max_parallel",
        "max_parallel",
        Whole(lowest=1, highest=MAX_CAP),
        "most of its requests that run at once; more wait; default: none",
    ),
)

LIST_PARAMETERS: Final[Mapping[str, tuple[int, str]]] = {
    "limit": (MAX_LIMIT, f"1 to {MAX_LIMIT}, default {DEFAULT_LIMIT}"),
    "cursor": (MAX_ID, "next_cursor of the page before"),
}
"""Parameter -> its highest value, and what it means."""


def describe() -> Mapping[str, JsonSchema]:
    """For documentation: endpoint -> JSON Schema of its body."""
    return {"keys": object_schema(KEY_FIELDS)}


def read_key(fields: JsonObject) -> KeyTerms:
    """What the caller asks for, the rest left out. Raises FieldRefused."""
    given = {name: value for name, value in fields.items() if name != CREDENTIAL}
    try:
        values: dict[str, Any] = dict(read_table(KEY_FIELDS, given))
    except BadValue as error:
        raise FieldRefused(error.path, problem=str(error)) from None
    # Any: each value is what its reader makes of it, and the table names the fields of KeyTerms.
    return KeyTerms(**values)


def renamed(error: InvalidField) -> InvalidField:
    """A service's refusal with the name that the caller used."""
    names = {row.ours: row.theirs for row in KEY_FIELDS}
    return FieldRefused((names.get(error.field, error.field),), problem=error.problem)


def read_list(query: QueryDict) -> tuple[int, int]:
    """Limit, and the number before which the page begins. Raises InvalidField."""
    unknown = sorted(query.keys() - LIST_PARAMETERS.keys() - {CREDENTIAL})
    if unknown:
        known = ", ".join(LIST_PARAMETERS)
        raise InvalidField(
            field=unknown[0][:60], problem=f"is not a parameter of this list; there are {known}"
        )
    return _number(query, "limit", DEFAULT_LIMIT), _number(query, "cursor", MAX_ID)


def _number(query: QueryDict, name: str, default: int) -> int:
    text, (highest, _) = query.get(name, ""), LIST_PARAMETERS[name]
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= highest):
        raise InvalidField(field=name, problem=f"must be a whole number from 1 to {highest}")
    return int(text)
