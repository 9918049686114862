"""Reads the words of a prompt as a person would: in capitals, leetspeak, other alphabets or letter by letter.

Knows nothing about what they mean. Takes time in proportion to the text, whatever is in it.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final, NamedTuple

SHORTEST_RUN: Final = 3
"""So many single letters in a row are a word."""
WIDEST_GAP: Final = 3
"""Characters between two of them."""

_TOKEN = re.compile(r"(?:[^\W_]|[@$!|+])+")
_LEET = str.maketrans(
    {"0": "o", "1": "i", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s", "!": "i", "|": "i"}
)
_LEET_ALSO = str.maketrans({"1": "l", "!": "l", "|": "l"})
_LOOKALIKES = str.maketrans("авеіјкмнорстухѕαεικνορτυχ", "abeijkmhopctyxsaeiknoptux")
"""Cyrillic and Greek letters that look like Latin ones."""
_SIGNS: Final = "@$!|+"
_DIGITS: Final = "0123456789"
_THRICE = re.compile(r"(.)\1{2,}")


class Spot(NamedTuple):
    """One word where it stands."""

    start: int
    end: int
    letters: str
    """As written, without what stood between single letters."""
    may_have_article: bool = False
    """Written letter by letter behind what may be an article: "a n u d e"."""


def words_of(text: str) -> list[Spot]:
    """Words, with runs of three or more single letters read as one word each."""
    found = [match.span() for match in _TOKEN.finditer(text)]
    spots: list[Spot] = []
    index, count = 0, len(found)
    while index < count:
        start, end = found[index]
        run = index + 1 if end - start > 1 else _end_of_run(text, found, index)
        if run - index < SHORTEST_RUN:
            spots.append(Spot(start, end, text[start:end]))
            index += 1
        else:
            letters = "".join([text[first] for first, _ in found[index:run]])
            may_have_article = run - index > SHORTEST_RUN and letters[0] in "aAiI"
            spots.append(Spot(start, found[run - 1][1], letters, may_have_article))
            index = run
    return spots


def _end_of_run(text: str, found: list[tuple[int, int]], first: int) -> int:
    """Behind the last of the single letters from `first` on that are set off from each other in one way."""
    last = first + 1
    if last == len(found):
        return last
    between = text[found[first][1] : found[last][0]]
    if len(between) > WIDEST_GAP:
        return last
    while last < len(found):
        start, end = found[last]
        if end - start != 1 or text[found[last - 1][1] : start] != between:
            break
        last += 1
    return last


def readings_of(word: str) -> frozenset[str]:
    """A word folded to lower-case Latin letters: as it is, without digits around it, and as leetspeak."""
    if word.isascii():
        plain = word.lower()
        if word.isalpha():
            return frozenset(_thrice_folded({plain}))
    else:
        plain = _latin(word)
    bare = plain.strip(_SIGNS)
    readings = {plain, bare, bare.strip(_DIGITS)}
    if any(map(str.isalpha, plain)):
        for other in {plain, bare}:
            readings.add(other.translate(_LEET))
            readings.add(other.translate(_LEET_ALSO).translate(_LEET))
    readings.discard("")
    return frozenset(_thrice_folded(readings))


def _latin(word: str) -> str:
    """Without accents and in Latin letters, where others look like them."""
    plain = unicodedata.normalize("NFKD", word).casefold().translate(_LOOKALIKES)
    return "".join([letter for letter in plain if not unicodedata.combining(letter)])


def _thrice_folded(readings: set[str]) -> set[str]:
    """With "nude" for "nuuude": no English word has a letter three times in a row."""
    folded = set()
    for reading in readings:
        # Three alike leave two fewer different ones: most words are done with that.
        if len(reading) - len(set(reading)) > 1 and _THRICE.search(reading):
            folded |= {_THRICE.sub(kept, reading) for kept in (r"\1", r"\1\1")}
    return readings | folded
