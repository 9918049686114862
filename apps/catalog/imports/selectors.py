"""Reads of imports."""

from __future__ import annotations

from typing import Final

from django.db.models import QuerySet

from apps.accounts.models import Account
from apps.catalog.models import ModelImport
from apps.core.errors import NotFound

MAX_ID: Final = 2**63 - 1
MAX_ID_DIGITS: Final = 19


def list_imports(account: Account | None) -> QuerySet[ModelImport]:
    """The account's imports, newest first; all of them for None, the operators."""
    found = ModelImport.objects.select_related("entry", "account").order_by("-id")
    return found if account is None else found.filter(account=account)


def access_import(*, account: Account | None, import_id: str | int) -> ModelImport:
    """One of `list_imports`. Raises NotFound, the same for an id that is unknown, malformed or another's."""
    text = str(import_id)
    if text.isascii() and text.isdigit() and len(text) <= MAX_ID_DIGITS and int(text) <= MAX_ID:
        row = list_imports(account).filter(pk=int(text)).first()
        if row is not None:
            return row
    raise NotFound(what="Import", id=text[:64])
