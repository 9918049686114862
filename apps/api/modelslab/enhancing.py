"""What `enhance_prompt` adds to both prompts: house-made words by subject, from `enhancements.toml`.

Always the same for the same prompt, on this machine alone: no model rewrites anything.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("enhancements.toml")
LONGEST: Final = 40
"""Words; a longer prompt says for itself how the image should be, and the text encoders read no more."""
_WORD: Final = re.compile(r"[^\W_]+")


@dataclass(frozen=True, slots=True)
class Subject:
    """What a prompt may be about."""

    name: str
    words: frozenset[str]
    """In lower case; empty for whatever no other subject has."""
    wanted: tuple[str, ...]
    avoided: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Enhanced:
    """Both prompts as they are made from."""

    prompt: str
    negative_prompt: str


@cache
def all_subjects() -> tuple[Subject, ...]:
    """In the order in which they are tried; the last one fits anything."""
    rows = tomllib.loads(FILE.read_text(encoding="utf-8"))["subject"]
    return tuple(
        Subject(row["name"], frozenset(row["words"]), tuple(row["wanted"]), tuple(row["avoided"]))
        for row in rows
    )


def subject_of(prompt: str) -> Subject:
    """The first subject that the prompt has a word of."""
    words = _words(prompt)
    return next(each for each in all_subjects() if not each.words or each.words & words)


def enhance(prompt: str, negative_prompt: str) -> Enhanced | None:
    """Both prompts with what they do not say already; None where the prompt needs nothing."""
    if not prompt.strip() or len(_WORD.findall(prompt)) > LONGEST:
        return None
    subject = subject_of(prompt)
    return Enhanced(
        _extended(prompt, subject.wanted), _extended(negative_prompt, subject.avoided, unlike=prompt)
    )


def _extended(text: str, terms: tuple[str, ...], *, unlike: str = "") -> str:
    """The text with those terms that neither it has nor, of what is to be avoided, the prompt asks for."""
    there = _words(text) | _words(unlike)
    missing = [term for term in terms if not _words(term) <= there]
    return ", ".join([text.rstrip(" ,.") or "", *missing] if text.strip() else missing)


def _words(text: str) -> frozenset[str]:
    return frozenset(word.lower() for word in _WORD.findall(text))
