"""From DATABASE_URL to Django's database settings: PostgreSQL, never anything else."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

# libpq's names for what Django has settings of its own for.
DJANGO_NAMES = {"dbname": "NAME", "user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}


def database_settings(url: str, *, pool_size: int) -> dict[str, Any]:
    """Django's entry for a libpq URL, e.g. `postgresql://user:secret@/darkroom?host=/run/darkroom`.

    With `pool_size` above 0 connections come from a pool: a waiting request hands its connection
    back, and a thousand threads share `pool_size` of them. Raises ImproperlyConfigured for anything
    but PostgreSQL.
    """
    if not url.startswith(("postgresql://", "postgres://")):
        raise ImproperlyConfigured(
            "DATABASE_URL must be a postgresql:// URL; deploy/quickstart makes a private PostgreSQL"
        )
    try:
        parts = conninfo_to_dict(url)
    except ProgrammingError as error:
        raise ImproperlyConfigured(f"DATABASE_URL cannot be read: {error}") from None
    options: dict[str, Any] = {name: value for name, value in parts.items() if name not in DJANGO_NAMES}
    if pool_size:
        options["pool"] = {"min_size": min(4, pool_size), "max_size": pool_size, "timeout": 30}
    settings: dict[str, Any] = {"ENGINE": "django.db.backends.postgresql", "OPTIONS": options}
    for theirs, ours in DJANGO_NAMES.items():
        if parts.get(theirs):
            settings[ours] = parts[theirs]
    return settings
