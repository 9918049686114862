"""Pages of lists that grow while they are read: each begins below the last row of the one before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from django.db.models import Model, QuerySet
from django.http import HttpRequest

Row = TypeVar("Row", bound=Model)

PAGE: Final = 25
MAX_ID: Final = 2**63 - 1
CURSOR: Final = "before"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Row]):
    """Some rows, newest first."""

    rows: Sequence[Row]
    more: str
    """The query of the next page; "" for the last."""
    newest: str
    """The query of the first page; "" on it."""


def page_of(rows: QuerySet[Row], request: HttpRequest) -> Page[Row]:
    """One query. A cursor that is none counts as none: somebody has changed the address."""
    before = request.GET.get(CURSOR, "")
    is_cursor = before.isascii() and before.isdigit() and len(before) < 20 and int(before) <= MAX_ID
    if is_cursor:
        rows = rows.filter(pk__lt=int(before))
    found = list(rows.order_by("-pk")[: PAGE + 1])
    shown = found[:PAGE]
    return Page(
        rows=shown,
        more=_query(request, str(shown[-1].pk)) if len(found) > PAGE else "",
        newest=_query(request, None) if is_cursor else "",
    )


def _query(request: HttpRequest, before: str | None) -> str:
    query = request.GET.copy()
    query.pop(CURSOR, None)
    if before is not None:
        query[CURSOR] = before
    return f"?{query.urlencode()}"
