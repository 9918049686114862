"""From catalogue entries to the native API's JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypedDict

from apps.accounts.models import Account
from apps.catalog.facets import Facets, FacetValue
from apps.catalog.models import CatalogEntry
from apps.catalog.previews import preview_url

# Of `details`, what only whoever runs the server may know: where the files came from.
OPERATORS_DETAILS = frozenset({"source"})


class PreviewBody(TypedDict):
    """One preview image."""

    url: str
    media_type: str
    width: int
    height: int


class ModelSummary(TypedDict):
    """A model in a list; times are ISO 8601 in UTC."""

    name: str
    kind: str
    title: str
    family: str
    variant: str
    tags: list[str]
    trigger_words: list[str]
    licence: str
    is_commercial_use_allowed: bool
    provider: str
    visibility: str
    is_mine: bool
    is_enabled: bool
    size_bytes: int
    native_px: int
    previews: list[PreviewBody]
    use_count: int
    last_used_at: str | None
    created_at: str


def model_summary(entry: CatalogEntry, *, account: Account) -> ModelSummary:
    """What a list shows of a model to `account`."""
    return {
        "name": entry.name,
        "kind": entry.kind,
        "title": entry.title,
        "family": entry.family,
        "variant": entry.variant,
        "tags": entry.tags,
        "trigger_words": entry.trigger_words,
        "licence": entry.licence,
        "is_commercial_use_allowed": entry.is_commercial_use_allowed,
        "provider": entry.provider or "local",
        "visibility": entry.visibility,
        "is_mine": entry.owner_id == account.pk,
        "is_enabled": entry.is_enabled,
        "size_bytes": entry.size_bytes,
        "native_px": entry.native_px,
        "previews": [
            {
                "url": preview_url(preview),
                "media_type": preview["media_type"],
                "width": preview["width"],
                "height": preview["height"],
            }
            for preview in entry.previews
        ],
        "use_count": entry.use_count,
        "last_used_at": _iso(entry.last_used_at),
        "created_at": _iso(entry.created_at) or "",
    }


def model_body(entry: CatalogEntry, *, account: Account, is_operator: bool) -> dict[str, Any]:
    """Everything about one model that its reader may know. Any: nested JSON."""
    details = {
        name: value for name, value in entry.details.items() if is_operator or name not in OPERATORS_DETAILS
    }
    body: dict[str, Any] = {
        **model_summary(entry, account=account),
        "aliases": entry.aliases,
        "description": entry.description,
        "source_url": entry.source_url,
        "digest": entry.digest,
        "components": entry.components,
        "details": details,
        "defaults": entry.defaults,
        "min_side_px": entry.min_side_px,
        "max_side_px": entry.max_side_px,
        "max_native_side_px": entry.max_native_side_px,
        "updated_at": _iso(entry.updated_at),
    }
    if is_operator:
        body |= {
            "path": entry.path,
            "imported_by": entry.imported_by,
            "owner": entry.owner.slug if entry.owner else None,
            "allowed_accounts": list(entry.allowed_accounts.order_by("slug").values_list("slug", flat=True)),
            "residency_policy": entry.residency_policy,
            "keep_alive_s": entry.keep_alive_s,
            "reload_requested_at": _iso(entry.reload_requested_at),
        }
    return body


def facets_body(facets: Facets) -> dict[str, Any]:
    """Counts by facet; the parameter of the list that takes the value is the facet's name."""
    return {
        "total": facets.total,
        "kind": _values(facets.kinds),
        "family": _values(facets.families),
        "variant": _values(facets.variants),
        "provider": _values(facets.providers),
        "licence": _values(facets.licences),
        "tag": _values(facets.tags),
    }


def _values(values: list[FacetValue]) -> list[dict[str, str | int]]:
    return [{"value": each.value, "count": each.count} for each in values]


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
