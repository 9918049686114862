"""Reads the body of an API request into one flat set of fields, however the client chose to send it.

Knows JSON and forms; knows no field by name. Everything unreadable is a MalformedBody, never an exception of
a parser.
"""

from __future__ import annotations

import json

from django.conf import settings
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.http import HttpRequest, QueryDict, UnreadablePostError
from django.http.multipartparser import MultiPartParserError

from apps.core.errors import BodyTooLarge, MalformedBody

JsonObject = dict[str, object]

# As PHP and what speaks to it write a list in a form.
LIST_MARK = "[]"
FORM_TYPES = frozenset({"application/x-www-form-urlencoded", "multipart/form-data"})


class _RepeatedName(ValueError):
    """An object names a field twice: which one was meant is anybody's guess."""


def read_body(request: HttpRequest) -> bytes:
    """The raw body. Raises BodyTooLarge, unread when its length was announced, and MalformedBody."""
    try:
        return request.body
    except RequestDataTooBig:
        raise BodyTooLarge(limit_mb=settings.MAX_BODY_BYTES // 1_000_000) from None
    except UnreadablePostError:
        raise MalformedBody(problem="ended early") from None


def read_fields(request: HttpRequest) -> JsonObject:
    """The body's fields; empty without a body. Raises MalformedBody and BodyTooLarge.

    What looks like JSON is JSON, whatever its content type says: `curl -d` calls it a form.
    """
    body = read_body(request)
    if not body.strip():
        return {}
    if request.content_type in FORM_TYPES and not body.lstrip().startswith((b"{", b"[")):
        return _read_form(request)
    return parse_object(body)


def read_query(request: HttpRequest) -> JsonObject:
    """The fields of the query string; of a repeated one the last."""
    return {name: request.GET[name] for name in request.GET}


def _read_form(request: HttpRequest) -> JsonObject:
    try:
        form = request.POST
    except (MultiPartParserError, BadRequest, SuspiciousOperation, UnicodeError):
        raise MalformedBody(problem="is not a readable form") from None
    repeated = _repeated(form)
    if repeated:
        raise MalformedBody(problem=f"names the field {json.dumps(repeated[:40])} more than once")
    return {
        name.removesuffix(LIST_MARK): values if name.endswith(LIST_MARK) else values[0]
        for name, values in form.lists()
    }


def _repeated(form: QueryDict) -> str:
    """A name that stands there twice; with brackets behind it it is a list's."""
    plain = [name for name, values in form.lists() if len(values) > 1 and not name.endswith(LIST_MARK)]
    both = [name for name in form if f"{name}{LIST_MARK}" in form]
    return next(iter(plain + both), "")


def parse_object(body: bytes) -> JsonObject:
    """A JSON object in UTF-8. Raises MalformedBody."""
    try:
        # A byte order mark is what some Windows clients put in front; nothing else but UTF-8 is JSON here.
        value = json.loads(body.decode("utf-8-sig"), object_pairs_hook=_unique_names)
    except UnicodeDecodeError:
        raise MalformedBody(problem="is not UTF-8") from None
    except RecursionError:
        raise MalformedBody(problem="is nested too deeply") from None
    except _RepeatedName as error:
        raise MalformedBody(problem=f"names the field {error} more than once") from None
    except json.JSONDecodeError as error:
        raise MalformedBody(problem=f"is not valid JSON: {error.msg} at character {error.pos}") from None
    except ValueError:
        # Python refuses to read numbers of more than 4,300 digits.
        raise MalformedBody(problem="contains a number with too many digits") from None
    if not isinstance(value, dict):
        raise MalformedBody(problem="must be a JSON object")
    return value


def _unique_names(pairs: list[tuple[str, object]]) -> JsonObject:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _RepeatedName(json.dumps(name[:40]))
            seen.add(name)
    return found
