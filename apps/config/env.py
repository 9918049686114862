"""Typed readers of the environment: the only user of `os.environ` in the product.

Each reader refuses a malformed value by name instead of falling back to the default. Every name
that is read is remembered, so that a test can hold `deploy/env.example` against the settings.
"""

from __future__ import annotations

import os
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

TRUE_WORDS = frozenset({"1", "true", "yes", "on"})
FALSE_WORDS = frozenset({"0", "false", "no", "off", ""})

names_read: set[str] = set()
"""Names that settings asked for; the test of `deploy/env.example` reads it."""


def env_str(name: str, default: str) -> str:
    """The variable as it is; an empty value counts as unset."""
    names_read.add(name)
    return os.environ.get(name) or default


def env_int(name: str, default: int, *, minimum: int, maximum: int) -> int:
    """A whole number from `minimum` to `maximum`, both included."""
    raw = env_str(name, str(default))
    try:
        value = int(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a whole number, not {raw!r}") from None
    if not minimum <= value <= maximum:
        raise ImproperlyConfigured(f"{name} must be {minimum} to {maximum}, not {value}")
    return value


def env_float(name: str, default: float, *, minimum: float, maximum: float) -> float:
    """A number from `minimum` to `maximum`, both included."""
    raw = env_str(name, str(default))
    try:
        value = float(raw)
    except ValueError:
        raise ImproperlyConfigured(f"{name} must be a number, not {raw!r}") from None
    if not minimum <= value <= maximum:
        raise ImproperlyConfigured(f"{name} must be {minimum} to {maximum}, not {raw}")
    return value


def env_bool(name: str, default: bool) -> bool:
    """One of a closed list of spellings; anything else is an error, not False."""
    word = env_str(name, "yes" if default else "no").lower()
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise ImproperlyConfigured(f"{name} must be yes or no, not {word!r}")


def env_choice(name: str, default: str, choices: tuple[str, ...]) -> str:
    """One of `choices`."""
    value = env_str(name, default)
    if value not in choices:
        raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}, not {value!r}")
    return value


def env_list(name: str, default: str) -> list[str]:
    """Comma-separated words without surrounding blanks; empty words are dropped."""
    return [word.strip() for word in env_str(name, default).split(",") if word.strip()]


def env_pairs(name: str, default: str) -> dict[str, str]:
    """Comma-separated `name=value` without surrounding blanks; a name may stand once."""
    pairs: dict[str, str] = {}
    for word in env_list(name, default):
        key, _, value = (part.strip() for part in word.partition("="))
        if not key or not value or key in pairs:
            raise ImproperlyConfigured(f"{name} must be name=value, each name once, not {word!r}")
        pairs[key] = value
    return pairs


def env_path(name: str, default: str) -> Path:
    """An absolute path; `~` is expanded."""
    return Path(env_str(name, default)).expanduser().absolute()


def env_optional_secret(name: str) -> str:
    """A secret from `NAME`, or from the file that `NAME_FILE` points to; "" when there is neither."""
    path = env_str(f"{name}_FILE", "")
    return Path(path).read_text(encoding="utf-8").strip() if path else env_str(name, "")


def env_secret(name: str) -> str:
    """A required secret, found as `env_optional_secret` does."""
    value = env_optional_secret(name)
    if not value:
        raise ImproperlyConfigured(
            f"{name} or {name}_FILE is required; deploy/quickstart creates both secrets"
        )
    return value
