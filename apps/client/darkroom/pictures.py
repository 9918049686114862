"""Pictures in requests: what lies on this machine is uploaded first, and named by its upload.

A text is never taken for a file's name: a program that hands on what its users type would read out its own
files. Paths are pathlib's.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias, runtime_checkable

from darkroom.core import Core, Plan, Request
from darkroom.errors import InvalidRequest, Problem
from darkroom.sending import send

MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
)
DIGEST_CHARS: Final = 64
SHORTEST_BASE64: Final = 100
"""Shorter texts are no pictures."""
Place = tuple[str | int, ...]


class Readable(Protocol):
    """An open file."""

    def read(self) -> bytes: ...


@runtime_checkable
class Saveable(Protocol):
    """An image of Pillow."""

    def save(self, fp: Any, format: str) -> None: ...


Picture: TypeAlias = "str | bytes | os.PathLike[str] | Readable | Saveable"
"""An address, a data URL, base64 or an upload's id as text; a Path, bytes, an open file or a Pillow image."""


def with_uploads(core: Core, fields: Mapping[str, Any], names: frozenset[str]) -> Plan[dict[str, Any]]:
    """`fields` with uploads in place of what lies here; each picture is sent once, however often it is named.

    `names` are those of fields that hold pictures. Raises InvalidRequest for what cannot be one.
    """
    made: dict[Place, str] = {}
    sent: dict[bytes, str] = {}
    for place, value in list(_places(fields, ())):
        if isinstance(value, str):
            if _name_of(place) in names:
                _require_source(place, value)
            continue
        data = _bytes_of(place, value)
        if data not in sent:
            sent[data] = yield from upload(core, data, field=_written(place))
        made[place] = sent[data]
    return {name: _replaced(value, (name,), made) for name, value in fields.items()}


def upload(core: Core, data: bytes, *, field: str = "image") -> Plan[str]:
    """Keep a picture on the server for an hour; the id that stands for it."""
    reply = yield from send(core, upload_request(core, data, field=field))
    return str(reply.json().get("id", ""))


def upload_request(core: Core, data: bytes, *, field: str) -> Request:
    """Raises InvalidRequest for bytes that are no picture."""
    media_type = media_type_of(data)
    if not media_type:
        raise _unusable(field, "is no PNG, JPEG, WebP or GIF")
    headers = {"content-type": media_type, "idempotency-key": core.new_key()}
    return Request(method="POST", path="/v1/uploads", headers=headers, body=data)


def media_type_of(data: bytes) -> str:
    """By the first bytes; "" for what is no picture."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "image/webp"
    return next((media_type for magic, media_type in MAGIC if data.startswith(magic)), "")


def bytes_of(value: bytes | os.PathLike[str] | Readable | Saveable) -> bytes:
    """The picture's file. Raises OSError, and TypeError for what is none of these."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, os.PathLike):
        return Path(value).read_bytes()
    if isinstance(value, Saveable):
        buffer = io.BytesIO()
        value.save(buffer, "PNG")
        return buffer.getvalue()
    data = value.read()
    if not isinstance(data, bytes):
        raise TypeError("the file must be opened in binary mode")
    return data


def _bytes_of(place: Place, value: Any) -> bytes:
    try:
        return bytes_of(value)
    except OSError as error:
        raise _unusable(_written(place), f"cannot be read: {error.strerror or error}: {value}") from None


def _places(value: object, place: Place) -> Iterator[tuple[Place, Any]]:
    """Texts, and everything that is no JSON but may be a picture."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from _places(each, (*place, name))
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from _places(each, (*place, index))
    elif isinstance(value, str | bytes | os.PathLike | Saveable) or hasattr(value, "read"):
        yield place, value


def _replaced(value: Any, place: Place, made: Mapping[Place, str]) -> Any:
    if place in made:
        return made[place]
    if isinstance(value, Mapping):
        return {name: _replaced(each, (*place, name), made) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_replaced(each, (*place, index), made) for index, each in enumerate(value)]
    return value


def _require_source(place: Place, text: str) -> None:
    """The commonest mistake gets an answer of its own."""
    is_address = text.startswith(("http://", "https://", "data:", "part:"))
    if not is_address and len(text) != DIGEST_CHARS and len(text) < SHORTEST_BASE64:
        raise _unusable(
            _written(place),
            f"is text, but no address: for a file of this machine pass pathlib.Path({text!r})",
        )


def _unusable(field: str, problem: str) -> InvalidRequest:
    return InvalidRequest(
        f"{field} {problem}", status=400, code="invalid_field", problems=[Problem(problem, field)]
    )


def _name_of(place: Place) -> str:
    """Of the field, also for items of a list."""
    return next(str(part) for part in reversed(place) if isinstance(part, str))


def _written(place: Place) -> str:
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place)
    return text.removeprefix(".")
