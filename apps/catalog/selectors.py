"""Reads of the catalogue by those who use its entries."""

from __future__ import annotations

from apps.accounts.models import Account
from apps.apikeys.models import ApiKey
from apps.catalog.choices import Kind
from apps.catalog.errors import NOT_FOUND, EntryDisabled, EntryNotFound, FamilyMismatch
from apps.catalog.models import CatalogEntry, CatalogQuerySet
from gpu_runtime.weights.family_facts import facts_of

NAME_CHARS = 200


def access_entry(*, account: Account, name: str, kind: Kind) -> CatalogEntry:
    """The entry of `kind` that `account` means by a name or an alias; one query.

    Raises the kind's EntryNotFound, for what it may not use as for what is not there, and EntryDisabled for
    what it could use if it were enabled.
    """
    entry = find_entry(CatalogEntry.objects.visible_to(account).filter(kind=kind), name)
    if entry is None:
        raise NOT_FOUND.get(kind, EntryNotFound)(name=name[:NAME_CHARS])
    if not entry.is_enabled:
        raise EntryDisabled(name=name[:NAME_CHARS])
    return entry


def access_checkpoint(*, account: Account, name: str) -> CatalogEntry:
    """`access_entry` of a checkpoint."""
    return access_entry(account=account, name=name, kind=Kind.CHECKPOINT)


def find_entry(entries: CatalogQuerySet, name: str) -> CatalogEntry | None:
    """The one of these live entries that has this name or alias; one query."""
    # PostgreSQL's text cannot hold NUL, and no name does; half a surrogate pair has no encoding.
    if "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
        return None
    return entries.filter(names__name=name).first()


def require_compatible(*, entry: CatalogEntry, checkpoint: CatalogEntry) -> None:
    """Raises FamilyMismatch unless the adapter was made for the checkpoint's family.

    Which LoRAs and VAEs a family takes is in the family's row; everything else must be of the very family.
    An entry without a family fits all.
    """
    fitting = {checkpoint.family}
    facts = facts_of(checkpoint.family)
    if entry.kind == Kind.LORA and facts is not None:
        fitting = set(facts.lora_targets)
    if entry.kind == Kind.VAE and facts is not None:
        fitting |= set(facts.vae_targets)
    if entry.family and entry.family not in fitting:
        raise FamilyMismatch(
            what=Kind(entry.kind).label,
            name=entry.name,
            family=entry.family,
            checkpoint=checkpoint.name,
            other=checkpoint.family,
        )


def list_usable(*, account: Account, key: ApiKey | None = None) -> CatalogQuerySet:
    """What `account` may use, and of checkpoints only those that `key` may use."""
    found = CatalogEntry.objects.usable_by(account)
    return found if key is None else allowed_by(found, key)


def allowed_by(entries: CatalogQuerySet, key: ApiKey) -> CatalogQuerySet:
    """Without the checkpoints that are not in the key's list; a key without a list may use all.

    The list names checkpoints. An adapter is of no use without one, so adapters are not listed.
    """
    if not key.allowed_checkpoints:
        return entries
    others = [kind for kind in Kind if kind != Kind.CHECKPOINT]
    return entries.filter(name__in=key.allowed_checkpoints) | entries.filter(kind__in=others)


def list_checkpoints(account: Account) -> CatalogQuerySet:
    """The checkpoints `account` may use, by name."""
    return CatalogEntry.objects.usable_by(account).filter(kind=Kind.CHECKPOINT).order_by("name")
