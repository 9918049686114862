"""Adding entries to the catalogue, changing and removing them. Knows nothing of the jobs that use them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from apps.accounts.models import Account
from apps.audit import services as audit
from apps.audit.refs import JsonValue, Ref
from apps.catalog.choices import Kind
from apps.catalog.facts import EntryFacts, clean_tags, column_values, provider_of, unique_words
from apps.catalog.files import digest_folder, remove_unused_files, take_store_lock
from apps.catalog.models import CatalogEntry, CatalogName
from apps.core.db import require_transaction
from apps.core.errors import Conflict, InvalidField

# What operators and owners may change; the rest describes the files.
CHANGEABLE: Final = frozenset(
    {
        "title",
        "description",
        "aliases",
        "native_px",
        "min_side_px",
        "max_side_px",
        "max_native_side_px",
        "defaults",
        "trigger_words",
        "tags",
        "licence",
        "is_commercial_use_allowed",
        "source_url",
        "visibility",
        "owner",
        "is_enabled",
        "residency_policy",
        "keep_alive_s",
    }
)
NAME_TAKEN: Final = "catalog_name_pkey"


def register_entry(
    *, facts: EntryFacts, actor: Ref, now: datetime, is_replacement: bool = False
) -> CatalogEntry:
    """Add weights that lie in their final place. The last act of an import.

    Idempotent by name and digest: the same weights again change nothing, so that what an operator edited
    since stays. Other weights under the name of a live entry take its place with `is_replacement`, if kind
    and owner are the same; else they are refused.
    Raises InvalidField, also when the files are gone, and Conflict when a name or alias is taken.
    """
    with _names_taken_as_conflicts([facts.name, *facts.aliases]), transaction.atomic(durable=True):
        return place_entry(facts=facts, actor=actor, now=now, is_replacement=is_replacement)


def place_entry(
    *, facts: EntryFacts, actor: Ref, now: datetime, is_replacement: bool = False
) -> CatalogEntry:
    """Part of `register_entry`, for acts that write more than the entry.

    Raises as it does, but IntegrityError where another transaction takes a name at the same moment.
    """
    # Whoever deletes an entry looks for others with the same files under this lock.
    take_store_lock()
    if not facts.path.exists():
        raise InvalidField(field="path", problem=f"does not exist: {facts.path}")
    entry = CatalogEntry.objects.live().select_for_update().filter(name=facts.name).first()
    if entry is None:
        entry = CatalogEntry(name=facts.name, created_at=now, imported_by=facts.imported_by or actor.label)
        _write(entry, column_values(facts), now=now)
        _record("catalog.entry.registered", entry, actor=actor, now=now)
        return entry
    _require_replaceable(entry, facts, is_replacement=is_replacement)
    if entry.digest != facts.digest:
        _write(entry, column_values(facts), now=now)
        _record("catalog.entry.updated", entry, actor=actor, now=now)
    elif entry.path != str(facts.path):
        _write(entry, {"path": str(facts.path)}, now=now)
        _record("catalog.entry.updated", entry, actor=actor, now=now)
    return entry


def _require_replaceable(entry: CatalogEntry, facts: EntryFacts, *, is_replacement: bool) -> None:
    owner_id = facts.owner.pk if facts.owner else None
    is_same = entry.kind == facts.kind and entry.owner_id == owner_id
    if not is_same or (entry.digest != facts.digest and not is_replacement):
        raise Conflict(problem=f"{facts.name} already names another model.")


def register_checkpoint(*, facts: EntryFacts, actor: Ref, now: datetime) -> CatalogEntry:
    """Add the checkpoint in the folder `facts.path`, or take over new files of one that is there.

    Hashes the folder; raises as `register_entry` does, and InvalidField for a folder without files.
    """
    contents = digest_folder(facts.path)
    complete = replace(facts, digest=contents.digest, size_bytes=contents.size_bytes)
    return register_entry(facts=complete, actor=actor, now=now, is_replacement=True)


def change_entry(
    *,
    entry: CatalogEntry,
    changes: Mapping[str, Any],  # Any: values of Django's columns, checked by full_clean
    actor: Ref,
    now: datetime,
    allowed_accounts: Sequence[Account] | None = None,
) -> CatalogEntry:
    """Write the given columns (names of CHANGEABLE) and, if given, the accounts that share the entry.

    Other columns keep what they have, also what somebody changes at the same moment. Returns the new row.
    Raises InvalidField for a value, Conflict for a taken alias or a deleted entry.
    """
    unknown = sorted(changes.keys() - CHANGEABLE)
    if unknown:
        raise InvalidField(field=unknown[0], problem="cannot be changed")
    values = _cleaned(changes)
    with _names_taken_as_conflicts(values.get("aliases", ())), transaction.atomic(durable=True):
        current = lock_live_entry(entry)
        _write(current, values, now=now)
        if allowed_accounts is not None:
            current.allowed_accounts.set(allowed_accounts)
        names = sorted([*values.keys(), *(["allowed_accounts"] if allowed_accounts is not None else [])])
        _record("catalog.entry.changed", current, actor=actor, now=now, data={"fields": names})
    return current


def _cleaned(changes: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(changes)
    if "tags" in values:
        values["tags"] = clean_tags(values["tags"])
    if "trigger_words" in values:
        values["trigger_words"] = unique_words(values["trigger_words"])
    if "source_url" in values:
        values["provider"] = provider_of(values["source_url"])
    return values


def delete_entry(
    *, entry: CatalogEntry, actor: Ref, now: datetime, require_unused: Callable[[CatalogEntry], None]
) -> None:
    """Take an entry out of the catalogue for good; its name is free again at once.

    The row stays, because past jobs refer to it. Its files go, unless another entry has them too.
    `require_unused` is called inside the transaction with the locked row and raises when something still
    needs the entry; nothing has happened then. Raises Conflict when it was deleted before.
    """
    with transaction.atomic(durable=True):
        current = lock_live_entry(entry)
        require_unused(current)
        current.deleted_at, current.updated_at, current.is_enabled = now, now, False
        current.save(update_fields=["deleted_at", "updated_at", "is_enabled"])
        _record("catalog.entry.deleted", current, actor=actor, now=now)
    # Row before file: a crash in between leaves files that nothing refers to, never the reverse.
    remove_unused_files(current)


def request_reload(*, entry: CatalogEntry, actor: Ref, now: datetime) -> None:
    """Part: workers that loaded the entry before `now` are to load it anew. Raises Conflict when deleted."""
    current = lock_live_entry(entry)
    current.reload_requested_at = now
    current.save(update_fields=["reload_requested_at"])
    _record("catalog.entry.reload_requested", current, actor=actor, now=now)


def lock_live_entry(entry: CatalogEntry) -> CatalogEntry:
    """Part: the row as it is now, locked. Raises Conflict when it was deleted."""
    require_transaction()
    current = CatalogEntry.objects.live().select_for_update(of=("self",)).filter(pk=entry.pk).first()
    if current is None:
        raise Conflict(problem=f"{entry.name} was deleted.")
    return current


def _write(entry: CatalogEntry, values: Mapping[str, Any], *, now: datetime) -> None:
    """Part: set columns, check the whole row, save. Raises InvalidField and Conflict."""
    for name, value in values.items():
        setattr(entry, name, value)
    names = [entry.name, *entry.aliases]
    taken = CatalogName.objects.filter(name__in=names).exclude(entry_id=entry.pk).first()
    if taken is not None:
        raise Conflict(problem=f"{taken.name} already names another model.")
    try:
        entry.full_clean(exclude=["search"])
    except ValidationError as error:
        field_name, problems = next(iter(error.message_dict.items()))
        raise InvalidField(field=field_name, problem=f"is not usable: {problems[0]}") from None
    if entry.pk is None:
        entry.save(force_insert=True)
    else:
        entry.updated_at = now
        entry.save(update_fields=[*values, "updated_at"])


class _names_taken_as_conflicts:  # noqa: N801  # reads as the statement it is
    """The database decides who gets a name; this tells the loser in our words."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = names

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, IntegrityError) and NAME_TAKEN in str(error):
            raise Conflict(problem=f"One of {', '.join(self.names)} already names another model.") from None


def _record(
    name: str,
    entry: CatalogEntry,
    *,
    actor: Ref,
    now: datetime,
    data: Mapping[str, JsonValue] | None = None,
) -> None:
    facts: dict[str, JsonValue] = {
        "digest": entry.digest,
        "visibility": str(entry.visibility),
        "is_enabled": entry.is_enabled,
    }
    if entry.kind == Kind.CHECKPOINT:
        facts |= {"defaults": entry.defaults, "residency_policy": str(entry.residency_policy)}
    audit.record(
        name,
        actor=actor,
        subject=entry.ref,
        account_id=entry.owner_id,
        data=facts | dict(data or {}),
        now=now,
    )
