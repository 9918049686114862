"""What a file says about itself: title, trigger words, licence. Display text, never evidence of a family."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

from gpu_runtime.weights.identification.contents import Contents
from gpu_runtime.weights.taxonomy import ComponentFacts, Detail, FileFormat, Identified, ModelKind

MAX_TEXT = 200
MAX_TRIGGER_WORDS = 5
MAX_TAG_BYTES = 5_000_000
"""Longest tag statistics that are read; a large training set has a few hundred kB."""

FREQUENT = 0.9
"""A tag this often as the most frequent one counts as a trigger word, too."""


def identified(
    contents: Contents,
    kind: ModelKind,
    *,
    family: str,
    variant: str = "",
    file_format: FileFormat,
    components: tuple[ComponentFacts, ...],
    details: Mapping[str, Detail] | None = None,
) -> Identified:
    """An answer with what the file says about itself added."""
    return Identified(
        kind=kind,
        family=family,
        variant=variant,
        file_format=file_format,
        components=components,
        size_bytes=contents.size_bytes,
        title=title(contents.metadata),
        trigger_words=trigger_words(contents.metadata),
        licence=clean(contents.metadata.get("modelspec.license", "")),
        details={name: value for name, value in (details or {}).items() if value not in ("", ())},
    )


def clean(text: str) -> str:
    """Printable, on one line, at most MAX_TEXT characters."""
    printable = "".join(each if each.isprintable() else " " for each in text[: 4 * MAX_TEXT])
    return " ".join(printable.split())[:MAX_TEXT]


def title(metadata: Mapping[str, str]) -> str:
    for key in ("modelspec.title", "ss_output_name"):
        if said := clean(metadata.get(key, "")):
            return said
    return ""


def trigger_words(metadata: Mapping[str, str]) -> tuple[str, ...]:
    """The author's own, else the tags that nearly every training image had."""
    if said := clean(metadata.get("modelspec.trigger_phrase", "")):
        words = [clean(word) for word in said.split(",")]
        return tuple(dict.fromkeys(word for word in words if word))[:MAX_TRIGGER_WORDS]
    return _frequent_tags(metadata.get("ss_tag_frequency", ""))


def _frequent_tags(text: str) -> tuple[str, ...]:
    if not text or len(text) > MAX_TAG_BYTES:
        return ()
    try:
        folders = json.loads(text)
    except (ValueError, RecursionError):
        return ()  # display text written by others; the file is no worse for it
    counts: Counter[str] = Counter()
    for tags in folders.values() if isinstance(folders, dict) else ():
        if isinstance(tags, dict):
            counts.update({clean(tag): n for tag, n in tags.items() if type(n) is int and n > 0})
    most = max(counts.values(), default=0)
    frequent = [tag for tag, count in counts.most_common() if tag and count >= FREQUENT * most]
    return tuple(frequent[:MAX_TRIGGER_WORDS])
