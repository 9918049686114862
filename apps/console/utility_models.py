"""Puts the utility weights that ship with the appliance into its catalogue."""

from __future__ import annotations

from datetime import datetime

from apps.catalog.choices import Kind
from apps.catalog.facts import EntryFacts
from apps.catalog.files import digest_folder
from apps.catalog.services import register_entry
from apps.console.terminal import TERMINAL
from gpu_runtime.utility.shipped import SHIPPED, UtilityWeights


def register_utilities(*, now: datetime) -> int:
    """Add upscalers, preprocessors and the like, or take over new files of them. Returns their number."""
    for shipped in SHIPPED:
        register_entry(facts=_facts(shipped), actor=TERMINAL, now=now, is_replacement=True)
    return len(SHIPPED)


def _facts(shipped: UtilityWeights) -> EntryFacts:
    contents = digest_folder(shipped.folder)
    return EntryFacts(
        kind=Kind(shipped.kind.value),
        name=shipped.name,
        title=shipped.title,
        description=shipped.description,
        variant=shipped.variant,
        path=shipped.folder,
        digest=contents.digest,
        size_bytes=contents.size_bytes,
        details=dict(shipped.details),
        licence=shipped.licence,
        is_commercial_use_allowed=True,
        source_url=shipped.source_url,
        tags=("shipped",),
    )
