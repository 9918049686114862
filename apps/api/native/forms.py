"""Reads the body of a job or upload: JSON, or a form whose files are its pictures.

In a form, text and pictures stand for themselves and everything else is JSON: `num_images` is `2`, `loras` is
`[{"name": "ink"}]`. A file goes where its field is, `references` several times for a list; inside objects,
`part:NAME` stands for the file of that name.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Final

from django.core.exceptions import BadRequest, SuspiciousOperation
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParserError

from apps.api.bodies import JsonObject, read_body, read_fields
from apps.api.native.readers import Picture, Ratio, Text, TrackId
from apps.api.native.tables import Items, Table
from apps.api.readers import Choice
from apps.core.errors import InvalidField, MalformedBody
from apps.generation.idempotency import IdempotencyClaim, make_claim

MULTIPART: Final = "multipart/form-data"
PART: Final = "part:"
AS_TEXT: Final = (Text, Choice, Ratio, Picture, TrackId)
MAX_DEPTH: Final = 8


def read_request(http: HttpRequest, table: Table) -> JsonObject:
    """The fields of the body. Raises MalformedBody, BodyTooLarge and InvalidField."""
    if http.content_type != MULTIPART:
        return read_fields(http)
    # Reads the body first, so that one that is too large or cut off is refused by its name.
    texts = _texts(http)
    try:
        files = {name: [file.read() for file in http.FILES.getlist(name)] for name in http.FILES}
    except (MultiPartParserError, BadRequest, SuspiciousOperation, UnicodeError):
        raise MalformedBody(problem="is not a readable form") from None
    rows = {row.theirs: row for row in table}
    plain = {name for name, row in rows.items() if isinstance(row.read, AS_TEXT)}
    fields = {name: text if name in plain else _parsed(text) for name, text in texts.items()}
    with_files = {name: _with_parts(value, files) for name, value in fields.items()}
    for name, contents in files.items():
        if name in rows:
            _require_once(name, with_files)
            with_files[name] = contents if isinstance(rows[name].read, Items) else _only(name, contents)
    return with_files


def _texts(http: HttpRequest) -> dict[str, str]:
    read_body(http)
    try:
        form = http.POST
    except (MultiPartParserError, BadRequest, SuspiciousOperation, UnicodeError):
        raise MalformedBody(problem="is not a readable form") from None
    for name, values in form.lists():
        if len(values) > 1:
            raise MalformedBody(problem=f"names the field {json.dumps(name[:40])} more than once")
    return {name: form[name] for name in form}


def _parsed(text: str) -> object:
    """JSON as what it is, other text as text, which the field's reader will refuse with what it takes."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _with_parts(value: object, files: Mapping[str, list[bytes]], depth: int = 0) -> object:
    """`value` with files in place of `part:NAME`."""
    if isinstance(value, str) and value.startswith(PART):
        name = value.removeprefix(PART)
        if name not in files:
            raise InvalidField(field=name[:60] or PART, problem="is no file of the form")
        return _only(name, files[name])
    if depth < MAX_DEPTH and isinstance(value, list):
        return [_with_parts(each, files, depth + 1) for each in value]
    if depth < MAX_DEPTH and isinstance(value, dict):
        return {name: _with_parts(each, files, depth + 1) for name, each in value.items()}
    return value


def _require_once(name: str, fields: Mapping[str, object]) -> None:
    if name in fields:
        raise MalformedBody(problem=f"has the field {name} as text and as a file")


def _only(name: str, contents: list[bytes]) -> bytes:
    if len(contents) != 1:
        raise InvalidField(field=name, problem=f"must be one file, not {len(contents)}")
    return contents[0]


def claim_of(http: HttpRequest, fields: JsonObject) -> IdempotencyClaim | None:
    """The request's idempotency claim, if it makes one. Raises InvalidIdempotencyKey.

    Made from the fields, not from the body: a library that sends a form again draws another boundary for it.
    """
    key = http.headers.get("Idempotency-Key")
    if key is None:
        return None
    meant = json.dumps(fields, sort_keys=True, default=_digest).encode("ascii")
    return make_claim(key=key, method="POST", path=http.path, body=meant)


def _digest(value: object) -> str:
    """A file, for a text that stands for the request."""
    assert isinstance(value, bytes)
    return hashlib.sha256(value).hexdigest()
