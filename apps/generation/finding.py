"""Finds weights that a request needs without naming them, by what they are."""

from __future__ import annotations

from collections.abc import Sequence

from apps.accounts.models import Account
from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry
from apps.catalog.selectors import list_usable
from apps.generation.errors import ModelNotInstalled
from apps.generation.import_examples import import_hint
from apps.generation.used import UsedAsset


def find_entry_of(*, account: Account, kind: Kind, variants: Sequence[str] = ()) -> CatalogEntry | None:
    """Of the variants, in their order, the entry that is used most; without variants, of the kind."""
    usable = list_usable(account=account).filter(kind=kind)
    if not variants:
        return usable.order_by("-use_count", "pk").first()
    # The last of each variant stays in the dictionary: the one that is used most.
    found = {
        entry.variant: entry for entry in usable.filter(variant__in=variants).order_by("use_count", "-pk")
    }
    return next((found[variant] for variant in variants if variant in found), None)


def find_of(*, account: Account, role: str, kind: Kind, variants: Sequence[str] = ()) -> UsedAsset | None:
    """The same as an asset."""
    entry = find_entry_of(account=account, kind=kind, variants=variants)
    return asset_of(entry, role=role) if entry is not None else None


def require_of(
    *, account: Account, role: str, kind: Kind, title: str, variants: Sequence[str] = ()
) -> UsedAsset:
    """The same, or ModelNotInstalled, which says what to import. `title` is what is missing, in words."""
    found = find_of(account=account, role=role, kind=kind, variants=variants)
    if found is None:
        raise ModelNotInstalled(kind=title, hint=import_hint(kind, variants))
    return found


def asset_of(entry: CatalogEntry, *, role: str) -> UsedAsset:
    """The entry under an operation's name for it."""
    return UsedAsset(role=role, entry_id=entry.pk, name=entry.name)
