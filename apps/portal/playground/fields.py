"""The playground's form, made of the API's own table of fields and the table of kinds: nothing is said twice.

A field that the API gains appears here by itself, under Advanced; rows below give fields a better place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from apps.api.native.jobs_fields import FIELDS
from apps.api.native.readers import Picture, Ratio
from apps.api.native.tables import Field, Items, Part, Table
from apps.api.readers import USUAL_PROMPT_CHARS, Choice, Flag, Number, Reader, Text, Whole
from apps.catalog.choices import Kind as ModelKind
from apps.generation.choices import DENOISING_KINDS, TEXT_KINDS, Kind
from apps.generation.kind_rules import OPTIONAL, RULES
from apps.portal.playground.words import GROUPS, HINTS, KINDS, label_of

JsonObject = dict[str, Any]
"""For the page's script. Any: nested JSON."""

PLACES: Final[Mapping[str, str]] = {
    "controls": "guide",
    **dict.fromkeys(("image", "mask", "text", "expand", "face_swap", "detect", "references"), "main"),
    **dict.fromkeys(("model", "prompt", "negative_prompt", "strength"), "main"),
    **dict.fromkeys(("aspect_ratio", "width", "height", "num_images", "seed"), "size"),
    **dict.fromkeys(("steps", "guidance_scale", "sampler", "schedule", "tier"), "look"),
    **dict.fromkeys(("loras", "embeddings", "vae"), "style"),
    **dict.fromkeys(("ip_adapters", "refiner", "mask_options", "mix"), "guide"),
    **dict.fromkeys(("upscale", "background", "hires", "faces", "output"), "finish"),
}
"""Which group a field is shown in; those without a row are advanced. In a group the order is that of rows.
What a kind needs stands in the first group, whatever is said here.
"""
OPEN_GROUPS: Final = frozenset({"main", "size"})
HIDDEN: Final = frozenset({"kind", "wants_previews"})
"""Our names of what the page itself decides."""
MODELS: Final[Mapping[str, ModelKind]] = {
    "model": ModelKind.CHECKPOINT,
    "refiner.model": ModelKind.CHECKPOINT,
    "loras.name": ModelKind.LORA,
    "embeddings": ModelKind.EMBEDDING,
    "vae": ModelKind.VAE,
    "controls.model": ModelKind.CONTROLNET,
    "ip_adapters.name": ModelKind.IP_ADAPTER,
    "upscale.upscaler": ModelKind.UPSCALER,
    "hires.upscaler": ModelKind.UPSCALER,
}
"""Texts that name a model of the catalogue."""
RATIOS: Final = ("1:1", "4:3", "3:4", "3:2", "2:3", "16:9", "9:16", "21:9")
SLIDER_STEPS: Final = 200
"""Ranges with more steps are typed; a finger cannot hit them."""
ALSO: Final[Mapping[Kind, frozenset[str]]] = {Kind.NSFW_CHECK: frozenset({"prompt"})}
"""What a kind reads although it is no part of its own."""


def form_description() -> JsonObject:
    """All that the page's script needs to draw the form of any kind, in the reader's language."""
    return {
        "groups": [
            {"code": code, "label": str(label), "is_open": code in OPEN_GROUPS}
            for code, label in GROUPS.items()
        ],
        "fields": {row.theirs: _described(row, row.theirs) for row in FIELDS if row.ours not in HIDDEN},
        "kinds": [_kind(kind) for kind in Kind],
        "ratios": RATIOS,
    }


def _kind(kind: Kind) -> JsonObject:
    label, hint = KINDS.get(kind, (kind.value, ""))
    rule = RULES[kind]
    rows = [row for row in FIELDS if row.ours not in HIDDEN and _has_meaning(kind, row)]
    return {
        "code": kind.value,
        "label": str(label),
        "hint": str(hint),
        "needs": [row.theirs for row in FIELDS if row.ours in rule.needs],
        "fields": _in_order(rows),
        "has_previews": "wants_previews" in rule.takes,
        "is_text": kind in TEXT_KINDS,
    }


def _has_meaning(kind: Kind, row: Field) -> bool:
    rule = RULES[kind]
    if row.ours in rule.needs or row.ours in rule.takes or row.ours in ALSO.get(kind, ()):
        return True
    if row.ours == "output":
        return kind not in TEXT_KINDS
    return kind in DENOISING_KINDS and row.ours not in OPTIONAL


def _in_order(rows: Sequence[Field]) -> list[str]:
    """Pictures before prompts, as hands go; what has no place comes last, in the API's own order."""
    names = [row.theirs for row in rows]
    placed = [name for name in PLACES if name in names]
    return placed + [name for name in names if name not in PLACES]


def _described(row: Field, path: str) -> JsonObject:
    """One control: what it is called, where it stands, what it takes."""
    return {
        "name": row.theirs,
        "label": label_of(row.theirs),
        "hint": hint_of(row, path),
        "group": PLACES.get(row.theirs, "advanced"),
        "is_required": row.is_required,
        **_control(row.read, path),
    }


def _control(read: Reader, path: str) -> JsonObject:
    if path == "mask":
        return {"control": "mask"}
    if path in MODELS:
        several = isinstance(read, Items)
        return {"control": "models" if several else "model", "kind": MODELS[path].value}
    match read:
        case Part(table=table):
            return {"control": "part", "fields": _inner(table, path)}
        case Items(each=Part(table=table), most=most):
            return {"control": "list", "fields": _inner(table, path), "most": most}
        case Items(each=Picture(), most=most):
            return {"control": "pictures", "most": most}
    return _single(read)


def _single(read: Reader) -> JsonObject:
    match read:
        case Picture():
            return {"control": "picture"}
        case Choice():
            return {"control": "select", "options": read.schema["enum"]}
        case Flag():
            return {"control": "switch"}
        case Ratio():
            return {"control": "ratio", "options": RATIOS}
        case Whole(lowest=lowest, highest=highest, multiple_of=step):
            return _number(lowest, highest, step)
        case Number(lowest=lowest, highest=highest):
            return _number(lowest, highest, 0.05 if highest - lowest <= 10 else 0.5)
        case Text(max_chars=most):
            return {"control": "textarea" if most >= USUAL_PROMPT_CHARS else "text", "most": most}
    # A reader that this page has not met: as text, which the API will judge.
    return {"control": "text", "most": USUAL_PROMPT_CHARS}


def _number(lowest: float, highest: float, step: float) -> JsonObject:
    has_slider = (highest - lowest) / step <= SLIDER_STEPS
    return {
        "control": "range" if has_slider else "number",
        "lowest": lowest,
        "highest": highest,
        "step": step,
    }


def _inner(table: Table, path: str) -> list[JsonObject]:
    return [_described(row, f"{path}.{row.theirs}") for row in table]


def hint_of(row: Field, path: str) -> str:
    """The page's own words; of fields that have none, the reference's."""
    own = HINTS.get(path)
    return row.meaning if own is None else str(own)
