"""A refusal as a sentence in the language of the page."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

from django.utils.translation import gettext

from apps.core.errors import DomainError
from apps.portal.refusals.phrases import FIELDS, PHRASES
from apps.portal.refusals.texts import TEXTS

BLANK: Final = re.compile(r"%\((?P<name>[a-z_]+)\)s")


def error_text(error: DomainError) -> str:
    """What a refusal says to a person: a sentence. In English where its code or its words are not known."""
    known = TEXTS.get(error.code)
    text = str(error)
    if known is not None:
        said = {name: _say(name, value) for name, value in error.data.items()}
        try:
            text = str(known) % said
        except KeyError:  # a subclass that says something else under the same code
            text = str(error)
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _say(name: str, value: str | int | float) -> str | int | float:
    """One blank of a refusal. Numbers, and words that are not ours, stay as they are."""
    if not isinstance(value, str) or not value:
        return value
    if name == "field":
        return gettext(value) if value in FIELDS else value
    return say_phrase(value)


def say_phrase(text: str) -> str:
    """A service's English in the page's language; what no phrase fits stays English."""
    if text in PHRASES:
        return gettext(text)
    for phrase, pattern in _patterns():
        found = pattern.fullmatch(text)
        if found is not None:
            return gettext(phrase) % found.groupdict()
    return text


@cache
def _patterns() -> tuple[tuple[str, re.Pattern[str]], ...]:
    """Phrases with blanks, those with the most fixed words first: they fit the fewest texts."""
    blanked = [phrase for phrase in PHRASES if BLANK.search(phrase)]
    blanked.sort(key=lambda phrase: len(BLANK.sub("", phrase)), reverse=True)
    return tuple((phrase, _pattern(phrase)) for phrase in blanked)


def _pattern(phrase: str) -> re.Pattern[str]:
    parts = BLANK.split(phrase)
    fixed, names = parts[0::2], parts[1::2]
    text = re.escape(fixed[0])
    for name, after in zip(names, fixed[1:], strict=True):
        text += f"(?P<{name}>.+?){re.escape(after)}"
    return re.compile(text, re.DOTALL)
