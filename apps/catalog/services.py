"""Adding checkpoints to the catalogue and changing them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import JsonValue, Ref
from apps.catalog.choices import Visibility
from apps.catalog.models import CatalogEntry
from apps.core.errors import Conflict, InvalidField


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointFacts:
    """What the person who adds a checkpoint knows about it."""

    name: str
    title: str
    family: str
    path: Path
    native_px: int
    min_side_px: int
    max_side_px: int
    max_native_side_px: int
    licence: str
    aliases: Sequence[str] = ()
    defaults: dict[str, JsonValue] = field(default_factory=dict)
    is_commercial_use_allowed: bool = False
    source_url: str = ""
    visibility: Visibility = Visibility.PUBLIC
    owner: Account | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderDigest:
    """What the files of a checkpoint amount to."""

    digest: str
    size_bytes: int


def digest_folder(path: Path) -> FolderDigest:
    """sha256 over sorted relative names and file hashes, so that it is the same wherever the folder lies.

    Raises InvalidField when there is no such folder or it is empty.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else []
    if not files:
        raise InvalidField(field="path", problem=f"must be a folder with weights, not {path}")
    whole = hashlib.sha256()
    size_bytes = 0
    for file in files:
        with file.open("rb") as stream:
            content = hashlib.file_digest(stream, "sha256").hexdigest()
        whole.update(f"{file.relative_to(path).as_posix()}\0{content}\n".encode())
        size_bytes += file.stat().st_size
    return FolderDigest(digest=whole.hexdigest(), size_bytes=size_bytes)


def register_checkpoint(*, facts: CheckpointFacts, actor: Ref, now: datetime) -> CatalogEntry:
    """Add a checkpoint, or take over new files of one that is there.

    Idempotent by name: the same files again change nothing, so that what an operator edited since stays.
    Raises InvalidField, and Conflict when a name or alias already means another checkpoint.
    """
    contents = digest_folder(facts.path)
    with transaction.atomic(durable=True):
        checkpoint = CatalogEntry.objects.select_for_update().filter(name=facts.name).first()
        if checkpoint and checkpoint.digest == contents.digest and checkpoint.path == str(facts.path):
            return checkpoint
        name = "catalog.checkpoint.updated" if checkpoint else "catalog.checkpoint.registered"
        checkpoint = checkpoint or CatalogEntry(created_at=now)
        for fact in fields(facts):
            setattr(checkpoint, fact.name, getattr(facts, fact.name))
        checkpoint.path, checkpoint.aliases = str(facts.path), list(facts.aliases)
        checkpoint.digest, checkpoint.size_bytes = contents.digest, contents.size_bytes
        _save(checkpoint)
        _record(name, checkpoint, actor=actor, now=now)
    return checkpoint


def change_checkpoint(*, checkpoint: CatalogEntry, actor: Ref, now: datetime) -> None:
    """Write an edited row. Raises InvalidField and Conflict as `register_checkpoint` does."""
    with transaction.atomic(durable=True):
        _save(checkpoint)
        _record("catalog.checkpoint.changed", checkpoint, actor=actor, now=now)


def _save(checkpoint: CatalogEntry) -> None:
    try:
        checkpoint.full_clean()
    except ValidationError as error:
        field_name, problems = next(iter(error.message_dict.items()))
        raise InvalidField(field=field_name, problem=f"is not usable: {problems[0]}") from None
    names = [checkpoint.name, *checkpoint.aliases]
    others = CatalogEntry.objects.exclude(pk=checkpoint.pk)
    if others.filter(Q(name__in=names) | Q(aliases__overlap=names)).exists():
        raise Conflict(problem=f"One of {', '.join(names)} already names another checkpoint.")
    checkpoint.save()


def _record(name: str, checkpoint: CatalogEntry, *, actor: Ref, now: datetime) -> None:
    data = {
        "digest": checkpoint.digest,
        "visibility": str(checkpoint.visibility),
        "is_enabled": checkpoint.is_enabled,
        "defaults": checkpoint.defaults,
    }
    audit.record(
        name, actor=actor, subject=checkpoint.ref, account_id=checkpoint.owner_id, data=data, now=now
    )
