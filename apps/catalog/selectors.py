"""Reads of the catalogue."""

from __future__ import annotations

from django.db.models import Q

from apps.accounts.models import Account
from apps.catalog.errors import CheckpointNotFound
from apps.catalog.models import CatalogEntry, CatalogQuerySet


def access_checkpoint(*, account: Account, name: str) -> CatalogEntry:
    """The checkpoint that `account` means by a name or an alias; one query. Raises CheckpointNotFound."""
    # A real name wins over another checkpoint's alias.
    matches = list(list_checkpoints(account).filter(Q(name=name) | Q(aliases__contains=[name])))
    for checkpoint in sorted(matches, key=lambda match: match.name != name):
        return checkpoint
    raise CheckpointNotFound(name=name[:200])


def list_checkpoints(account: Account) -> CatalogQuerySet:
    """What `account` may use, by name."""
    return CatalogEntry.objects.usable_by(account)
