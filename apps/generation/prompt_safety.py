"""What a prompt asks for, judged by its words: nudity and sex, and whether minors are in it.

Finds English words written plainly, in simple leetspeak or with spaces between their letters. It is the first
of two looks: what it lets through is judged again as an image. Knows nothing about accounts and their rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple

from apps.generation.prompt_terms import (
    ABUSE,
    AGED_THINGS,
    EXPLICIT,
    INNOCENT,
    MINORS,
    NEGATIONS,
    NUMBERS,
    SUGGESTIVE,
    YOUNG,
    YOUNG_NOUNS,
)
from apps.generation.prompt_words import Spot, readings_of, words_of

ADULT_YEARS: Final = 18
NEAR: Final = 3
"""Between a word for "young" and its noun lie fewer words than that."""
MOST_KEPT_CHARS: Final = 24
"""Of words whose meaning is remembered for the next prompt."""

YEARS: Final = frozenset({"year", "years", "yr", "yrs", "y"})
OLD: Final = frozenset({"old", "olds", "o", "of"})
ANY: Final = "*"

_AGE = re.compile(r"(\d{1,2})(?:yo|yrs?|years?|yearold|y)?\+?")
_AGED = re.compile(r"\d{1,2}(yo|yearold)")


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptVerdict:
    """What was found in one prompt."""

    is_nsfw: bool
    """It asks for nudity or sex; always where is_minor_sexual."""
    is_minor_sexual: bool
    """It sexualises minors: refused whatever an account's rule."""
    matched: tuple[str, ...]
    """The terms, folded, in the order of the prompt."""
    filtered_prompt: str
    """The prompt without them."""


class _Topic(StrEnum):
    INNOCENT = "innocent"
    EXPLICIT = "explicit"
    ABUSE = "abuse"
    MINORS = "minors"
    SUGGESTIVE = "suggestive"


class _Phrase(NamedTuple):
    topic: _Topic
    words: tuple[str, ...]
    name: str


class _Word(NamedTuple):
    """What a word may stand for, and what follows from that whatever stands beside it."""

    readings: frozenset[str]
    phrases: Sequence[_Phrase]
    """Of one word, which it may be."""
    begins: Mapping[str, Sequence[_Phrase]]
    """Longer ones whose first word it may be, by their second; under ANY where that is a beginning itself."""
    years: int | None
    is_young: bool


class _Match(NamedTuple):
    first: int
    """Index of its first word."""
    length: int
    name: str

    @property
    def places(self) -> range:
        return range(self.first, self.first + self.length)


_NOTHING: Final = _Word(frozenset(), (), {}, None, is_young=False)
_TERMS: Final = {
    _Topic.INNOCENT: INNOCENT,
    _Topic.EXPLICIT: EXPLICIT,
    _Topic.ABUSE: ABUSE,
    _Topic.MINORS: MINORS,
    _Topic.SUGGESTIVE: SUGGESTIVE,
}
_PHRASES: Final = tuple(
    _Phrase(topic, words, " ".join(words).replace("*", ""))
    for topic, phrases in _TERMS.items()
    for words in phrases
)
_HEAD_CHARS: Final = min(len(phrase.words[0]) - 1 for phrase in _PHRASES if phrase.words[0].endswith("*"))


def _index() -> tuple[Mapping[str, Sequence[_Phrase]], Mapping[str, Sequence[_Phrase]]]:
    """Phrases by their first word; those whose first word is a beginning by the first letters of that."""
    whole: dict[str, list[_Phrase]] = {}
    heads: dict[str, list[_Phrase]] = {}
    for phrase in _PHRASES:
        first = phrase.words[0]
        if first.endswith("*"):
            heads.setdefault(first[:_HEAD_CHARS], []).append(phrase)
        else:
            whole.setdefault(first, []).append(phrase)
    return whole, heads


_WHOLE, _HEADS = _index()


def check_prompt(text: str) -> PromptVerdict:
    """The verdict on one prompt, of any length, in time that grows with it in proportion."""
    spots = words_of(text)
    words = [_word_at(spot) for spot in spots]
    found = _find(words)
    explicit = _without_negated(words, found[_Topic.EXPLICIT])
    abuse = found[_Topic.ABUSE]
    minors = [*found[_Topic.MINORS], *_young(words), *_ages(words), *abuse]
    suggestive = _without_negated(words, found[_Topic.SUGGESTIVE]) if minors else []
    is_minor_sexual = bool(abuse) or bool(minors and (explicit or suggestive))
    matched = [*explicit, *abuse, *((*suggestive, *minors) if is_minor_sexual else ())]
    matched = sorted(set(matched))
    return PromptVerdict(
        is_nsfw=bool(explicit) or is_minor_sexual,
        is_minor_sexual=is_minor_sexual,
        matched=tuple(dict.fromkeys(match.name for match in matched)),
        filtered_prompt=_without(text, spots, matched),
    )


def _word_at(spot: Spot) -> _Word:
    is_short = len(spot.letters) <= MOST_KEPT_CHARS
    return (_kept_word if is_short else _word)(spot.letters, spot.may_have_article)


def _word(letters: str, may_have_article: bool) -> _Word:
    readings = readings_of(letters)
    if may_have_article:
        # "a n u d e model": the article is no part of the word.
        readings |= readings_of(letters[1:])
    phrases: list[_Phrase] = []
    begins: dict[str, list[_Phrase]] = {}
    for phrase in _candidates(readings):
        if len(phrase.words) == 1:
            phrases.append(phrase)
        else:
            second = phrase.words[1]
            begins.setdefault(ANY if second.endswith("*") else second, []).append(phrase)
    return _Word(readings, phrases, begins, _years(readings), not YOUNG.isdisjoint(readings))


