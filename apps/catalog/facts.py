"""What is known of weights when they enter the catalogue, completed from what is true of their family."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from apps.accounts.models import Account
from apps.audit.refs import JsonValue
from apps.catalog.choices import Kind, Visibility
from gpu_runtime.messages import Sampler
from gpu_runtime.weights.family_facts import FamilyFacts, facts_of

DEFAULT_MIN_SIDE_PX: Final = 64
DEFAULT_MAX_SIDE_PX: Final = 2048
DEFAULT_MAX_NATIVE_SIDE_PX: Final = 1024
DEFAULT_NATIVE_PX: Final = 512
UNKNOWN_LICENCE: Final = "unknown"
# Hosts whose addresses begin with the name of an organisation.
HUBS: Final = frozenset({"huggingface.co", "hf.co", "hf-mirror.com", "modelscope.cn"})
LOCAL_PROVIDER: Final = "local"


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryFacts:
    """One set of weights that lies in its final place. None and "" leave a fact to the family's row."""

    kind: Kind
    name: str
    path: Path
    """Checkpoints: the folder with model_index.json; everything else: its component's folder."""
    digest: str = ""
    """sha256 over file names and contents; `register_checkpoint` alone computes it itself."""
    size_bytes: int = 0
    family: str = ""
    variant: str = ""
    title: str = ""
    """Empty: the name."""
    description: str = ""
    aliases: Sequence[str] = ()
    components: Sequence[Mapping[str, JsonValue]] = ()
    """Networks inside: name, class_name, digest, size_bytes, dtype."""
    details: Mapping[str, JsonValue] = field(default_factory=dict)
    native_px: int | None = None
    min_side_px: int = DEFAULT_MIN_SIDE_PX
    max_side_px: int = DEFAULT_MAX_SIDE_PX
    max_native_side_px: int | None = None
    defaults: Mapping[str, JsonValue] = field(default_factory=dict)
    """Any of steps, guidance_scale, sampler, negative_prompt; the others come from the family."""
    trigger_words: Sequence[str] = ()
    tags: Sequence[str] = ()
    licence: str = UNKNOWN_LICENCE
    is_commercial_use_allowed: bool = False
    source_url: str = ""
    imported_by: str = ""
    """Who brought it in, as text; empty: the actor of the registration."""
    visibility: Visibility = Visibility.PUBLIC
    owner: Account | None = None


def column_values(facts: EntryFacts) -> dict[str, Any]:
    """The entry's columns, with the family's figures where the facts say nothing. Any: Django's columns."""
    family = facts_of(facts.family)
    values: dict[str, Any] = {
        "kind": facts.kind,
        "family": facts.family,
        "variant": facts.variant,
        "title": facts.title or facts.name,
        "description": facts.description,
        "aliases": list(facts.aliases),
        "path": str(facts.path),
        "digest": facts.digest,
        "size_bytes": facts.size_bytes,
        "components": [dict(component) for component in facts.components],
        "details": dict(facts.details),
        "trigger_words": unique_words(facts.trigger_words),
        "tags": clean_tags(facts.tags),
        "licence": facts.licence or UNKNOWN_LICENCE,
        "is_commercial_use_allowed": facts.is_commercial_use_allowed,
        "source_url": facts.source_url,
        "provider": provider_of(facts.source_url),
        "visibility": facts.visibility,
        "owner": facts.owner,
    }
    if facts.kind == Kind.CHECKPOINT:
        values |= _checkpoint_values(facts, family)
    return values


def _checkpoint_values(facts: EntryFacts, family: FamilyFacts | None) -> dict[str, Any]:
    native_px = facts.native_px or (family.native_px if family else DEFAULT_NATIVE_PX)
    longest_px = facts.max_native_side_px or (
        family.max_native_side_px if family else DEFAULT_MAX_NATIVE_SIDE_PX
    )
    return {
        "native_px": native_px,
        "min_side_px": facts.min_side_px,
        "max_side_px": facts.max_side_px,
        "max_native_side_px": longest_px,
        "defaults": family_defaults(family, facts.variant) | dict(facts.defaults),
    }


def family_defaults(family: FamilyFacts | None, variant: str) -> dict[str, JsonValue]:
    """What requests to a checkpoint of this family and variant fall back to; {} for an unknown family."""
    if family is None:
        return {}
    own = (family.variants or {}).get(variant)
    steps = own.steps if own else family.steps
    guidance_scale = own.guidance_scale if own else family.guidance_scale
    sampler: Sampler = own.sampler if own else family.sampler
    return {
        "steps": steps,
        "guidance_scale": guidance_scale,
        "sampler": sampler.value,
        "negative_prompt": "",
    }


def clean_tags(tags: Sequence[str]) -> list[str]:
    """Lower case, without blanks around and repetitions: `SDXL ` and `sdxl` are one tag."""
    return unique_words([tag.lower() for tag in tags])


def unique_words(words: Sequence[str]) -> list[str]:
    """Without blanks around, empty ones and repetitions, in their order."""
    return list(dict.fromkeys(stripped for word in words if (stripped := word.strip())))


def provider_of(source_url: str) -> str:
    """Who offers the weights, for people: a hub's organisation, else the host's name, else `local`."""
    try:
        parts = urlsplit(source_url)
        host = parts.hostname or ""
    except ValueError:
        return LOCAL_PROVIDER
    if not host:
        return LOCAL_PROVIDER
    organisation = parts.path.strip("/").split("/")[0]
    if host.removeprefix("www.") in HUBS and organisation:
        return organisation.lower()[:100]
    labels = host.removeprefix("www.").split(".")
    return (labels[-2] if len(labels) > 1 and not labels[-1].isdigit() else host)[:100]
