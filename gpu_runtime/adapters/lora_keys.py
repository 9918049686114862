"""Names of tensors in LoRA files: which layer a tensor is for, and which part of its delta it is.

Trainers agree on little. A name is a *stem*, which names the layer in the trainer's own way, and an ending,
which names the part. Only the endings are known here; `lora_targets.py` knows the stems.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Part(StrEnum):
    """What one tensor is within its layer's delta."""

    DOWN = "down"
    UP = "up"
    MID = "mid"
    UP_BIAS = "up_bias"
    ALPHA = "alpha"
    FULL = "diff"
    BIAS = "diff_b"
    HADA_W1_A = "hada_w1_a"
    HADA_W1_B = "hada_w1_b"
    HADA_W2_A = "hada_w2_a"
    HADA_W2_B = "hada_w2_b"
    HADA_T1 = "hada_t1"
    HADA_T2 = "hada_t2"
    LOKR_W1 = "lokr_w1"
    LOKR_W1_A = "lokr_w1_a"
    LOKR_W1_B = "lokr_w1_b"
    LOKR_W2 = "lokr_w2"
    LOKR_W2_A = "lokr_w2_a"
    LOKR_W2_B = "lokr_w2_b"
    LOKR_T2 = "lokr_t2"


_ADAPTER = r"(?:\.(?!weight$|bias$)\w+)?"
"""peft may put the adapter's name between the part and the last word."""

_ENDINGS: tuple[tuple[re.Pattern[str], Part], ...] = tuple(
    (re.compile(rf"(?:{pattern})$"), part)
    for pattern, part in (
        (r"\.lora_down\.weight", Part.DOWN),
        (r"\.lora_up\.weight", Part.UP),
        (rf"\.lora_A{_ADAPTER}(?:\.weight)?", Part.DOWN),
        (rf"\.lora_B{_ADAPTER}(?:\.weight)?", Part.UP),
        (rf"\.lora_B{_ADAPTER}\.bias", Part.UP_BIAS),
        (r"(?:_lora|\.lora_linear_layer|\.lora)\.down\.weight", Part.DOWN),
        (r"(?:_lora|\.lora_linear_layer|\.lora)\.up\.weight", Part.UP),
        (r"\.down\.weight", Part.DOWN),
        (r"\.up\.weight", Part.UP),
        (r"\.lora_mid\.weight", Part.MID),
        (r"(?:_lora|\.lora_linear_layer|\.lora)?\.alpha", Part.ALPHA),
        (r"\.diff", Part.FULL),
        (r"\.diff_b", Part.BIAS),
    )
)

_LYCORIS = re.compile(r"\.((?:hada|lokr)_(?:w[12](?:_[ab])?|t[12]))(?:\.\w+)?$")
"""LyCORIS' tensors are named by the part itself."""

UNSUPPORTED: Mapping[str, re.Pattern[str]] = {
    "DoRA": re.compile(r"\.(dora_scale|lora_magnitude_vector)(\.\w+)*$"),
    "OFT": re.compile(r"\.(oft_blocks|oft_diag|oft_R)(\.\w+)*$"),
    "GLoRA": re.compile(r"\.(a1|a2|b1|b2|bm1|bm2)\.weight$"),
    "IA3": re.compile(r"\.(on_input|ia3_l)(\.\w+)*$"),
}
"""Algorithms that change a layer in another way than by a difference of its weight."""


@dataclass(slots=True)
class Stems:
    """A file's names, sorted by layer."""

    parts: dict[str, dict[Part, str]] = field(default_factory=dict)
    """The full name of each part, by stem, in the file's order."""
    unknown: list[str] = field(default_factory=list)
    """Names without a known ending."""
    unsupported: str = ""
    """The algorithm of which the file has tensors, "" for none."""


def sort_names(names: Iterable[str]) -> Stems:
    """Sort a file's names by layer and part."""
    stems = Stems()
    for name in names:
        found = split_name(name)
        if found is not None:
            stem, part = found
            stems.parts.setdefault(stem, {})[part] = name
            continue
        for algorithm, pattern in UNSUPPORTED.items():
            if pattern.search(name):
                stems.unsupported = algorithm
        stems.unknown.append(name)
    return stems


def split_name(name: str) -> tuple[str, Part] | None:
    """(stem, part), or None for an ending that is not known."""
    word = _LYCORIS.search(name)
    if word:
        try:
            return name[: word.start()], Part(word[1])
        except ValueError:
            return None
    for pattern, part in _ENDINGS:
        match = pattern.search(name)
        if match and match.start() > 0:
            return name[: match.start()], part
    return None
