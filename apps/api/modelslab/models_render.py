"""From catalogue entries to the items of ModelsLab's lists."""

from __future__ import annotations

from datetime import datetime
from typing import Final, TypedDict

from apps.api.modelslab.models_fields import CATEGORIES, FEATURES, SORTS
from apps.catalog.choices import Kind
from apps.catalog.facets import Facets, FacetValue
from apps.catalog.models import CatalogEntry
from apps.catalog.previews import preview_url

READY: Final = "model_ready"
FEATURE: Final = "imagen"


class ListedItem(TypedDict):
    """One item of model_list."""

    model_id: str
    status: str
    created_at: str
    instance_prompt: str | None
    model_name: str
    description: str
    screenshots: str


class SearchItem(ListedItem):
    """One item of a search. Clients read either of two names for the same thing, so both are there."""

    name: str
    provider: str
    feature: str
    model_type: str
    model_category: str
    model_subcategory: str
    base_model: str
    variant: str
    tags: list[str]
    trigger_words: list[str]
    previews: list[str]
    licence: str
    is_commercial_use_allowed: bool
    uses: int


class LoadedItem(TypedDict):
    """One item of get_all_models; the spelling is theirs."""

    model_id: str
    load_data: str


class FacetItem(TypedDict):
    """One value of a filter."""

    name: str
    value: str
    count: int


def listed_item(entry: CatalogEntry) -> ListedItem:
    """As model_list shows it."""
    return {
        "model_id": entry.name,
        "status": READY,
        "created_at": _iso(entry.created_at),
        "instance_prompt": ", ".join(entry.trigger_words) or None,
        "model_name": entry.title,
        "description": entry.description,
        "screenshots": preview_url(entry.previews[0]) if entry.previews else "",
    }


def search_item(entry: CatalogEntry) -> SearchItem:
    """As searches show it."""
    category = category_of(entry.kind, entry.family)
    return {
        **listed_item(entry),
        "name": entry.title,
        "provider": entry.provider or "local",
        "feature": FEATURE,
        "model_type": category,
        "model_category": category,
        "model_subcategory": "" if entry.kind == Kind.CHECKPOINT else category_of(entry.kind, ""),
        "base_model": entry.family,
        "variant": entry.variant,
        "tags": entry.tags,
        "trigger_words": entry.trigger_words,
        "previews": [preview_url(preview) for preview in entry.previews],
        "licence": entry.licence,
        "is_commercial_use_allowed": entry.is_commercial_use_allowed,
        "uses": entry.use_count,
    }


def category_of(kind: str, family: str) -> str:
    """The contract's word for a kind, and among checkpoints for a family."""
    for word, category in CATEGORIES.items():
        if category.kind == kind and family in category.families:
            return word
    return next(
        word for word, category in CATEGORIES.items() if category.kind == kind and not category.families
    )


def loaded_item(name: str, created_at: datetime) -> LoadedItem:
    """As get_all_models shows it."""
    return {"model_id": name, "load_data": created_at.strftime("%m/%d/%Y %H:%M:%S")}


def facet_items(values: list[FacetValue]) -> list[FacetItem]:
    """The values of one filter, with how many models each leaves."""
    return [{"name": each.value, "value": each.value, "count": each.count} for each in values]


def filters_body(facets: Facets) -> dict[str, object]:
    """Every filter of a search with its values."""
    kinds = [FacetValue(value=category_of(each.value, ""), count=each.count) for each in facets.kinds]
    return {
        "feature": [
            {"name": word, "value": word, "count": facets.total if has else 0}
            for word, has in FEATURES.items()
        ],
        "model_type": facet_items(kinds),
        "model_subcategory": facet_items([each for each in kinds if each.value != "checkpoint"]),
        "base_model": facet_items(facets.families),
        "provider": facet_items(facets.providers),
        "tags": facet_items(facets.tags),
        "sort": list(SORTS),
    }


def _iso(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
