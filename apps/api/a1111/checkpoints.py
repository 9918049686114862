"""Checkpoints by stable-diffusion-webui's names: "name.safetensors [hash10]", and its shorter forms."""

from __future__ import annotations

import re
from typing import Final

from apps.apikeys.models import ApiKey
from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry, CatalogQuerySet
from apps.catalog.selectors import find_entry, list_usable
from gpu_runtime.weights.family_facts import NEEDS_MORE_THAN_A_PROMPT

HASH_CHARS: Final = 10
ENDING: Final = ".safetensors"
ENDINGS: Final = (ENDING, ".ckpt")
WITH_HASH: Final = re.compile(r"(?P<name>.*\S)\s*\[(?P<hash>[0-9a-f]{6,64})\]")
HASH: Final = re.compile(r"[0-9a-f]{8,64}")


def list_checkpoints(key: ApiKey) -> CatalogQuerySet:
    """The checkpoints that `key` may use."""
    return list_usable(account=key.account, key=key).filter(kind=Kind.CHECKPOINT)


def find_checkpoint(text: str, key: ApiKey) -> CatalogEntry | None:
    """By title, file name, name, alias or hash; None when there is none, or the key may not use it."""
    usable = list_checkpoints(key)
    found = find_by_title(usable, text)
    if found is None and HASH.fullmatch(text.strip()):
        found = usable.filter(digest__startswith=text.strip()).order_by("pk").first()
    return found


def find_by_title(entries: CatalogQuerySet, text: str) -> CatalogEntry | None:
    """The one of these entries that is called "name", "name.safetensors" or either with a hash behind it."""
    match = WITH_HASH.fullmatch(text.strip())
    name = (match["name"] if match else text).strip()
    # Folders are part of titles there, and of nothing here.
    name = re.split(r"[/\\]", name)[-1]
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    return find_entry(entries, name)


def default_checkpoint(key: ApiKey) -> CatalogEntry | None:
    """What people here use most, among what makes images from a prompt alone."""
    usable = list_checkpoints(key).exclude(variant__in=NEEDS_MORE_THAN_A_PROMPT)
    return usable.order_by("-use_count", "pk").first()


def title_of(entry: CatalogEntry) -> str:
    """As lists and options name it."""
    return f"{entry.name}{ENDING} [{short_hash(entry)}]"


def short_hash(entry: CatalogEntry) -> str:
    """Ten digits of what identifies its files here: not those of the single file that it was made of."""
    return entry.digest[:HASH_CHARS]


def sha256_of(entry: CatalogEntry) -> str:
    """All of them."""
    return entry.digest
