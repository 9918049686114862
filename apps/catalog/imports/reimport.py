"""Whether what is asked for is there already: decided from fingerprints, before anything is fetched.

A fingerprint stands for the files of a source as they are there, before conversion; entries remember the one
they were made from. Equal fingerprints make an import a no-op.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from apps.accounts.models import Account
from apps.catalog.choices import ImportSource, Visibility
from apps.catalog.imports.addresses import source_url_of
from apps.catalog.imports.failures import ImportFailure
from apps.catalog.imports.options import ImportOptions
from apps.catalog.models import CatalogEntry, CatalogName
from apps.core.errors import Conflict

# Where entries keep it, in `details`.
SOURCE_KEY: Final = "source"
FINGERPRINT_KEY: Final = "fingerprint"


def fingerprint_of(digests: Mapping[str, str], *, precision: str) -> str:
    """Of files by name and digest. A single file's name does not count: it is often made up on the way."""
    names = {next(iter(digests)): "file"} if len(digests) == 1 else {name: name for name in digests}
    lines = [f"{names[name]}\0{digests[name].lower()}\n" for name in sorted(digests)]
    return hashlib.sha256(f"{precision}\n{''.join(lines)}".encode()).hexdigest()


def find_holder(name: str) -> CatalogEntry | None:
    """The live entry that has this name or alias."""
    holder = CatalogName.objects.select_related("entry").filter(name=name).first()
    return holder.entry if holder else None


def require_name(options: ImportOptions, name: str, *, account: Account | None) -> None:
    """Part of submitting: raises Conflict when the name surely means something else.

    The same source again may be the same model, and a file's contents are not known before it is there: the
    runner decides on these.
    """
    holder = find_holder(name)
    if holder is None:
        return
    if holder.name == name and _may_take_over(holder, options, account):
        return
    if holder.name == name and _may_share(holder, account):
        is_local = options.source in (ImportSource.UPLOAD, ImportSource.FOLDER)
        expected = fingerprint_of({"file": options.expected_sha256}, precision=options.precision)
        is_expected = bool(options.expected_sha256) and expected == remembered(holder)
        if is_local or is_expected or holder.source_url == source_url_of(options):
            return
    raise Conflict(problem=f"{name} already names another model.")


def _may_take_over(holder: CatalogEntry, options: ImportOptions, account: Account | None) -> bool:
    """Replacing weights is for whoever the entry belongs to."""
    owner = None if options.visibility == Visibility.PUBLIC else account
    return options.force and holder.owner_id == (owner.pk if owner else None)


def _may_share(holder: CatalogEntry, account: Account | None) -> bool:
    """An import is a no-op only where its owner can use what is there already."""
    is_own = account is not None and holder.owner_id == account.pk
    return holder.visibility == Visibility.PUBLIC or is_own


def require_aliases(options: ImportOptions, name: str) -> None:
    """Part of submitting: raises Conflict when an alias means another entry than the one of this name."""
    for alias in options.aliases:
        holder = find_holder(alias)
        if holder is not None and holder.name != name:
            raise Conflict(problem=f"{alias} already names another model.")


def remembered(entry: CatalogEntry) -> str:
    """The fingerprint an entry was made from, "" when it does not know."""
    source = entry.details.get(SOURCE_KEY)
    return str(source.get(FINGERPRINT_KEY, "")) if isinstance(source, dict) else ""


def find_same(
    options: ImportOptions, name: str, fingerprint: str, *, account: Account | None
) -> CatalogEntry | None:
    """The entry that makes this import a no-op, None when there is work to do.

    An entry whose files are gone is no such entry: the import brings them back. Raises ImportFailure
    `name_taken` when the name means other weights and nobody asked to replace them.
    """
    holder = find_holder(name)
    if holder is None or not fingerprint:
        # Without a fingerprint, what it is shows after the download.
        return None
    is_same = holder.name == name and remembered(holder) == fingerprint and _may_share(holder, account)
    if is_same:
        return holder if has_files(holder) else None
    if holder.name == name and _may_take_over(holder, options, account):
        return None
    raise name_taken(name)


def has_files(entry: CatalogEntry) -> bool:
    """Whether the entry's folder and, through its links, those of its components are on the disk."""
    folder = Path(entry.path)
    return folder.is_dir() and all(part.exists() for part in folder.iterdir())


def name_taken(name: str) -> ImportFailure:
    """The refusal."""
    return ImportFailure(
        "name_taken",
        f"{name} already names other weights. Import under another name, or replace them on purpose (force).",
    )
