"""What requests about webhooks may say: one table an endpoint, read strictly."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.http import QueryDict

from apps.api.bodies import JsonObject
from apps.core.errors import InvalidField
from apps.webhooks.choices import DeliveryState

DEFAULT_LIMIT: Final = 20
MAX_LIMIT: Final = 100
MAX_ID: Final = 2**63 - 1
DEFAULT_OVERLAP: Final = timedelta(days=1)
DEFAULT_SINCE: Final = timedelta(days=1)
CREDENTIAL: Final = "key"

Read = Callable[[object], object]


def _url(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be a URL")
    return value


def _seconds(value: object) -> timedelta:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("must be a number of seconds")
    if abs(value) > 10**9:
        raise ValueError("must be a number of seconds of at most a few days")
    return timedelta(seconds=value)


def _moment(value: object) -> datetime:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        moment = None
    if moment is None:
        raise ValueError("must be a time such as 2026-03-02T12:00:00Z")
    if not 1 < moment.year < 9999:
        raise ValueError("must be a time of this era such as 2026-03-02T12:00:00Z")
    # PostgreSQL knows offsets up to 16 hours, Python up to 24.
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def _number(value: object) -> int:
    text = str(value)
    if not (text.isascii() and text.isdigit() and len(text) < 20 and 1 <= int(text) <= MAX_ID):
        raise ValueError("must be a whole number from 1")
    return int(text)


def _state(value: object) -> DeliveryState:
    if value not in DeliveryState.values:
        raise ValueError(f"must be one of {', '.join(DeliveryState)}")
    return DeliveryState(value)


TEST_FIELDS: Final[Mapping[str, tuple[Read, str]]] = {
    "url": (_url, "where to send the test; it goes to a disabled endpoint, too"),
}
SECRET_FIELDS: Final[Mapping[str, tuple[Read, str]]] = {
    "overlap_s": (_seconds, "how long the secret before signs as well: 0 to 604800, 86400 when left out"),
}
REPLAY_FIELDS: Final[Mapping[str, tuple[Read, str]]] = {
    "since": (_moment, "deliveries given up from then on; the last 24 hours when left out"),
    "url": (_url, "only those to this endpoint; its query does not matter"),
}
LIST_PARAMETERS: Final[Mapping[str, tuple[Read, str]]] = {
    "state": (_state, "waiting, sending, delivered or failed"),
    "job_id": (_number, "the delivery about this job"),
    "limit": (_number, "how many, 1 to 100; 20 when left out"),
    "cursor": (_number, "next_cursor of the page before"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryQuery:
    """A request for one page of deliveries."""

    state: DeliveryState | None
    job_id: int | None
    limit: int
    before: int | None
    """Only deliveries with a smaller number."""


def read_query(query: QueryDict) -> DeliveryQuery:
    """The parameters of the list. Raises InvalidField for the first that is unknown or wrong."""
    given = {name: query[name] for name in query if name != CREDENTIAL and query[name]}
    values = read_body_fields(given, LIST_PARAMETERS)
    limit = values.get("limit", DEFAULT_LIMIT)
    state, job_id, before = values.get("state"), values.get("job_id"), values.get("cursor")
    assert isinstance(limit, int)  # as _number reads it, and so are those below
    assert isinstance(state, DeliveryState | None)
    assert isinstance(job_id, int | None)
    assert isinstance(before, int | None)
    if limit > MAX_LIMIT:
        raise InvalidField(field="limit", problem=f"must be a whole number from 1 to {MAX_LIMIT}")
    return DeliveryQuery(state=state, job_id=job_id, limit=limit, before=before)


def read_body_fields(
    fields: Mapping[str, object], table: Mapping[str, tuple[Read, str]]
) -> dict[str, object]:
    """Values by name; unset fields are left out. Raises InvalidField for the first unknown or wrong one."""
    unknown = sorted(fields.keys() - table.keys() - {CREDENTIAL})
    if unknown:
        raise InvalidField(field=unknown[0][:60], problem=f"is not known here; there are {', '.join(table)}")
    values = {}
    for name, (read, _) in table.items():
        if fields.get(name) is None:
            continue
        try:
            values[name] = read(fields[name])
        except ValueError as error:
            raise InvalidField(field=name, problem=str(error)) from None
    return values


def required_url(fields: JsonObject) -> str:
    """The URL of a test. Raises InvalidField."""
    url = read_body_fields(fields, TEST_FIELDS).get("url")
    if not isinstance(url, str):
        raise InvalidField(field="url", problem="is required")
    return url


def overlap_of(fields: JsonObject) -> timedelta:
    """How long the secret before goes on. Raises InvalidField."""
    overlap = read_body_fields(fields, SECRET_FIELDS).get("overlap_s", DEFAULT_OVERLAP)
    assert isinstance(overlap, timedelta)  # as _seconds reads it
    return overlap


def replay_of(fields: JsonObject, *, now: datetime) -> tuple[datetime, str | None]:
    """Since when, and to which URL alone. Raises InvalidField."""
    values = read_body_fields(fields, REPLAY_FIELDS)
    since, url = values.get("since", now - DEFAULT_SINCE), values.get("url")
    assert isinstance(since, datetime)  # as _moment reads it
    assert isinstance(url, str | None)
    return since, url
