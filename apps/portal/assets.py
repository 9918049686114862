"""Addresses of static files that change with their contents, so that no browser keeps an old one."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from django.conf import settings
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import StaticFilesStorage

VERSION_LENGTH = 10


class VersionedStaticFiles(StaticFilesStorage):
    """`{% static "a.css" %}` is `/static/a.css?v=` and the beginning of the file's digest.

    The file keeps its own name: a page of the version before, shown while an upgrade goes on, still finds
    its style. A file that a style or a module names itself has no such address; those are asked for anew
    each minute.
    """

    def url(self, name: str | None) -> str:
        plain: str = super().url(name)
        digest = _digest(name) if name else ""
        return f"{plain}?v={digest}" if digest else plain


def _digest(name: str) -> str:
    # Somebody who works on a style sees each change at once.
    return _read_digest(name) if settings.DEBUG else _kept_digest(name)


def _read_digest(name: str) -> str:
    path = finders.find(name.partition("#")[0])
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:VERSION_LENGTH] if path else ""


_kept_digest = cache(_read_digest)
