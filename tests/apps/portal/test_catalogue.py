"""The German words: all there, compiled, and with the same blanks as the English ones."""

from __future__ import annotations

import re
from pathlib import Path

import polib

FOLDER = Path(__file__).resolve().parents[3] / "apps/portal/locale/de/LC_MESSAGES"
BLANK = re.compile(r"%\([a-z_]+\)[sd]|\{[a-z_]+\}|%%")
RUN = "run deploy/tools/messages"


def catalogue() -> polib.POFile:
    return polib.pofile(str(FOLDER / "django.po"))


def words_of(entry: polib.POEntry) -> list[str]:
    return list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]


def test_every_string_has_its_german_words() -> None:
    missing = [entry.msgid for entry in catalogue() if not entry.translated() or entry.fuzzy]

    assert missing == [], f"{len(missing)} strings have no German words; {RUN}"


def test_the_words_are_compiled() -> None:
    compiled = polib.mofile(str(FOLDER / "django.mo"))

    assert {entry.msgid: words_of(entry) for entry in compiled} == {
        entry.msgid: words_of(entry) for entry in catalogue() if entry.translated()
    }, RUN


def test_german_words_have_the_same_blanks() -> None:
    for entry in catalogue():
        wanted = set(BLANK.findall(entry.msgid)) | set(BLANK.findall(entry.msgid_plural or ""))
        found = {blank for words in words_of(entry) for blank in BLANK.findall(words)}
        # "a day" names no number where "3 days" does.
        assert found <= wanted and (not entry.translated() or wanted <= found), entry.msgid
