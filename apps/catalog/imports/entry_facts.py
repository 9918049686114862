"""What the catalogue is told of an imported model: what was asked for goes before what was found."""

from __future__ import annotations

from typing import Final

from apps.audit.refs import JsonValue
from apps.catalog.choices import Kind, Visibility
from apps.catalog.facts import EntryFacts
from apps.catalog.imports.addresses import source_url_of
from apps.catalog.imports.conversion import Converted
from apps.catalog.imports.cut_outs import complete_details
from apps.catalog.imports.options import ImportOptions
from apps.catalog.imports.reimport import FINGERPRINT_KEY, SOURCE_KEY
from apps.catalog.imports.sources.plan import Plan
from apps.catalog.models import ModelImport

# Licences that allow commercial use, as hubs spell them. Others may too: an operator then says so.
COMMERCIAL: Final = frozenset(
    {
        "apache-2.0",
        "mit",
        "bsd-2-clause",
        "bsd-3-clause",
        "cc0-1.0",
        "cc-by-4.0",
        "cc-by-sa-4.0",
        "unlicense",
        "wtfpl",
        "openrail",
        "openrail++",
        "creativeml-openrail-m",
        "bigscience-openrail-m",
    }
)


def facts_for(
    row: ModelImport, options: ImportOptions, plan: Plan, converted: Converted, *, name: str, fingerprint: str
) -> EntryFacts:
    """Everything `register_entry` wants to know."""
    licence = options.licence or plan.licence or converted.licence
    is_commercial = options.is_commercial_use_allowed
    source: dict[str, JsonValue] = {FINGERPRINT_KEY: fingerprint, "kind": options.source.value}
    if plan.revision:
        source["revision"] = plan.revision
    return EntryFacts(
        kind=Kind(converted.kind),
        name=name,
        path=converted.path,
        digest=converted.digest,
        size_bytes=converted.size_bytes,
        family=converted.family,
        variant=converted.variant,
        title=(options.title or converted.title or name)[:200],
        description=options.description,
        aliases=options.aliases,
        components=converted.components,
        details={
            **complete_details(converted.kind, converted.details, options),
            SOURCE_KEY: source,
        },
        defaults=options.defaults,
        trigger_words=options.trigger_words or converted.trigger_words,
        tags=options.tags,
        licence=licence[:100] or "unknown",
        is_commercial_use_allowed=licence.lower() in COMMERCIAL if is_commercial is None else is_commercial,
        source_url=source_url_of(options),
        imported_by=row.requested_by,
        visibility=options.visibility,
        owner=row.account if options.visibility != Visibility.PUBLIC else None,
    )
