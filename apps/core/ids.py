"""Identifiers made outside the database."""

from __future__ import annotations

import secrets
import string

ALPHABET = string.ascii_lowercase + string.digits


def random_token(length: int) -> str:
    """`length` characters of [a-z0-9] from the system's secure source; 5.17 bits each."""
    return "".join(secrets.choice(ALPHABET) for _ in range(length))


def new_request_id() -> str:
    """Names one HTTP request in responses and logs."""
    return f"req_{random_token(20)}"
