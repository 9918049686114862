"""Tokens of forms: made when a page is shown, so that a second click is the same wish."""

from __future__ import annotations

from typing import Final

from apps.core.errors import InvalidField

TOKEN_CHARS: Final = range(8, 65)


def require_token(token: str) -> None:
    """Raises InvalidField for what cannot be a token of ours."""
    if len(token) not in TOKEN_CHARS or not token.isascii() or not token.isprintable():
        raise InvalidField(field="token", problem="is not one of a form of ours; reload the page")
