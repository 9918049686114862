"""Opaque marks of a place in a list: the last entry's key, signed together with the list it belongs to."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from apps.catalog.errors import InvalidCursor
from apps.core.signing import is_genuine, signature

PURPOSE: Final = "catalog.cursor"
MAX_CHARS: Final = 1000

KeyValue = int | float | str | datetime


def write_cursor(key: Sequence[KeyValue], *, scope: str) -> str:
    """The cursor behind the entry with this key, good for lists of the same `scope` only."""
    values = [value.isoformat() if isinstance(value, datetime) else value for value in key]
    text = base64.urlsafe_b64encode(json.dumps(values, separators=(",", ":")).encode()).decode().rstrip("=")
    return f"{text}.{signature(PURPOSE, _message(text, scope))}"


def read_cursor(cursor: str, *, scope: str, kinds: Sequence[type]) -> list[KeyValue]:
    """The key of a cursor that we wrote for this scope. Raises InvalidCursor for any other text."""
    text, _, mark = cursor.partition(".")
    is_text = cursor.isascii() and len(cursor) <= MAX_CHARS
    if not is_text or not is_genuine(PURPOSE, _message(text, scope), mark):
        raise InvalidCursor(problem="was changed, or belongs to another list")
    values = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return [
        datetime.fromisoformat(value) if kind is datetime else value
        for value, kind in zip(values, kinds, strict=True)
    ]


def _message(text: str, scope: str) -> str:
    return f"{text}\0{scope}"
