"""How many entries there are of each kind, family, tag and so on, for somebody's menus.

Counting 100,000 entries takes longer than a page may, so what is public is counted at most once a minute and
process; what is an account's own is counted each time, since it is little.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from django.core.cache import caches
from django.db import connection
from django.db.models import Count, F, Func

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.catalog.choices import Kind, Visibility
from apps.catalog.models import CatalogEntry, CatalogQuerySet
from apps.catalog.selectors import allowed_by

REMEMBERED_S: Final = 60
COLUMNS: Final = ("kind", "family", "variant", "provider", "licence")
MOST: Final = 200
"""Values of one facet that are told, those with most entries first."""

CHECKPOINTS: Final = "catalog.facets.checkpoints"
OTHERS: Final = "catalog.facets.others"

Counts = dict[str, Counter[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FacetValue:
    """One value and how many entries have it."""

    value: str
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facets:
    """Counts of what somebody may use, by column; the most frequent first, empty values left out."""

    total: int
    kinds: list[FacetValue]
    families: list[FacetValue]
    variants: list[FacetValue]
    providers: list[FacetValue]
    licences: list[FacetValue]
    tags: list[FacetValue]


def get_facets(*, account: Account, key: ApiKey | None = None) -> Facets:
    """Counts over exactly what `list_usable` lists; up to a minute old for what is public."""
    enabled = CatalogEntry.objects.live().filter(is_enabled=True)
    public = enabled.filter(visibility=Visibility.PUBLIC)
    checkpoints = public.filter(kind=Kind.CHECKPOINT)
    parts = [_remembered(OTHERS, lambda: count(public.exclude(kind=Kind.CHECKPOINT)))]
    if key is not None and key.allowed_checkpoints:
        parts.append(count(checkpoints.filter(name__in=key.allowed_checkpoints)))
    else:
        parts.append(_remembered(CHECKPOINTS, lambda: count(checkpoints)))
    # Two questions, because an index answers each, and none answers both at once.
    own = enabled.filter(owner=account).exclude(visibility=Visibility.PUBLIC)
    shared = CatalogEntry.allowed_accounts.through.objects.filter(account=account).values("catalogentry_id")
    lent = enabled.filter(visibility=Visibility.ACCOUNTS, pk__in=shared).exclude(owner=account)
    parts += [count(entries if key is None else allowed_by(entries, key)) for entries in (own, lent)]
    return _sum(parts)


def forget() -> None:
    """Count anew at the next question, in this process."""
    caches["process"].delete_many([CHECKPOINTS, OTHERS])


def count(entries: CatalogQuerySet) -> Counts:
    """Entries by each value of each facet; two queries."""
    counts: Counts = {column: Counter() for column in COLUMNS}
    inner, parameters = entries.order_by().values(*COLUMNS).query.sql_with_params()
    names = ", ".join(COLUMNS)
    # Django has no GROUPING SETS, which read the rows once for all columns.
    statement = (
        f"SELECT {names}, GROUPING({names}), count(*) FROM ({inner}) AS entry"  # noqa: S608  # our own names
        f" GROUP BY GROUPING SETS ({', '.join(f'({column})' for column in COLUMNS)})"
    )
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        for *values, mask, n in cursor.fetchall():
            # GROUPING has a 0 bit for the one column that the row is about, the last column's lowest.
            place = next(i for i in range(len(COLUMNS)) if not mask >> (len(COLUMNS) - 1 - i) & 1)
            counts[COLUMNS[place]][values[place]] += n
    tags = entries.order_by().annotate(tag=Func(F("tags"), function="unnest")).values_list("tag")
    counts["tags"] = Counter(dict(tags.annotate(n=Count("pk"))))
    return counts


def _remembered(name: str, make: Callable[[], Counts]) -> Counts:
    found: Counts | None = caches["process"].get(name)
    if found is None:
        found = make()
        caches["process"].set(name, found, REMEMBERED_S)
    return found


def _sum(parts: list[Counts]) -> Facets:
    whole = {name: sum((part[name] for part in parts), Counter()) for name in (*COLUMNS, "tags")}
    return Facets(
        total=whole["kind"].total(),
        kinds=_values(whole["kind"]),
        families=_values(whole["family"]),
        variants=_values(whole["variant"]),
        providers=_values(whole["provider"]),
        licences=_values(whole["licence"]),
        tags=_values(whole["tags"]),
    )


def _values(counts: Counter[str]) -> list[FacetValue]:
    rows = sorted(((value, n) for value, n in counts.items() if value), key=lambda row: (-row[1], row[0]))
    return [FacetValue(value=value, count=n) for value, n in rows[:MOST]]
