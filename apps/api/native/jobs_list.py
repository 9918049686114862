"""Pages of an account's jobs: what the query may say, and the rows that it finds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final, TypeVar

from django.db.models import Q
from django.http import QueryDict

from apps.accounts.models import Account
from apps.api.native.readers import MAX_TRACK_CHARS, MAX_TRACK_INT, Text
from apps.api.readers import BadValue, JsonSchema
from apps.artifacts.models import Artifact
from apps.core.errors import InvalidField
from apps.generation.choices import JobState, Kind
from apps.generation.models import GenerationJob

T = TypeVar("T")

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
MAX_ID: Final = 2**63 - 1
CREDENTIAL: Final = "key"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One row of the table: what a value of the query leaves of the jobs."""

    condition: Callable[[str], Q]
    """Raises ValueError with what it must be."""
    schema: JsonSchema
    meaning: str


def _words(name: str, known: Sequence[str]) -> Callable[[str], Q]:
    def condition(text: str) -> Q:
        words = [word.strip() for word in text.split(",") if word.strip()]
        if not words or any(word not in known for word in words):
            raise ValueError(f"must be one or more of {', '.join(known)}, with commas")
        return Q(**{f"{name}__in": words})

    return condition


def _moment(name: str) -> Callable[[str], Q]:
    def condition(text: str) -> Q:
        try:
            # An unescaped plus sign of a zone arrives as a blank.
            moment = datetime.fromisoformat(text.replace(" ", "+"))
            if moment.tzinfo is None or not 1 < moment.year < 9999:
                raise ValueError
        except ValueError:
            raise ValueError("must be a time with its zone such as 2026-03-02T12:00:00Z") from None
        # PostgreSQL knows offsets up to 16 hours, Python up to 24.
        return Q(**{name: moment.astimezone(UTC)})

    return condition


def _track(text: str) -> Q:
    """A query cannot tell a number from a text of digits: both are found."""
    try:
        found = Q(track_id=Text(max_chars=MAX_TRACK_CHARS)(text))
    except BadValue as error:
        raise ValueError(str(error)) from None
    digits = text.removeprefix("-")
    if digits.isascii() and digits.isdigit() and len(digits) < 20 and int(digits) <= MAX_TRACK_INT:
        found |= Q(track_id=int(text))
    return found


def _before(text: str) -> Q:
    return Q(pk__lt=_whole(text, MAX_ID))


def _whole(text: str, highest: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= highest):
        raise ValueError(f"must be a whole number from 1 to {highest}")
    return int(text)


def _words_schema(words: Sequence[str]) -> JsonSchema:
    return {"type": "array", "items": {"type": "string", "enum": list(words)}, "minItems": 1}


_TIME: Final[JsonSchema] = {"type": "string", "format": "date-time"}
PARAMETERS: Final[Mapping[str, Parameter]] = {
    "state": Parameter(
        _words("state", JobState.values), _words_schema(JobState.values), "states, with commas"
    ),
    "kind": Parameter(_words("kind", Kind.values), _words_schema(Kind.values), "kinds, with commas"),
    "track_id": Parameter(_track, {"type": "string", "maxLength": MAX_TRACK_CHARS}, "your own mark"),
    "queued_from": Parameter(_moment("queued_at__gte"), _TIME, "queued then or later"),
    "queued_before": Parameter(_moment("queued_at__lt"), _TIME, "queued before"),
    "cursor": Parameter(
        _before, {"type": "string", "pattern": "^[1-9][0-9]{0,17}$"}, "next_cursor of a page"
    ),
}
LIMIT: Final = "limit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Jobs, newest first, with the images that are still there."""

    items: Sequence[tuple[GenerationJob, Sequence[Artifact]]]
    next_cursor: str | None


def read_page(query: QueryDict, *, account: Account) -> Page:
    """Two queries. Raises InvalidField for the first parameter that is unknown or wrong."""
    limit = _read(LIMIT, lambda text: _whole(text, MAX_LIMIT), query.get(LIMIT) or str(DEFAULT_LIMIT))
    rows = GenerationJob.objects.filter(account=account)
    for name in query:
        if name in (CREDENTIAL, LIMIT):
            continue
        if name not in PARAMETERS:
            known = ", ".join([*PARAMETERS, LIMIT])
            raise InvalidField(field=name[:60], problem=f"is not a parameter of this list; there are {known}")
        # Several of one name are the same as one with commas.
        rows = rows.filter(_read(name, PARAMETERS[name].condition, ",".join(query.getlist(name))))
    found = list(rows.order_by("-pk")[: limit + 1])
    shown = found[:limit]
    images = defaultdict(list)
    for artifact in Artifact.objects.filter(job_id__in=[job.pk for job in shown]).order_by("index"):
        images[artifact.job_id].append(artifact)
    return Page(
        items=[(job, images[job.pk]) for job in shown],
        next_cursor=str(shown[-1].pk) if len(found) > limit else None,
    )


def _read(name: str, read: Callable[[str], T], text: str) -> T:
    try:
        return read(text)
    except ValueError as error:
        raise InvalidField(field=name, problem=str(error)) from None
