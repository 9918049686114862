"""Telling of the end of an import. Who tells of it is above this app: settings.IMPORT_ENDED names it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import cast

from django.conf import settings
from django.utils.module_loading import import_string

from apps.catalog.models import ModelImport
from apps.core.db import require_transaction

Ended = Callable[[ModelImport, datetime], None]
"""Takes a row that this transaction has just ended, and the time."""


def announce_end(row: ModelImport, now: datetime) -> None:
    """Part: the row has just been brought to a terminal state."""
    require_transaction()
    if row.options.get("webhook"):
        cast(Ended, import_string(settings.IMPORT_ENDED))(row, now)
