"""What prompts of this dialect say besides words: `<lora:name:weight>`, and names of embeddings.

Weights of words stay where they are: the runtime reads them (PromptStyle.WEIGHTED).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from apps.accounts.models import Account
from apps.api.a1111.errors import BadField
from apps.catalog.choices import Kind
from apps.catalog.models import CatalogEntry
from apps.catalog.selectors import list_usable
from apps.core.errors import InvalidField
from apps.generation.request import MAX_EMBEDDINGS
from apps.generation.wishes import LoraWish
from gpu_runtime.messages import PromptStyle
from gpu_runtime.prompts.weighting import plain_text, sections_of
from gpu_runtime.weights.family_facts import STEP_BATCHED

NETWORK: Final = re.compile(r"<(?P<kind>[a-zA-Z]\w*):(?P<words>[^<>]*)>")
LORA_KINDS: Final = frozenset({"lora", "lyco"})
FILE_ENDINGS: Final = (".safetensors", ".pt", ".ckpt", ".bin")

EMPTY: Final = "()"
"""How an empty prompt is written for a runtime that wants one: brackets around nothing weigh nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Networks:
    """What the prompts of a request say, with the tags taken out of their words."""

    prompt: str
    negative_prompt: str
    loras: tuple[LoraWish, ...]
    """Of the prompt alone, as there."""
    missing: tuple[str, ...]
    """What tags name and this server does not have; it is left out and told, as there."""


def read_networks(
    prompt: str, negative_prompt: str, *, account: Account, is_applied: bool = True
) -> Networks:
    """Raises BadField for a weight that is none, or out of range; at most one query."""
    scales, others = _tags_of(prompt) if is_applied else ({}, [])
    wishes = [_wish(name, scale) for name, scale in scales.items() if scale]
    known = _known_loras([wish.name for wish in wishes], account)
    missing = [wish.name for wish in wishes if wish.name not in known]
    return Networks(
        prompt=NETWORK.sub("", prompt),
        negative_prompt=NETWORK.sub("", negative_prompt),
        loras=tuple(wish for wish in wishes if wish.name in known),
        missing=(*missing, *others),
    )


def _tags_of(prompt: str) -> tuple[dict[str, float], list[str]]:
    """Weights by LoRA, where one that is named twice counts twice; and tags of other kinds."""
    scales: dict[str, float] = {}
    others: list[str] = []
    for match in NETWORK.finditer(prompt):
        if match["kind"].lower() in LORA_KINDS:
            name, scale = _read_tag(match["words"])
            scales[name] = scales.get(name, 0.0) + scale
        else:
            others.append(f"{match['kind']}:{match['words'].partition(':')[0]}")
    return scales, others


def _wish(name: str, scale: float) -> LoraWish:
    try:
        return LoraWish(name=name, scale=scale)
    except InvalidField as error:
        raise BadField("prompt", error.problem) from None


def _known_loras(names: list[str], account: Account) -> set[str]:
    """Those of the names and aliases that stand for a LoRA which the account may use."""
    if not names:
        return set()
    entries = list_usable(account=account).filter(kind=Kind.LORA, names__name__in=names)
    return set(entries.values_list("names__name", flat=True))


def _read_tag(words: str) -> tuple[str, float]:
    """`name`, `name:0.8`, `name:te=0.5:unet=0.8`: the last plain weight, else that of the U-Net."""
    name, *rest = (part.strip() for part in words.split(":"))
    for ending in FILE_ENDINGS:
        name = name.removesuffix(ending)
    if not name:
        raise BadField("prompt", f"has a tag without a name: <lora:{words[:40]}>")
    named = dict(part.split("=", 1) for part in rest if "=" in part)
    plain = [part for part in rest if "=" not in part]
    weight = named.get("unet") or (plain[-1] if plain else named.get("te", "1"))
    try:
        return name, float(weight)
    except ValueError:
        raise BadField("prompt", f"has a tag whose weight is no number: <lora:{words[:40]}>") from None


def require_readable(field: str, prompt: str, checkpoint: CatalogEntry) -> None:
    """Raises BadField for weights in a prompt of a checkpoint that reads none, as its worker would."""
    if checkpoint.family in STEP_BATCHED:
        return
    _, weights = plain_text(sections_of(prompt, PromptStyle.WEIGHTED))
    if any(weight != 1.0 for weight in weights):
        problem = (
            f"has brackets, which give weights; {checkpoint.name} takes none: write \\( and \\) for brackets"
        )
        raise BadField(field, problem)


def named_embeddings(texts: str, *, account: Account, checkpoint: CatalogEntry) -> tuple[str, ...]:
    """Names of the embeddings that the prompts mention by any of their words; one query.

    Of those that the account may use with the checkpoint; the most used first, at most 16.
    """
    entries = list_usable(account=account).filter(kind=Kind.EMBEDDING, family=checkpoint.family)
    rows = entries.order_by("-use_count", "pk").values_list("name", "aliases", "trigger_words")
    found = [
        name
        for name, aliases, triggers in rows
        if any(word in texts and _mentions(texts, word) for word in (*triggers, name, *aliases))
    ]
    return tuple(found[:MAX_EMBEDDINGS])


def _mentions(texts: str, word: str) -> bool:
    """As a whole word; hyphens belong to words, as the runtime reads prompts."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", texts) is not None
