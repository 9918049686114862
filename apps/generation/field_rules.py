"""Ranges and texts that the fields of a request are held to: one sentence a rule, with value and range."""

from __future__ import annotations

from apps.core.errors import InvalidField

MAX_PROMPT_CHARS = 32_000
"""What the most generous dialect takes; others may take less."""


def require_range(field: str, value: float | None, lowest: float, highest: float) -> None:
    """Both ends are allowed, and so is None. Raises InvalidField."""
    # NaN compares false with everything, so this refuses it as well.
    if value is not None and not lowest <= value <= highest:
        raise InvalidField(field=field, problem=f"must be {lowest} to {highest}, not {value}")


def require_count(field: str, count: int, most: int) -> None:
    """Raises InvalidField for more than `most`."""
    if count > most:
        raise InvalidField(field=field, problem=f"must be at most {most}, not {count}")


def require_text(field: str, value: str, *, minimum: int) -> None:
    """From `minimum` characters, blanks around not counted. Raises InvalidField."""
    if len(value.strip()) < minimum:
        raise InvalidField(field=field, problem="is required")
    if len(value) > MAX_PROMPT_CHARS:
        raise InvalidField(
            field=field, problem=f"must be at most {MAX_PROMPT_CHARS} characters, not {len(value)}"
        )
    require_storable(field, value)


def require_storable(field: str, value: str) -> None:
    """PostgreSQL stores neither, so that either would end as a server error."""
    if "\0" in value:
        raise InvalidField(field=field, problem="must not contain the character NUL (U+0000)")
    if any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidField(field=field, problem="must not contain half of a surrogate pair")
