"""load_model and its kin: each is an import here. Names stop at the tables of `models_fields`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from apps.api.bodies import JsonObject
from apps.api.modelslab.fields.table import Field
from apps.api.modelslab.models_fields import Category, get, read_values
from apps.api.modelslab.translation.translate import DIALECT
from apps.audit.refs import JsonValue
from apps.catalog.choices import ImportSource, Kind, Visibility
from apps.catalog.imports.addresses import HUB_ID, read_source, split_hub_address
from apps.catalog.imports.options import ImportOptions
from apps.core.errors import InvalidField
from apps.generation.announcing import import_webhook
from apps.webhooks.wishes import WebhookWish

NAMES: Final = {"address": "url", "name": "model_id", "source": "url", "title": "model_name"}
"""Our names to theirs, for refusals of the import itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """A translated request."""

    options: ImportOptions
    is_private: bool


def translate_load(
    table: tuple[Field, ...], fields: JsonObject, *, account_id: int, kind: Kind | None = None
) -> Load:
    """The import that a load request means; `kind` is what the endpoint itself says.

    `account_id` is whose webhook it is. Raises InvalidField with the caller's own name.
    """
    values = read_values(table, fields)
    category = get(values, "category", None)
    subcategory: Category | None = get(values, "subcategory", None)
    wanted: Category | None = Category(kind=kind) if kind else _narrowed(category, subcategory)
    is_private = get(values, "is_private", False)
    options = replace(
        _source(get(values, "address", "")),
        name=get(values, "name", ""),
        title=get(values, "title", ""),
        kind_hint=wanted.kind.value if wanted else "",
        # One family is worth a hint; a word that stands for several is not.
        family_hint=wanted.families[0] if wanted and len(wanted.families) == 1 else "",
        precision=get(values, "precision", "keep"),
        force=get(values, "force", False),
        visibility=Visibility.PRIVATE if is_private else Visibility.PUBLIC,
        webhook=_webhook(values, account_id),
    )
    return Load(options=options, is_private=is_private)


def _webhook(values: Mapping[str, object], account_id: int) -> Mapping[str, JsonValue]:
    """As the import's row keeps it; empty without one."""
    url: str = get(values, "webhook", "")
    if not url:
        return {}
    track_id: str | int | None = get(values, "track_id", None)
    return import_webhook(WebhookWish(url=url, dialect=DIALECT), account_id=account_id, track_id=track_id)


def _narrowed(category: Category | None, subcategory: Category | None) -> Category | None:
    """`flux` with the subcategory `lora` is a LoRA for Flux."""
    if category is None or subcategory is None:
        return category or subcategory
    return Category(kind=subcategory.kind, families=subcategory.families or category.families)


def _source(address: str) -> ImportOptions:
    """A URL or a hub repository. Never a path: only whoever has a shell may name files of the server."""
    text = address.strip()
    if "://" in text:
        return read_source(text)
    if HUB_ID.match(text):
        return split_hub_address(ImportOptions(source=ImportSource.HUB, address=text))
    raise InvalidField(field="url", problem="must be a URL or a hub repository (organisation/name)")