def _candidates(readings: Iterable[str]) -> Iterator[_Phrase]:
    """Phrases whose first word one of the readings is."""
    for reading in readings:
        yield from _WHOLE.get(reading, ())
        for phrase in _HEADS.get(reading[:_HEAD_CHARS], ()):
            if reading.startswith(phrase.words[0][:-1]):
                yield phrase


# Prompts are made of the same few thousand words.
_kept_word = lru_cache(maxsize=8192)(_word)


def _find(words: list[_Word]) -> Mapping[_Topic, Sequence[_Match]]:
    """Where the phrases are, each as often as it is there. Blanks the words of innocent ones, in place."""
    found: dict[_Topic, list[_Match]] = {topic: [] for topic in _Topic}
    for index, word in enumerate(words):
        for phrase in word.phrases:
            found[phrase.topic].append(_Match(index, 1, phrase.name))
        if word.begins and index + 1 < len(words):
            for phrase in _continued(word.begins, words[index + 1].readings):
                if _goes_on(words, index, phrase.words):
                    found[phrase.topic].append(_Match(index, len(phrase.words), phrase.name))
    innocent = {index for match in found[_Topic.INNOCENT] for index in match.places}
    for index in innocent:
        words[index] = _NOTHING
    return {
        topic: [match for match in matches if innocent.isdisjoint(match.places)]
        for topic, matches in found.items()
    }


def _continued(begins: Mapping[str, Sequence[_Phrase]], readings: Iterable[str]) -> Iterator[_Phrase]:
    """Those whose second word may be one of the readings."""
    for reading in readings:
        yield from begins.get(reading, ())
    yield from begins.get(ANY, ())


def _goes_on(words: Sequence[_Word], index: int, phrase: tuple[str, ...]) -> bool:
    """Whether the rest of a phrase follows its first word, which is at `index`."""
    if index + len(phrase) > len(words):
        return False
    return all(_fits(words[index + ahead].readings, phrase[ahead]) for ahead in range(1, len(phrase)))


def _fits(readings: frozenset[str], term: str) -> bool:
    if term.endswith("*"):
        return any(reading.startswith(term[:-1]) for reading in readings)
    return term in readings


def _without_negated(words: Sequence[_Word], matches: Iterable[_Match]) -> list[_Match]:
    return [match for match in matches if not (match.first and words[match.first - 1].readings & NEGATIONS)]


def _young(words: Sequence[_Word]) -> list[_Match]:
    """ "little girl", "young blond boy"."""
    found = []
    for index, word in enumerate(words):
        if not word.is_young:
            continue
        for ahead in range(1, min(NEAR + 1, len(words) - index)):
            nouns = words[index + ahead].readings & YOUNG_NOUNS
            if nouns:
                name = f"{min(word.readings & YOUNG)} {min(nouns)}"
                found.append(_Match(index, ahead + 1, name))
                break
    return found


def _ages(words: Sequence[_Word]) -> list[_Match]:
    """ "12 years old", "twelve-year-old", "9yo", "aged 15", "age: 7", of anybody but things and animals."""
    found = []
    for index, word in enumerate(words):
        if word.years is None or word.years >= ADULT_YEARS:
            continue
        following = [one.readings for one in words[index + 1 : index + 5]]
        preceding = words[index - 1].readings if index else frozenset[str]()
        count = _age_words(word, following)
        if count and not any(readings & AGED_THINGS for readings in following[count - 1 : count + 1]):
            found.append(_Match(index, count, f"age {word.years}"))
        elif preceding & {"aged", "age"}:
            found.append(_Match(index - 1, 2, f"age {word.years}"))
    return found


def _years(readings: frozenset[str]) -> int | None:
    """The lowest, where several can be read."""
    years = [NUMBERS[reading] for reading in readings if reading in NUMBERS]
    ages = [_AGE.fullmatch(reading) for reading in readings if reading[0].isdecimal()]
    years += [int(age[1]) for age in ages if age]
    return min(years, default=None)


def _age_words(word: _Word, following: Sequence[frozenset[str]]) -> int:
    """How many words say an age, from the number on; 0 when they say something else."""
    if any(_AGED.fullmatch(reading) for reading in word.readings):
        return 1
    if following and following[0] & {"yo", "yearold"}:
        return 2
    if len(following) > 1 and following[0] & YEARS and following[1] & OLD:
        return 3
    return 0


def _without(text: str, spots: Sequence[Spot], matches: Iterable[_Match]) -> str:
    """The text with the matches cut out, and what they leave of spaces and commas tidied."""
    gone = sorted({index for match in matches for index in match.places})
    if not gone:
        return text
    kept, position = [], 0
    for index in gone:
        kept.append(text[position : spots[index].start])
        position = spots[index].end
    text = "".join([*kept, text[position:]])
    text = re.sub(r"\(\s*\)|\[\s*\]", "", text)
    text = re.sub(r"[ \t]{2,}", " ", text)
    text = re.sub(r"(?<!\s)\s+([,.;:])", r"\1", text)
    text = re.sub(r"([,;])(?:\s*[,;])+", r"\1", text)
    return text.strip(" ,;-")
