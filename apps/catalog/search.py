"""Finding entries: words, filters, orders, and pages that stay exact while the catalogue changes.

Knows nothing of who asks: every function narrows the entries it is given.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import Any, Final

from django.contrib.postgres.search import SearchQuery, SearchRank
from django.core.cache import caches
from django.core.exceptions import EmptyResultSet
from django.db.models import BooleanField, Case, F, FloatField, Func, Value, When
from django.db.models.functions import Cast

from apps.catalog.cursors import read_cursor, write_cursor
from apps.catalog.models import CatalogEntry, CatalogName, CatalogQuerySet

MAX_WORDS: Final = 12
MAX_WORD_CHARS: Final = 64
# Of the matches of a search, the most used ones are ranked. A word like "style" has tens of thousands, and
# ranking all of them takes longer than answering may.
RANKED: Final = 300
# Pages with numbers end there, unless an index alone can count: as far as anybody leafs.
COUNTED: Final = 3_000
# A total from here on is counted again only after a while: counting so many costs more than a page of them.
MANY: Final = 10_000
TOTALS_REMEMBERED_S: Final = 10
# Of a word in description, tags, title and name, as PostgreSQL's ts_rank takes them.
WEIGHTS: Final = [0.05, 0.2, 0.4, 1.0]
# Above every rank: what is called exactly that comes first.
EXACT_RANK: Final = 10.0


class Order(StrEnum):
    """What comes first. Entries that are equal in it come by id, the newest first."""

    MOST_USED = "most_used"
    LATEST = "latest"
    NAME = "name"
    NAME_DESCENDING = "name_descending"
    RELEVANCE = "relevance"
    """Only with a text: exact names, then where and how well the words match, among the 300 most used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogFilters:
    """What an entry must be; everything left empty is open."""

    text: str = ""
    """Words that must all begin a word of the entry."""
    kinds: tuple[str, ...] = ()
    """Any of these."""
    families: tuple[str, ...] = ()
    """Any of these."""
    variant: str = ""
    tags: tuple[str, ...] = ()
    """All of these."""
    licence: str = ""
    is_commercial_use_allowed: bool | None = None
    provider: str = ""
    visibility: str = ""
    is_enabled: bool | None = None
    owner_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """One page of a list."""

    entries: Sequence[CatalogEntry]
    next_cursor: str | None
    """Opaque; None on the last page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberedPage:
    """One page of a list whose pages have numbers."""

    entries: Sequence[CatalogEntry]
    total: int
    """Entries on all pages together; COUNTED where there are more and counting them would take long."""
    is_total_exact: bool


def words_of(text: str) -> list[str]:
    """The words of any text: letters and digits, whatever stands between them; at most MAX_WORDS."""
    cleaned = "".join(" " if _is_gap(character) else character for character in text[:2000])
    return [word[:MAX_WORD_CHARS].lower() for word in cleaned.split()[:MAX_WORDS]]


def _is_gap(character: str) -> bool:
    # Punctuation, symbols, separators, and control characters, halves of surrogate pairs included.
    return unicodedata.category(character)[0] in "PSZC"


def filter_entries(entries: CatalogQuerySet, filters: CatalogFilters) -> CatalogQuerySet:
    """Those of `entries` that pass; in no particular order."""
    exact = {
        "variant": filters.variant,
        "licence": filters.licence,
        "provider": filters.provider,
        "visibility": filters.visibility,
    }
    conditions: dict[str, Any] = {name: value for name, value in exact.items() if value}
    if filters.kinds:
        conditions["kind__in"] = filters.kinds
    if filters.families:
        conditions["family__in"] = filters.families
    for name in ("is_commercial_use_allowed", "is_enabled", "owner_id"):
        if getattr(filters, name) is not None:
            conditions[name] = getattr(filters, name)
    if filters.tags:
        conditions["tags__contains"] = [tag.lower() for tag in filters.tags]
    if any(_is_unstorable(value) for value in _texts(filters)):
        return entries.none()
    return search(entries.filter(**conditions), filters.text)


def _texts(filters: CatalogFilters) -> list[str]:
    return [
        filters.variant,
        filters.licence,
        filters.provider,
        filters.visibility,
        *filters.tags,
        *filters.kinds,
        *filters.families,
    ]


def _is_unstorable(text: str) -> bool:
    """Whether PostgreSQL could not hold the text, so that no entry can have it."""
    return any(character == "\0" or "\ud800" <= character <= "\udfff" for character in text)


def search(entries: CatalogQuerySet, text: str) -> CatalogQuerySet:
    """Those of `entries` in which every word of `text` begins a word. A blank text finds all."""
    if not text.strip():
        return entries
    query = _query(text)
    return entries.none() if query is None else entries.filter(search=query)


def _query(text: str) -> SearchQuery | None:
    """None for a text without a word in it."""
    # Words are letters and digits, so that nothing in them means anything to PostgreSQL's parser.
    words = [f"'{word}':*" for word in words_of(text)]
    return SearchQuery(" & ".join(words), config="simple", search_type="raw") if words else None


def page_after(
    entries: CatalogQuerySet, filters: CatalogFilters, *, order: Order, limit: int, cursor: str = ""
) -> Page:
    """The first `limit` entries behind `cursor`, in `order`; one query.

    Entries that are added or removed meanwhile shift nothing. Raises InvalidCursor for a cursor that was
    changed or belongs to other filters or another order.
    """
    scope = _scope(filters, order)
    ranked = _ordered(filter_entries(entries, filters), filters, order)
    columns = _COLUMNS[order]
    if cursor:
        key = read_cursor(cursor, scope=scope, kinds=[_TYPES[column] for column, _ in columns])
        ranked = ranked.filter(_behind(columns, key))
    found = list(ranked[: limit + 1])
    page = found[:limit]
    next_cursor = None
    if len(found) > limit:
        next_cursor = write_cursor([getattr(page[-1], column) for column, _ in columns], scope=scope)
    return Page(entries=page, next_cursor=next_cursor)


def page_number(
    entries: CatalogQuerySet, filters: CatalogFilters, *, order: Order, page: int, per_page: int
) -> NumberedPage:
    """The page with that number, from 1; at most three queries."""
    found = _ordered(filter_entries(entries, filters), filters, order)
    first = (page - 1) * per_page
    if order == Order.RELEVANCE:
        # Few enough to be counted by reading them, which is less work than ranking them twice.
        ranked = list(found.values_list("pk", flat=True))
        return NumberedPage(
            entries=_rows(ranked[first : first + per_page]),
            total=len(ranked),
            is_total_exact=len(ranked) < RANKED,
        )
    most = None if _is_indexed(filters) else COUNTED
    total = _total(found.order_by() if most is None else found.order_by()[: most + 1])
    is_exact = most is None or total <= most
    total = total if is_exact or most is None else most
    last = min(first + per_page, total)
    # Keys first: an index alone knows which rows a far page has, and only those are then read.
    keys = found.values_list("pk", flat=True)
    if first >= total:
        chosen = []
    elif is_exact and first > total // 2:
        # From the nearer end: skipping costs as much as reading.
        chosen = list(keys.reverse()[total - last : total - first])[::-1]
    else:
        chosen = list(keys[first:last])
    return NumberedPage(entries=_rows(chosen), total=total, is_total_exact=is_exact)


def _total(found: CatalogQuerySet) -> int:
    """How many there are; of many, up to TOTALS_REMEMBERED_S ago."""
    try:
        question = repr(found.values("pk").query.sql_with_params())
    except EmptyResultSet:
        return 0
    key = f"catalog.total.{sha256(question.encode()).hexdigest()}"
    total: int | None = caches["process"].get(key)
    if total is None:
        total = found.count()
        if total >= MANY:
            caches["process"].set(key, total, TOTALS_REMEMBERED_S)
    return total


def _rows(keys: list[int]) -> list[CatalogEntry]:
    """The entries with these keys, in this order."""
    rows = CatalogEntry.objects.in_bulk(keys) if keys else {}
    return [rows[key] for key in keys if key in rows]


def _is_indexed(filters: CatalogFilters) -> bool:
    """Whether one index holds all that decides whether an entry passes, so that counting reads no rows."""
    return filters == CatalogFilters(
        kinds=filters.kinds, families=filters.families, is_enabled=filters.is_enabled
    )


def _scope(filters: CatalogFilters, order: Order) -> str:
    return repr((order.value, sorted(asdict(filters).items())))


_Column = tuple[str, bool]
"""A column and whether it descends."""
_COLUMNS: Final[dict[Order, tuple[_Column, ...]]] = {
    Order.MOST_USED: (("use_count", True), ("id", True)),
    Order.LATEST: (("created_at", True), ("id", True)),
    Order.NAME: (("name", False),),
    Order.NAME_DESCENDING: (("name", True),),
    Order.RELEVANCE: (("rank", True), ("use_count", True), ("id", True)),
}
_TYPES: Final[dict[str, type]] = {
    "use_count": int,
    "id": int,
    "created_at": datetime,
    "name": str,
    "rank": float,
}


def _ordered(entries: CatalogQuerySet, filters: CatalogFilters, order: Order) -> CatalogQuerySet:
    if order == Order.RELEVANCE:
        entries = _ranked(entries, filters.text)
    return entries.order_by(*(f"-{column}" if descends else column for column, descends in _COLUMNS[order]))


def _ranked(entries: CatalogQuerySet, text: str) -> CatalogQuerySet:
    query = _query(text)
    if query is None:
        return entries.annotate(rank=Value(0.0, FloatField()))
    name = "" if _is_unstorable(text) else text.strip()
    named = CatalogName.objects.filter(name=name).values("entry_id")
    most_used = entries.order_by("-use_count", "-id").values("pk")[:RANKED]
    exact = entries.filter(pk__in=named).order_by().values("pk")
    rank = Cast(SearchRank(F("search"), query, weights=Value(WEIGHTS)), FloatField())
    extra = Case(When(pk__in=named, then=Value(EXACT_RANK)), default=Value(0.0), output_field=FloatField())
    # From all entries, not from `entries`: the candidates have passed its conditions already.
    return CatalogEntry.objects.filter(pk__in=most_used.union(exact)).annotate(rank=rank + extra)


class _Row(Func):
    function = "ROW"
    output_field = FloatField()  # never read; Django wants every expression to have one


class _Before(Func):
    arg_joiner = " < "
    template = "%(expressions)s"
    output_field = BooleanField()


class _After(_Before):
    arg_joiner = " > "


def _behind(columns: Sequence[_Column], key: Sequence[Any]) -> Func:
    """PostgreSQL compares rows as an index is sorted, so that it starts reading at the cursor."""
    ours = _Row(*(F(column) for column, _ in columns))
    theirs = _Row(*(Value(value) for value in key))
    # All columns of an order descend, or none does.
    return _Before(ours, theirs) if columns[0][1] else _After(ours, theirs)
