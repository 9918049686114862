"""From a body to a GenerationRequest: read by the table, pictures taken in all at once, parts made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from apps.api.bodies import JsonObject
from apps.api.native.errors import FieldRefused
from apps.api.native.jobs_fields import FIELDS, JOB_FIELDS
from apps.api.native.tables import Draft, Part, Table, read_table
from apps.api.readers import BadValue, Path
from apps.core.errors import InvalidField
from apps.generation.choices import Kind
from apps.generation.pictures import (
    Brought,
    BytesSource,
    PictureSource,
    UploadSource,
    UrlSource,
    take_pictures,
)
from apps.generation.request import GenerationRequest
from apps.generation.wishes import BackgroundWish, StoredPicture, UpscaleWish
from apps.webhooks.wishes import WebhookWish

CREDENTIAL: Final = "key"
DIALECT: Final = "native"
SOURCES: Final = (UrlSource, BytesSource, UploadSource)
OTHER_PATHS: Final[Mapping[str, Path]] = {
    "upscaler": ("upscale", "upscaler"),
    "reference": ("face_swap", "reference"),
    "lora_scale": ("loras",),
    "control_scale": ("controls",),
    "ip_adapter_scale": ("ip_adapters",),
}
"""Our names of what lies deeper, as services refuse it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A body, read and not yet acted on: no picture has been fetched."""

    values: Mapping[str, object]
    """By our names, those that are set."""

    @property
    def track_id(self) -> str | int | None:
        value = self.values.get("track_id")
        assert isinstance(value, str | int | None)  # as its reader makes it
        return value

    @property
    def webhook(self) -> WebhookWish | None:
        """Raises InvalidField."""
        url = self.values.get("webhook")
        return WebhookWish(url=url, dialect=DIALECT) if isinstance(url, str) else None


def read_asked(fields: JsonObject, table: Table = JOB_FIELDS) -> Asked:
    """Raises FieldRefused for the first field that is unknown, missing or wrong."""
    given = {name: value for name, value in fields.items() if name != CREDENTIAL}
    try:
        return Asked(values=read_table(table, given))
    except BadValue as error:
        raise FieldRefused(error.path, problem=str(error)) from None


def take_request(asked: Asked, *, account_id: int, now: datetime) -> GenerationRequest:
    """The request with its pictures stored, the account's uploads among them. Raises FieldRefused."""
    sources = list(_sources(asked.values, FIELDS, ()))
    brought = [Brought(_text_of(path), source) for path, source in sources]
    try:
        stored = take_pictures(brought, now=now, account_id=account_id) if brought else []
    except InvalidField as error:
        path = next((path for path, _ in sources if _text_of(path) == error.field), (error.field,))
        raise FieldRefused(path, problem=error.problem) from None
    pictures = {path: picture for (path, _), picture in zip(sources, stored, strict=True)}
    names = {row.ours: row.theirs for row in FIELDS}
    wanted: dict[str, Any] = {  # Any: each value is what its reader and its part make of it
        name: _made(value, (names[name],), pictures) for name, value in asked.values.items() if name in names
    }
    _fill_in(wanted)
    try:
        return GenerationRequest(**wanted)
    except InvalidField as error:
        raise renamed(error) from None


def renamed(error: InvalidField) -> InvalidField:
    """A refusal in our own words, with the path in the caller's body."""
    if isinstance(error, FieldRefused):
        return error
    path = _path_of(error.field)
    return error if path is None else FieldRefused(path, problem=error.problem)


def _path_of(ours: str) -> Path | None:
    """None for what is no field of the body: a header."""
    if ours in OTHER_PATHS:
        return OTHER_PATHS[ours]
    for row in JOB_FIELDS:
        if row.ours == ours:
            return (row.theirs,)
    for row in FIELDS:
        if isinstance(row.read, Part) and ours.startswith(f"{row.ours}_"):
            return (row.theirs, *_inner(row.read.table, ours))
    return None


def _fill_in(wanted: dict[str, Any]) -> None:
    """Kinds that are named like their part mean it by themselves."""
    match wanted.get("kind"):
        case Kind.UPSCALE:
            wanted.setdefault("upscale", UpscaleWish())
        case Kind.REMOVE_BACKGROUND:
            wanted.setdefault("background", BackgroundWish())


def _sources(values: Mapping[str, object], table: Table, path: Path) -> Iterator[tuple[Path, PictureSource]]:
    for row in table:
        if row.ours in values:
            yield from _sources_in(values[row.ours], (*path, row.theirs))


def _sources_in(value: object, path: Path) -> Iterator[tuple[Path, PictureSource]]:
    if isinstance(value, SOURCES):
        yield path, value
    elif isinstance(value, Draft):
        yield from _sources(value.values, value.table, path)
    elif isinstance(value, tuple):
        for index, each in enumerate(value):
            yield from _sources_in(each, (*path, index))


def _made(value: object, path: Path, pictures: Mapping[Path, StoredPicture]) -> object:
    """`value` with pictures in place of their sources, and parts in place of drafts."""
    if isinstance(value, SOURCES):
        return pictures[path]
    if isinstance(value, tuple):
        return tuple(_made(each, (*path, index), pictures) for index, each in enumerate(value))
    if not isinstance(value, Draft):
        return value
    names = {row.ours: row.theirs for row in value.table}
    inner = {name: _made(each, (*path, names[name]), pictures) for name, each in value.values.items()}
    try:
        return value.make(**inner)
    except InvalidField as error:
        raise FieldRefused((*path, *_inner(value.table, error.field)), problem=error.problem) from None


def _inner(table: Table, ours: str) -> Path:
    """The row that a refusal such as `mask_blur_px` speaks of; () for the part as a whole."""
    field = ours.removesuffix("_px")
    for row in table:
        stem = row.ours.removesuffix("_px")
        if field == stem or field.endswith(f"_{stem}"):
            return (row.theirs,)
    return ()


def _text_of(path: Path) -> str:
    return FieldRefused(path, problem="").field
