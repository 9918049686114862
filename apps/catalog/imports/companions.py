"""What comes in with a model and is an entry of its own: the encoder that an IP-adapter sees with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from django.conf import settings
from django.db.models import Q

from apps.audit.refs import Ref
from apps.catalog.choices import Kind, Visibility
from apps.catalog.facts import EntryFacts
from apps.catalog.imports.failures import ImportFailure
from apps.catalog.imports.reimport import SOURCE_KEY
from apps.catalog.models import CatalogEntry, CatalogName
from apps.catalog.services import place_entry
from gpu_runtime.weights.identification.picture_networks import IMAGE_ENCODER
from gpu_runtime.weights.store import Store

# Under which an IP-adapter's `details` name the entry of its encoder.
ENCODER_KEY: Final = "encoder"
NAME_ENDING: Final = "-image-encoder"


def place_imported(*, facts: EntryFacts, actor: Ref, now: datetime, is_replacement: bool) -> CatalogEntry:
    """Part: add the model and what came with it. Raises as `place_entry` does, and ImportFailure."""
    encoder = facts.details.get(IMAGE_ENCODER)
    if facts.kind != Kind.IP_ADAPTER or not isinstance(encoder, dict):
        return place_entry(facts=facts, actor=actor, now=now, is_replacement=is_replacement)
    # Any: of the child's answer.
    component: Mapping[str, Any] | None = next(
        (each for each in facts.components if each.get("name") == IMAGE_ENCODER), None
    )
    if component is None:
        raise ImportFailure("weights_corrupt", "The conversion gave no usable answer.")
    name = _find_same(facts, str(component["digest"]))
    if name is None:
        own = _encoder_facts(facts, component, encoder)
        name = place_entry(facts=own, actor=actor, now=now).name
    details = {key: value for key, value in facts.details.items() if key != IMAGE_ENCODER}
    adapter = replace(
        facts,
        size_bytes=facts.size_bytes - int(component["size_bytes"]),
        components=[each for each in facts.components if each is not component],
        details={**details, ENCODER_KEY: name},
    )
    return place_entry(facts=adapter, actor=actor, now=now, is_replacement=is_replacement)


def _find_same(facts: EntryFacts, digest: str) -> str | None:
    """The entry with these very weights that everybody may use who may use the adapter."""
    entries = CatalogEntry.objects.live().filter(
        kind=Kind.PREPROCESSOR, variant=IMAGE_ENCODER, digest=digest, is_enabled=True
    )
    usable = Q(visibility=Visibility.PUBLIC)
    if facts.owner is not None:
        usable |= Q(owner=facts.owner)
    found = entries.filter(usable).order_by("pk").first()
    return found.name if found is not None else None


def _encoder_facts(
    adapter: EntryFacts,
    component: Mapping[str, Any],  # Any: of the child's answer
    details: Mapping[str, Any],
) -> EntryFacts:
    try:
        path = Store(Path(settings.MODEL_DIR)).component(str(component["digest"]))
    except ValueError:
        raise ImportFailure("weights_corrupt", "The conversion gave no usable answer.") from None
    return EntryFacts(
        kind=Kind.PREPROCESSOR,
        name=_free_name(f"{adapter.name}{NAME_ENDING}"),
        path=path,
        digest=str(component["digest"]),
        size_bytes=int(component["size_bytes"]),
        variant=IMAGE_ENCODER,
        title=f"{adapter.title[:180]}: image encoder",
        description="What IP-adapters see pictures with.",
        components=[component],
        details={**details, SOURCE_KEY: adapter.details.get(SOURCE_KEY, {})},
        licence=adapter.licence,
        is_commercial_use_allowed=adapter.is_commercial_use_allowed,
        source_url=adapter.source_url,
        imported_by=adapter.imported_by,
        visibility=adapter.visibility,
        owner=adapter.owner,
    )


def _free_name(wanted: str) -> str:
    """The name, or with the first number that nobody has."""
    taken = set(CatalogName.objects.filter(name__startswith=wanted).values_list("name", flat=True))
    numbered = (f"{wanted}-{number}" for number in range(2, len(taken) + 3))
    return next(name for name in (wanted, *numbered) if name not in taken)
