"""Which checkpoint a model name of theirs means."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from django.conf import settings

from apps.apikeys.models import ApiKey
from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry, CatalogQuerySet
from apps.catalog.selectors import find_entry, list_usable
from gpu_runtime.weights.family_facts import NEEDS_MORE_THAN_A_PROMPT

THEIR_NAMES: Final = re.compile(r"(dall-e|gpt-image|chatgpt-image)(-.*)?")
LEGACY_NAMES: Final = re.compile(r"(dall-e.*)?")
"""Models that answered with links unless asked otherwise; without a name one of those was meant."""
BASE64_NAMES: Final = re.compile(r"(gpt-image|chatgpt-image)(-.*)?")
"""Models that never answered with links, and refuse to be asked about it."""
DEFAULT: Final = "default"


def list_checkpoints(key: ApiKey) -> CatalogQuerySet:
    """The checkpoints that `key` may use."""
    return list_usable(account=key.account, key=key).filter(kind=Kind.CHECKPOINT)


def find_checkpoint(name: str, key: ApiKey) -> CatalogEntry | None:
    """The checkpoint that `name` means to the holder of `key`; None when there is none to use.

    First the operator's list, then the catalogue's names and aliases; any other name of OpenAI's, and none at
    all, is the default model.
    """
    mapped: Mapping[str, str] = settings.OPENAI_MODELS
    usable = list_checkpoints(key)
    if name and name != DEFAULT:
        found = find_entry(usable, mapped.get(name, name))
        if found is not None or name in mapped or not THEIR_NAMES.fullmatch(name):
            return found
    if DEFAULT in mapped:
        return find_entry(usable, mapped[DEFAULT])
    # Without a list: what people here use most, among what makes images from a prompt alone.
    return usable.exclude(variant__in=NEEDS_MORE_THAN_A_PROMPT).order_by("-use_count", "pk").first()


def checkpoint_name(name: str, found: CatalogEntry | None) -> str:
    """What submitting is given: where nothing was found, the name that will be refused there."""
    if found is not None:
        return found.name
    return settings.OPENAI_MODELS.get(name, name) or settings.OPENAI_MODELS.get(DEFAULT, DEFAULT)
