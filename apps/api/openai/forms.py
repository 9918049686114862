"""Reads a body of this dialect into one object, JSON and multipart alike.

In forms, `image[]` several times is a list, `svg[model]` an object, and a file is its bytes. Nothing of the
body stays with the request: it may wait for minutes, as one of many.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from django.conf import settings
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import HttpRequest, QueryDict, UnreadablePostError
from django.http.multipartparser import MultiPartParserError

from apps.api.bodies import JsonObject, parse_object
from apps.core.errors import BodyTooLarge, MalformedBody

MULTIPART = "multipart/form-data"
URLENCODED = "application/x-www-form-urlencoded"
NAME = re.compile(r"(?P<name>[^\[\]]+)(\[(?P<key>[^\[\]]*)\])?")

Part = tuple[str, str | bytes]


def read_request(http: HttpRequest) -> JsonObject:
    """The fields of the request. Raises MalformedBody and BodyTooLarge."""
    _require_length(http)
    try:
        if http.content_type == MULTIPART:
            return _nested(list(_parts(http)))
        body = http.read()
        if http.content_type == URLENCODED and not body.lstrip().startswith((b"{", b"[")):
            return _nested(list(_pairs(QueryDict(body, encoding=http.encoding))))
    except UnreadablePostError:
        raise MalformedBody(problem="ended early") from None
    except (MultiPartParserError, BadRequest, SuspiciousOperation, UnicodeError):
        raise MalformedBody(problem="is not a readable form") from None
    return parse_object(body) if body.strip() else {}


def _require_length(http: HttpRequest) -> None:
    """Bodies without an announced length have got one from `ChunkedBodyMiddleware`."""
    length = http.META.get("CONTENT_LENGTH") or "0"
    if not length.isdigit() or int(length) > settings.MAX_BODY_BYTES:
        raise BodyTooLarge(limit_mb=settings.MAX_BODY_BYTES // 1_000_000)


def _pairs(form: QueryDict) -> Iterator[Part]:
    for name, values in form.lists():
        yield from ((name, value) for value in values)


def _parts(http: HttpRequest) -> Iterator[Part]:
    yield from _pairs(http.POST)
    for name, files in http.FILES.lists():
        yield from ((name, file.read()) for file in files)
    # Gives back the memory and the temporary files of the parts.
    http.close()


def _nested(parts: list[Part]) -> JsonObject:
    """Raises MalformedBody for a name that is used in two ways."""
    found: JsonObject = {}
    for written, value in parts:
        match = NAME.fullmatch(written)
        name, key = (match["name"], match["key"]) if match else (written, None)
        try:
            found[name] = _joined(found.get(name), key, value)
        except ValueError:
            raise MalformedBody(problem=f"names the field {name[:40]!a} more than once") from None
    return found


def _joined(before: object, key: str | None, value: str | bytes) -> object:
    """What a name stands for with one part more; `key` is what is in its brackets, None without any.

    Several files may come under one name, with or without brackets. Raises ValueError where parts do not go
    together.
    """
    if key:
        if not isinstance(before, dict | None) or key in (before or {}):
            raise ValueError(key)
        return {**(before or {}), key: value}
    if key is None and isinstance(value, str):
        if before is not None:
            raise ValueError(value)
        return value
    if not isinstance(before, list | None):
        raise ValueError(key)
    return [*(before or ()), value]
