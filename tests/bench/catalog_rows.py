"""A catalogue as large hubs have them: many LoRAs, few checkpoints, a handful that everybody uses.

The same seed makes the same rows. They have no files: nothing here is ever loaded.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from apps.accounts.models import Account
from apps.catalog.choices import Kind, Visibility
from apps.catalog.facts import family_defaults, provider_of
from apps.catalog.models import CatalogEntry
from gpu_runtime.weights.family_facts import facts_of

FIRST_DAY: Final = datetime(2023, 1, 1, tzinfo=UTC)
BATCH: Final = 2000

KINDS: Final = {
    Kind.LORA: 65,
    Kind.CHECKPOINT: 20,
    Kind.EMBEDDING: 6,
    Kind.CONTROLNET: 4,
    Kind.VAE: 3,
    Kind.UPSCALER: 1.5,
    Kind.IP_ADAPTER: 0.5,
}
FAMILIES: Final = {"sd15": 45, "sdxl": 36, "flux": 14, "sd3": 3, "sd2": 2}
FIRST: Final = [
    "realistic",
    "dream",
    "epic",
    "pony",
    "anime",
    "neon",
    "retro",
    "vintage",
    "cosmic",
    "dark",
    "soft",
    "hyper",
    "ultra",
    "cyber",
    "pastel",
    "watercolor",
    "oil",
    "pixel",
    "clay",
    "paper",
    "ghibli",
    "noir",
    "analog",
    "film",
    "studio",
    "product",
    "food",
    "fashion",
    "architecture",
    "interior",
    "landscape",
    "macro",
]
SECOND: Final = [
    "vision",
    "shaper",
    "realism",
    "diffusion",
    "style",
    "mix",
    "portrait",
    "character",
    "scene",
    "detail",
    "light",
    "shadow",
    "texture",
    "skin",
    "eyes",
    "hair",
    "dress",
    "armor",
    "mecha",
    "dragon",
    "fox",
    "city",
    "forest",
    "ocean",
    "sky",
    "garden",
    "poster",
    "logo",
    "icon",
    "sticker",
    "comic",
    "manga",
    "sketch",
]
COMMON_TAG: Final = "style"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owners:
    """Whose the rows are that are not public."""

    mine: Account
    strangers: Sequence[Account]


def vocabulary(size: int) -> list[str]:
    """Made-up words of two to four syllables, which descriptions are written with."""
    draw = random.Random(7)
    syllables = [consonant + vowel for consonant in "bdfgklmnprstvz" for vowel in "aeiou"]
    return ["".join(draw.choices(syllables, k=draw.randint(2, 4))) for _ in range(size)]


def make_rows(count: int, owners: Owners) -> Iterator[list[CatalogEntry]]:
    """Unsaved rows in batches."""
    draw = random.Random(42)
    words = vocabulary(4000)
    tags = [COMMON_TAG, *FIRST, *SECOND, *words[:200]]
    # The n-th tag is given 1/n as often as the first.
    tag_weights = [1 / (rank + 1) for rank in range(len(tags))]
    batch: list[CatalogEntry] = []
    for number in range(count):
        batch.append(_row(number, draw, words, tags, tag_weights, owners))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _row(
    number: int,
    draw: random.Random,
    words: list[str],
    tags: list[str],
    tag_weights: list[float],
    owners: Owners,
) -> CatalogEntry:
    kind = draw.choices(list(KINDS), list(KINDS.values()))[0]
    family = "" if kind == Kind.UPSCALER else draw.choices(list(FAMILIES), list(FAMILIES.values()))[0]
    first, second, own = draw.choice(FIRST), draw.choice(SECOND), draw.choice(words)
    joined = draw.choice((f"{first}-{second}", f"{first}{second.title()}", f"{second}_{first}"))
    name = f"{joined}-{own}-{number}"
    source_url = f"https://huggingface.co/{draw.choice(words)}/{name}" if draw.random() < 0.6 else ""
    visibility, owner = _audience(draw, owners)
    entry = CatalogEntry(
        kind=kind,
        name=name,
        aliases=[f"{own}{number}"] if draw.random() < 0.1 else [],
        title=f"{first.title()} {second.title()} {own.title()}",
        description=" ".join(draw.choices(words, k=draw.randint(20, 120))),
        family=family,
        variant=draw.choice(("", "", "", "turbo", "inpaint")),
        path=f"/models/checkpoints/{number}",
        digest=sha256(name.encode()).hexdigest(),
        size_bytes=draw.randint(10**6, 10**10),
        components=[{"name": "unet", "digest": sha256(f"u{number}".encode()).hexdigest()}],
        trigger_words=draw.choices(words, k=2) if kind == Kind.LORA else [],
        tags=list(dict.fromkeys(draw.choices(tags, tag_weights, k=draw.randint(2, 7)))),
        licence=draw.choice(("openrail", "openrail", "apache-2.0", "cc-by-4.0", "unknown")),
        is_commercial_use_allowed=draw.random() < 0.5,
        source_url=source_url,
        provider=provider_of(source_url),
        visibility=visibility,
        owner=owner,
        is_enabled=draw.random() < 0.98,
        # Most models of a hub are never used, and a few by everybody.
        use_count=int(draw.paretovariate(0.6)) if draw.random() < 0.4 else 0,
        created_at=FIRST_DAY + timedelta(minutes=draw.randint(0, 2_000_000)),
    )
    if kind == Kind.CHECKPOINT:
        entry.defaults = family_defaults(facts_of(family), "")
    return entry


def _audience(draw: random.Random, owners: Owners) -> tuple[Visibility, Account | None]:
    chance = draw.random()
    if chance < 0.90:
        return Visibility.PUBLIC, None
    if chance < 0.91:
        return Visibility.PRIVATE, owners.mine
    owner = draw.choice(owners.strangers)
    return (Visibility.PRIVATE if chance < 0.97 else Visibility.ACCOUNTS), owner
